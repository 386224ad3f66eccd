"""The policies of this package, registered when asked for and not by being imported."""

from tamiyo_policies.lstm_bundle import LSTMPolicy
from tamiyo_policies.registry import register_policy


def register_builtin_policies() -> None:
    """Make "lstm" available. Calling it again changes nothing."""
    register_policy("lstm")(LSTMPolicy)
