"""Delays: whole and learned."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compare import assert_close, assert_same
from spikeloom import functional, layer
from spikeloom.errors import ShapeError
from spikeloom.layer.bounded import bounded


def run(delay, x_seq, step_mode):
    delay.step_mode = step_mode
    return delay(x_seq) if step_mode == "m" else torch.stack([delay(x) for x in x_seq])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 7), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_any_split_of_a_sequence_comes_out_later(steps, lengths):
    x_seq = torch.rand(sum(lengths), 2, 3)
    expected = torch.cat([torch.zeros(steps, 2, 3), x_seq])[: len(x_seq)]
    for step_mode in ("s", "m"):
        delay = layer.Delay(steps)
        out = torch.cat([run(delay, chunk, step_mode) for chunk in x_seq.split(lengths)])
        assert_same(step_mode, expected, out)


@pytest.mark.parametrize("steps", [0, 1])
def test_what_comes_out_is_not_the_input_itself(steps):
    x_seq = torch.ones(3, 2)
    out = layer.Delay(steps, step_mode="m")(x_seq)
    out += 1
    assert x_seq.eq(1).all()


def test_no_delay_is_no_memory():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), layer.Delay(0, step_mode="m"))
    for _ in range(2):
        net(torch.rand(4, 2, 3)).sum().backward()


def test_gradients_go_back_in_time_and_reset_forgets():
    delay, x_seq = layer.Delay(2, step_mode="m"), torch.rand(5, 2, requires_grad=True)
    out = delay(x_seq)
    out[3].sum().backward()
    assert x_seq.grad.sum(1).tolist() == [0, 2, 0, 0, 0]
    functional.reset_net(delay)
    assert delay.queue is None
    assert_same("after reset", out, delay(x_seq))


def test_delayed_output_may_be_changed_in_place():
    delay = layer.Delay(1)
    first = delay(torch.ones(3))
    first += 5
    assert delay(torch.zeros(3)).tolist() == [1, 1, 1]
    delay, x_seq = layer.Delay(2, step_mode="m"), torch.ones(4, 3, requires_grad=True)
    out = delay(x_seq)
    out += 5
    later = delay(torch.zeros(2, 3))
    assert later.tolist() == torch.ones(2, 3).tolist()
    (out.sum() + later.sum()).backward()
    assert x_seq.grad.sum(1).tolist() == [3, 3, 3, 3]


def test_delay_keeps_types_and_copies():
    delay = layer.Delay(1)
    assert delay(torch.ones(3).half()).dtype == torch.float16
    for twin in (copy.deepcopy(delay), pickle.loads(pickle.dumps(delay))):
        assert twin(torch.zeros(3).half()).tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="`delay_steps`"):
        layer.Delay(-1)
    with pytest.raises(TypeError):
        layer.Delay(1.5)


class TestLearnable:
    @settings(max_examples=25, deadline=None)
    @given(st.integers(1, 6), st.lists(st.integers(1, 4), min_size=1, max_size=4))
    def test_interpolates_between_whole_delays(self, max_delay, lengths):
        x_seq = torch.rand(sum(lengths), 2, 3, 4, dtype=torch.float64)
        delay = layer.LearnableDelay(3, max_delay).double()
        wholes = [run(layer.Delay(n), x_seq, "m") for n in range(max_delay + 1)]
        expected = torch.zeros_like(x_seq)
        for channel, d in enumerate(delay.delay.tolist()):
            n = min(int(d), max_delay - 1)
            early, late = wholes[n][:, :, channel], wholes[n + 1][:, :, channel]
            expected[:, :, channel] = early + (d - n) * (late - early)
        for step_mode in ("s", "m"):
            delay.reset()
            out = torch.cat([run(delay, chunk, step_mode) for chunk in x_seq.split(lengths)])
            assert_close(step_mode, expected, out.detach())

    @pytest.mark.parametrize("steps", [0, 1, 4])
    def test_whole_delays_are_exact(self, steps):
        x_seq = torch.rand(6, 2, 3)
        learned = layer.LearnableDelay(3, 4, initial_delay=float(steps), step_mode="m")
        assert_same("output", layer.Delay(steps, step_mode="m")(x_seq), learned(x_seq).detach())

    def test_gradients(self):
        delay = layer.LearnableDelay(2, 3, initial_delay=torch.tensor([0.4, 2.7]), step_mode="m").double()
        x_seq = torch.rand(5, 2, 2, dtype=torch.float64, requires_grad=True)

        def output(x_seq, parameter):
            delay.reset()
            return torch.func.functional_call(delay, {"delay": parameter}, (x_seq,))

        assert torch.autograd.gradcheck(output, (x_seq, delay.delay.detach().requires_grad_()))

    @pytest.mark.parametrize("start", [0.0, 1.0, 8.0])
    def test_finds_the_delay_of_a_signal(self, start):
        t = torch.arange(60.0)
        x_seq = (t / 4).sin().view(-1, 1, 1)
        target = ((t - 3.5) / 4).sin().view(-1, 1, 1)
        delay = layer.LearnableDelay(1, 8, initial_delay=start, step_mode="m")
        optimizer = torch.optim.Adam(delay.parameters(), lr=0.2)
        for _ in range(100):
            functional.reset_net(delay)
            loss = (delay(x_seq) - target)[10:].square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert abs(delay.delay.item() - 3.5) < 0.1

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match="`max_delay`"):
            layer.LearnableDelay(3, 0)
        with pytest.raises(ValueError, match="`initial_delay`"):
            layer.LearnableDelay(3, 2, initial_delay=3.0)
        with pytest.raises(ShapeError, match="C = 3"):
            layer.LearnableDelay(3, 2)(torch.rand(2, 4))

    def test_copies_and_half_input(self):
        delay = layer.LearnableDelay(3, 2, step_mode="m")
        x_seq = torch.rand(4, 2, 3).half()
        out = delay(x_seq)
        assert out.dtype == torch.float16
        twin = pickle.loads(pickle.dumps(copy.deepcopy(delay)))
        assert_same("memory of the copy", delay.queue, twin.queue)
        assert list(delay.state_dict()) == ["delay"]


def test_bounded_values_can_come_back():
    x = torch.tensor([-2.0, -2.0, 0.5, 3.0, 3.0], requires_grad=True)
    out = bounded(x, 0.0, 1.0)
    assert out.tolist() == [0, 0, 0.5, 1, 1]
    out.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert x.grad.tolist() == [0, -1, 1, 1, 0]
