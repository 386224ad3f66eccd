"""Policies by name: explicit registration, contract checks that list everything, lazy entry points."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tamiyo_policies import (
    LSTMPolicy,
    PolicyBundle,
    PolicyConfig,
    PolicyContractError,
    UnknownPolicyError,
    clear_registry,
    create_policy,
    get_policy,
    list_policies,
    register_builtin_policies,
    register_policy,
)

BUILTIN = ("lstm", "mlp", "mlp-q")


def test_builtins_are_registered_by_a_call_that_may_be_repeated() -> None:
    register_builtin_policies()
    assert list_policies() == BUILTIN == ("lstm", "mlp", "mlp-q")
    assert get_policy("lstm") is LSTMPolicy
    clear_registry()
    assert list_policies() == ()


def test_importing_registers_nothing() -> None:
    code = "import tamiyo_policies; print(tamiyo_policies.list_policies())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "()"


def test_unknown_name_lists_what_exists() -> None:
    with pytest.raises(UnknownPolicyError, match="policy 'gru' is unknown; policies are lstm, mlp, mlp-q"):
        get_policy("gru")
    clear_registry()
    with pytest.raises(UnknownPolicyError, match="register_builtin_policies"):
        get_policy("lstm")


def test_name_taken_and_empty_name() -> None:
    class Other(LSTMPolicy):  # type: ignore[misc]  # final for type checkers; a second class is all that counts here
        pass

    with pytest.raises(ValueError, match="policy 'lstm' is registered already"):
        register_policy("lstm")(Other)
    with pytest.raises(ValueError, match="must not be empty"):
        register_policy("")


def test_third_party_class_is_created_by_name() -> None:
    class Mine(LSTMPolicy):  # type: ignore[misc]  # final for type checkers
        pass

    assert register_policy("mine")(Mine) is Mine
    made = create_policy(PolicyConfig(policy="mine", hidden_dim=8))
    assert type(made) is Mine
    assert isinstance(made, PolicyBundle)


class _Wrong:
    """Differs from the contract in every way the check knows."""

    device = "cpu"
    is_compiled = property(lambda self: False)

    def __init__(self) -> None: ...
    def hidden_dim(self) -> int: ...  # type: ignore[empty-body]
    def get_action(self, features: object, hidden: object, masks: object, *, generator: object) -> None: ...
    def get_value(self, features: object, hidden: object, extra: object) -> None: ...
    def initial_hidden(self, *, batch_size: int) -> None: ...
    def enable_gradient_checkpointing(self, enabled: bool = False) -> None: ...


def test_every_mismatch_is_listed_at_once() -> None:
    with pytest.raises(PolicyContractError) as caught:
        register_policy("wrong")(_Wrong)  # type: ignore[type-var]  # that is the point
    message = str(caught.value)
    for fault in (
        "_Wrong, to be policy 'wrong'",
        "callable with one argument, its PolicyConfig",
        "device must be a property, not a str",
        "hidden_dim must be a property, not a method",
        "get_action lacks parameter 'deterministic'",
        "get_action lacks parameter 'floors'",
        "get_action: parameter 'generator' must default to None, but it has none",
        "get_action: parameters stand in the order self, features, hidden, masks",
        "get_value: parameter 'extra' is not in the contract and has no default",
        "initial_hidden: parameter 'batch_size' must be positional or keyword, not keyword-only",
        "enable_gradient_checkpointing: parameter 'enabled' must default to True, but it defaults to False",
        "evaluate_actions is missing",
        "slot_config is missing",
    ):
        assert fault in message
    assert "is_compiled" not in message
    assert list_policies() == BUILTIN


def test_parameters_of_its_own_stand_behind_those_of_the_contract() -> None:
    def get_value(
        self: object, features: object, hidden: object, extra: object = None, masks: object = None
    ) -> None: ...
    def sync_from(self: object, source: object, weight: float = 0.5, *, tau: float = 1.0) -> None: ...

    mine = type("Mine", (LSTMPolicy,), {"get_value": get_value, "sync_from": sync_from})
    with pytest.raises(PolicyContractError) as caught:
        register_policy("mine")(mine)
    assert str(caught.value).count("\n") == 1
    assert "get_value: parameters stand in the order self, features, hidden, extra, masks" in str(
        caught.value
    )


def test_a_class_without_signature_is_refused() -> None:
    class Other(dict[str, str]):
        pass

    with pytest.raises(PolicyContractError, match="callable with one argument, its PolicyConfig"):
        register_policy("other")(Other)  # type: ignore[type-var]  # that is the point


def test_one_name_offered_twice(offer: Callable[..., None]) -> None:
    offer(("dup", "tamiyo_policies.mlp_bundle:MLPPolicy"), ("dup", "tamiyo_policies.lstm_bundle:LSTMPolicy"))
    with pytest.raises(PolicyContractError, match=r"policy 'dup' is offered twice, as .*MLPPolicy and as"):
        get_policy("dup")


def test_abstract_class_is_refused() -> None:
    from tamiyo_policies import PolicyBundleBase

    with pytest.raises(PolicyContractError, match="_on_act is abstract"):
        register_policy("base")(PolicyBundleBase)  # type: ignore[type-var]  # that is the point


def test_what_is_no_class_is_refused() -> None:
    with pytest.raises(PolicyContractError, match="must be a class"):
        register_policy("function")(lambda config: create_policy(config))


def test_entry_points_are_found_by_name_and_imported_when_asked_for(offer: Callable[..., None]) -> None:
    offer(
        ("theirs", "tamiyo_policies.lstm_bundle:LSTMPolicy"),
        ("broken", "tamiyo_policies.no_such_module:Policy"),
        ("other", "tamiyo_policies:HiddenState"),
    )
    assert list_policies() == ("broken", *BUILTIN, "other", "theirs")
    assert get_policy("theirs") is LSTMPolicy
    with pytest.raises(ModuleNotFoundError):
        get_policy("broken")
    with pytest.raises(PolicyContractError, match="HiddenState, to be policy 'other'"):
        get_policy("other")
