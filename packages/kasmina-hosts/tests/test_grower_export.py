"""An exported network is plain, computes the same and can be exported by PyTorch."""

import pytest
import torch
from host_scripts import advance, germinate
from networks_to_grow import NETWORKS, eventful, grow, life_of, loop
from torch import nn

from kasmina_hosts import DigitsTask, GrownLayer
from leyline_types import BlueprintAction, GerminationStyle, germinable_blueprints

LIGHT = BlueprintAction.CONV_LIGHT
LIFE = life_of("r0c0", LIGHT, GerminationStyle.LINEAR_ADD)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_it_computes_the_same_all_along_growth(task: DigitsTask, network: str) -> None:
    actions = eventful(NETWORKS[network][2])
    run = loop(task, network, actions)
    images = task.test.images[:16]
    grown = []
    for _ in actions:
        run.epoch()
        exported = run.grower.export().eval()
        run.model.eval()
        with torch.no_grad():
            torch.testing.assert_close(exported(images), run.model(images), rtol=0, atol=1e-6)
        run.model.train()
        assert not any("grown_slots" in name for name, _ in exported.named_modules())
        grown.append(sum(isinstance(layer, GrownLayer) for layer in exported.modules()))
    assert grown == [0, 0, *[1] * (len(actions) - 2)]


@pytest.mark.slow
@pytest.mark.parametrize("network", list(NETWORKS))
def test_torch_export_accepts_every_blueprint_and_style(task: DigitsTask, network: str) -> None:
    images = task.test.images[:4]
    first, *others = germinable_blueprints(NETWORKS[network][2])
    cases = [(first, style) for style in GerminationStyle]
    cases += [(blueprint, GerminationStyle.LINEAR_ADD) for blueprint in others]
    for blueprint, style in cases:
        run = loop(task, network, life_of("r0c1", blueprint, style))
        for _ in range(4):
            run.epoch()
        plain = run.grower.export().eval()
        assert any(isinstance(layer, GrownLayer) for layer in plain.modules())
        program = torch.export.export(plain, (images,))
        torch.testing.assert_close(program.module()(images), run.model.eval()(images), rtol=0, atol=1e-6)


def test_it_shares_nothing_with_the_model(task: DigitsTask) -> None:
    run = loop(task, "resnet", LIFE)
    for _ in range(5):
        run.epoch()
    exported = run.grower.export().eval()
    before = exported(task.test.images[:8])
    run.epoch()
    assert torch.equal(exported(task.test.images[:8]), before)
    assert not set(exported.parameters()) & set(run.model.parameters())
    assert run.model.training


def test_hooks_of_the_user_stay_and_those_of_slots_go(task: DigitsTask) -> None:
    run = loop(task, "resnet", LIFE)
    calls: list[int] = []
    run.model.get_submodule("stem").register_forward_hook(lambda *_: calls.append(1))
    for _ in range(4):
        run.epoch()
    exported = run.grower.export()
    calls.clear()
    exported(task.test.images[:2])
    assert calls == [1]
    assert len(exported.get_submodule("stem.layer")._forward_hooks) == 1


def test_a_slot_behind_the_whole_model_and_one_inside_another_s_layer(task: DigitsTask) -> None:
    """Nested layers are wrapped inside out; a grown root becomes the network."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
    model = nn.Sequential(inner, nn.Conv2d(4, 4, 3, padding=1))
    slots = {"r0c0": "0.0", "r0c1": "0", "r0c2": ""}
    actions = [germinate(slot_id, LIGHT) for slot_id in slots] + [advance(slot_id) for slot_id in slots] * 2
    images = task.train.images[:4]
    exported = grow(model, slots, actions, images).export()
    assert isinstance(exported, GrownLayer)
    assert sum(isinstance(layer, GrownLayer) for layer in exported.modules()) == 3
    torch.testing.assert_close(exported(images), model(images), rtol=0, atol=1e-6)
    assert not torch.equal(exported(images), exported.layer(images))


def test_a_layer_used_twice_grows_in_both_places(task: DigitsTask) -> None:
    torch.manual_seed(0)
    shared = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), shared, nn.ReLU(), shared)
    images = task.train.images[:4]
    exported = grow(model, {"r0c0": "1"}, LIFE, images).export()
    assert isinstance(exported, nn.Sequential)
    assert exported[1] is exported[3]
    assert isinstance(exported[1], GrownLayer)
    torch.testing.assert_close(exported(images), model(images), rtol=0, atol=1e-6)
