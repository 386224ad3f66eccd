"""Who offers what: policies share one set of checks, and what is no policy looks like none."""

from tamiyo_policies import HeuristicController, PolicyBundle, PolicyBundleBase, get_policy, list_policies

CHECKED = ("get_action", "get_value", "forward", "evaluate_actions", "get_q_values", "sync_from")


def test_every_registered_policy_takes_its_checks_from_the_base() -> None:
    assert list_policies()
    for name in list_policies():
        policy_class = get_policy(name)
        assert isinstance(policy_class, type)
        assert issubclass(policy_class, PolicyBundleBase)
        for method in CHECKED:
            assert getattr(policy_class, method) is getattr(PolicyBundleBase, method), f"{name}.{method}"


def test_the_heuristic_has_no_member_of_a_bundle() -> None:
    members = {name for name in vars(PolicyBundle) if not name.startswith("_")}
    assert {"get_action", "is_compiled", "network"} <= members
    assert not members & set(dir(HeuristicController))
