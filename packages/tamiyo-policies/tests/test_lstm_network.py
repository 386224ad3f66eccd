"""The network alone: step and sequence are one function, and it starts where it should."""

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tamiyo_policies import HiddenState
from tamiyo_policies.lstm_network import LSTMNetwork

FEATURES, HIDDEN, CHOICES = 7, 8, 12


def make_network(seed: int = 0) -> LSTMNetwork:
    torch.manual_seed(seed)
    return LSTMNetwork(FEATURES, HIDDEN, CHOICES)


def step_by_step(
    network: LSTMNetwork, encoded: Tensor, hidden: HiddenState, starts: Tensor | None
) -> tuple[Tensor, HiddenState]:
    """The slow, obvious loop."""
    outputs = []
    for time in range(encoded.shape[1]):
        if starts is not None:
            hidden = HiddenState(*(torch.where(starts[:, time, None], 0.0, part) for part in hidden))
        hidden = network.step(encoded[:, time], hidden)
        outputs.append(hidden.h)
    return torch.stack(outputs, dim=1), hidden


def test_the_cell_by_hand() -> None:
    network = make_network()
    encoded, h, c = torch.randn(3, HIDDEN), torch.randn(3, HIDDEN), torch.randn(3, HIDDEN)
    gates = encoded @ network.weight_ih.T + network.bias_ih + h @ network.weight_hh.T + network.bias_hh
    take_in, keep, new, give_out = gates.chunk(4, dim=-1)
    expected_c = keep.sigmoid() * c + take_in.sigmoid() * new.tanh()
    expected_h = give_out.sigmoid() * expected_c.tanh()
    stepped = network.step(encoded, HiddenState(h, c))
    torch.testing.assert_close(stepped.h, expected_h)
    torch.testing.assert_close(stepped.c, expected_c)


@settings(deadline=None, max_examples=60)
@example(batch=1, time=200, share=0.05, seed=0)
@example(batch=256, time=200, share=0.01, seed=0)
@given(
    batch=st.integers(1, 9) | st.integers(1, 256),
    time=st.integers(1, 9) | st.integers(1, 200),
    share=st.sampled_from([None, 0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_sequence_equals_steps_with_episodes_starting_anywhere(
    batch: int, time: int, share: float | None, seed: int
) -> None:
    network = make_network()
    generator = torch.Generator().manual_seed(seed)
    encoded = torch.randn(batch, time, HIDDEN, generator=generator)
    hidden = HiddenState(*torch.randn(2, batch, HIDDEN, generator=generator).unbind())
    starts = None if share is None else torch.rand(batch, time, generator=generator) < share
    output, last = network.recur(encoded, hidden, starts)
    expected, expected_last = step_by_step(network, encoded, hidden, starts)
    torch.testing.assert_close(output, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(tuple(last), tuple(expected_last), atol=1e-6, rtol=1e-5)


def test_gradients_of_both_forms_agree_and_stop_at_episode_starts() -> None:
    network = make_network()
    starts = torch.zeros(2, 6, dtype=torch.bool)
    starts[0, 3] = True
    gradients = []
    for form in (network.recur, lambda *args: step_by_step(network, *args)):
        encoded = torch.randn(2, 6, HIDDEN, generator=torch.Generator().manual_seed(1), requires_grad=True)
        hidden = HiddenState(torch.zeros(2, HIDDEN), torch.zeros(2, HIDDEN))
        output, _ = form(encoded, hidden, starts)
        (gradient,) = torch.autograd.grad(output[:, -1].sum(), encoded)
        gradients.append(gradient)
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)
    assert not gradients[0][0, :3].any()
    assert gradients[0][1, :3].all()


def test_the_layers_around_the_memory_by_hand() -> None:
    network = make_network()
    torch.nn.init.normal_(network.norm.weight)
    torch.nn.init.normal_(network.norm.bias)
    torch.nn.init.normal_(network.trunk.bias)
    x, core = torch.randn(5, FEATURES), torch.randn(5, HIDDEN)
    raw = x @ network.encoder.weight.T + network.encoder.bias
    spread = (raw.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    scaled = (raw - raw.mean(1, keepdim=True)) / spread * network.norm.weight + network.norm.bias
    encoded = network.encode(x)
    torch.testing.assert_close(encoded, scaled.clamp_min(0.0))
    assert (encoded == 0).any()
    trunk = (core @ network.trunk.weight.T + network.trunk.bias).clamp_min(0.0)
    outputs = network.decode(core)
    logits = trunk @ network.action_head.weight.T + network.action_head.bias
    torch.testing.assert_close(outputs.logits, logits)
    value = trunk @ network.value_head.weight[0] + network.value_head.bias
    torch.testing.assert_close(outputs.value, value)


def test_initial_weights() -> None:
    network = make_network()
    for gate in (*network.weight_ih.chunk(4), *network.weight_hh.chunk(4)):
        torch.testing.assert_close(gate @ gate.T, torch.eye(HIDDEN), atol=1e-5, rtol=0.0)
    take_in, keep, new, give_out = (network.bias_ih + network.bias_hh).chunk(4)
    assert keep.eq(1).all()
    assert not torch.cat([take_in, new, give_out]).any()
    outputs = network.decode(torch.randn(64, HIDDEN))
    assert outputs.logits.abs().max() < 0.1  # every legal choice is tried
    assert outputs.value.std() > 0.1


def test_one_owner_of_weights() -> None:
    names = [name for name, _ in make_network().named_parameters()]
    assert sorted(names) == sorted(make_network().state_dict())
    assert not any(isinstance(module, torch.nn.LSTM) for module in make_network().modules())
