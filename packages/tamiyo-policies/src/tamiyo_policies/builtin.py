"""The policies of this package, registered when asked for and not by being imported."""

from tamiyo_policies.lstm_bundle import LSTMPolicy
from tamiyo_policies.mlp_bundle import MLPPolicy
from tamiyo_policies.q_bundle import MLPQPolicy
from tamiyo_policies.registry import register_policy


def register_builtin_policies() -> None:
    """Make "lstm", "mlp" and "mlp-q" available. Calling it again changes nothing."""
    register_policy("lstm")(LSTMPolicy)
    register_policy("mlp")(MLPPolicy)
    register_policy("mlp-q")(MLPQPolicy)
