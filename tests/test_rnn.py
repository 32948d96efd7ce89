"""Spiking recurrent layers: PyTorch's own ones with other nonlinearities, and the equations of the LSTM."""

import pytest
import torch
from torch import nn

from compare import assert_close, assert_gradient
from spikeloom import data, rnn, surrogate
from spikeloom.errors import ShapeError

T, N, SIZES = 7, 3, (5, 6)
KINDS = [rnn.SpikingLSTM, rnn.SpikingGRU, rnn.SpikingVanillaRNN]


def copy_weights(ours, theirs):
    """Give PyTorch's layers the weights of ours."""
    for suffix, cells in [("", ours.cells), ("_reverse", getattr(ours, "cells_reverse", []))]:
        for layer, cell in enumerate(cells):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{name}_l{layer}{suffix}").data.copy_(getattr(cell, name)())


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_with_ordinary_nonlinearities_they_are_those_of_pytorch(kind, both_ways):
    torch.manual_seed(0)
    if kind == "GRU":
        smooth = {"surrogate_function1": torch.sigmoid, "surrogate_function2": torch.tanh}
        ours = rnn.SpikingGRU(*SIZES, 3, bidirectional=both_ways, **smooth)
    else:
        ours = rnn.SpikingVanillaRNN(*SIZES, 3, bidirectional=both_ways, surrogate_function=torch.tanh)
    theirs = getattr(nn, kind)(*SIZES, 3, bidirectional=both_ways)
    copy_weights(ours, theirs)
    directions = 2 if both_ways else 1
    mine, other = (torch.randn(T, N, 5, generator=torch.manual_seed(1)).requires_grad_() for _ in range(2))
    h = torch.randn(3 * directions, N, 6)
    # Ours has all layers forwards before those backwards, PyTorch's each layer both ways.
    order = torch.arange(3 * directions).view(3, directions).t().flatten()
    wanted, last = theirs(other, h)
    got, ours_last = ours(mine, h[order])
    assert_close("output", wanted, got)
    assert_close("last state", last[order], ours_last)
    weights = torch.randn_like(got)
    (got * weights).sum().backward()
    (wanted * weights).sum().backward()
    assert_gradient("input", other.grad, mine.grad)
    for layer, cell in enumerate(ours.cells):
        assert_gradient("weights", getattr(theirs, f"weight_hh_l{layer}").grad, cell.weight_hh().grad)


@pytest.mark.parametrize("second", [None, surrogate.Triangle()])
def test_the_equations_of_the_lstm(second):
    torch.manual_seed(0)
    net = rnn.SpikingLSTM(*SIZES, 1, surrogate_function1=surrogate.ATan(), surrogate_function2=second)
    cell, x = net.cells[0], torch.randn(T, N, 5) * 3
    h, c = (torch.randint(2, (1, N, 6)).float() for _ in range(2))
    got, (last_h, last_c) = net(x, (h, c))
    first, h, c, outputs = surrogate.ATan(), h[0], c[0], []
    for step in x:
        gates = step @ cell.weight_ih().t() + cell.bias_ih() + h @ cell.weight_hh().t() + cell.bias_hh()
        i, f, g, o = gates.split(6, 1)
        c = first(f) * c + first(i) * (second or first)(g)
        c = c - (c - c.clamp(max=1.0)).detach()
        h = first(o) * c
        outputs.append(h)
    wanted = torch.stack(outputs)
    assert set(got.unique().tolist()) == {0.0, 1.0}
    assert_close("output", wanted, got)
    assert_close("hidden state", h, last_h[0])
    assert_close("cell state", c, last_c[0])
    weights = torch.randn_like(got)
    wanted_gradient = torch.autograd.grad((wanted * weights).sum(), cell.weight_hh())[0]
    assert_gradient(
        "weights", wanted_gradient, torch.autograd.grad((got * weights).sum(), cell.weight_hh())[0]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_step_by_step_is_the_layer(kind):
    torch.manual_seed(0)
    net, x = kind(*SIZES, 1), torch.randn(T, N, 5) * 3
    wanted, last = net(x)
    state, outputs = None, []
    for step in x:
        state = net.cells[0](step, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    assert_close("output", wanted, torch.stack(outputs))
    assert kind.base_cell() is type(net.cells[0])
    assert kind.states_num() == (2 if isinstance(last, tuple) else 1)
    first, states = net(x[:3])  # a sequence in two parts
    second, _ = net(x[3:], states)
    assert_close("output in parts", wanted, torch.cat([first, second]))


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_parameters(kind):
    net = kind(*SIZES, num_layers=2, bias=False, bidirectional=True)
    output, states = net(torch.randn(T, N, 5))
    assert output.shape == (T, N, 12)
    assert all(one.shape == (4, N, 6) for one in (states if isinstance(states, tuple) else [states]))
    assert not [name for name, _ in net.named_parameters() if "bias" in name]
    assert net.cells[0].bias_ih() is None
    assert all(parameter.abs().max() <= 6**-0.5 for parameter in net.parameters())
    assert net(torch.randn(1, 0, 5))[0].shape == (1, 0, 12)
    assert net.double()(torch.randn(T, N, 5).double())[0].dtype == torch.float64


def test_dropout_between_layers():
    torch.manual_seed(0)
    net = rnn.SpikingGRU(5, 50, 2, dropout_p=0.5, invariant_dropout_mask=True)
    seen = []
    net.cells[1].linear_ih.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.randn(20, N, 5) * 3
    net(x)
    silent = (seen[0] == 0).all(0).float().mean()
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    net.invariant_dropout_mask = False
    net(x)
    assert silent > 0.4 > (seen[1] == 0).all(0).float().mean()
    net.eval()
    net(x)
    assert set(seen[2].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (lambda: rnn.SpikingLSTM(5, 6, 1)(torch.randn(N, 5)), r"`x` of SpikingLSTM must be \[T, N, 5\]"),
        (lambda: rnn.SpikingLSTM(5, 6, 1)(torch.randn(T, N, 4)), r"got \[7, 3, 4\]"),
        (lambda: rnn.SpikingLSTM(5, 6, 1)(torch.randn(0, N, 5)), "T >= 1"),
        (lambda: rnn.SpikingLSTMCell(5, 6)(torch.randn(T, N, 5)), r"must be \[N, 5\]"),
        (
            lambda: rnn.SpikingLSTM(5, 6, 1)(torch.randn(T, N, 5), torch.zeros(1, N, 6)),
            "`states` .* must be 2 of",
        ),
        (
            lambda: rnn.SpikingGRU(5, 6, 2)(torch.randn(T, N, 5), torch.zeros(1, N, 6)),
            "`states` .* must be 1 of",
        ),
        (lambda: rnn.SpikingLSTMCell(5, 6)(torch.randn(N, 5), torch.zeros(N, 6)), "`states` .* must be 2 of"),
        (lambda: rnn.SpikingLSTMCell(5, 6)(torch.randn(N, 5), 3), "`states` .* must be 2 of"),
        (lambda: rnn.SpikingGRUCell(5, 6)(torch.randn(N, 5), torch.zeros(1, 6)), "`states` .* must be 1 of"),
    ],
)
def test_inputs_that_are_refused(do, said):
    with pytest.raises(ShapeError, match=said):
        do()


def test_a_cell_takes_tensors_only():
    with pytest.raises(TypeError, match="`x` of SpikingGRUCell must be a tensor, got a list"):
        rnn.SpikingGRUCell(3, 4)([[1.0, 2.0, 3.0]])


def test_settings_that_are_refused():
    with pytest.raises(ValueError, match="`num_layers` must be at least 1"):
        rnn.SpikingGRU(5, 6, 0)
    with pytest.raises(ValueError, match="`dropout_p` must be"):
        rnn.SpikingGRU(5, 6, 1, dropout_p=2.0)
    with pytest.raises(TypeError, match="`surrogate_function` must be callable"):
        rnn.SpikingLSTM(5, 6, 1, surrogate_function1=surrogate.ATan)
    with pytest.raises(ValueError, match="must have the `spiking` of"):
        rnn.SpikingLSTMCell(5, 6, True, surrogate.ATan(), surrogate.ATan(spiking=False))


def test_layers_of_ones_own():
    class Own(rnn.SpikingRNNBase):
        @staticmethod
        def base_cell():
            return rnn.SpikingVanillaRNNCell

    output, state = Own(3, 4, 1)(torch.rand(5, 2, 3))
    assert (output.shape, state.shape) == ((5, 2, 4), (1, 2, 4))


def test_it_learns_digits_row_by_row():
    torch.manual_seed(0)
    digits = data.load("digits")
    x, y = data.as_float(digits.train_x).squeeze(1).movedim(1, 0), digits.train_y  # [8 rows, N, 8]
    net, readout = rnn.SpikingGRU(8, 64, 1), nn.Linear(64, 10)
    optimizer = torch.optim.Adam([*net.parameters(), *readout.parameters()], 5e-3)
    for _ in range(8):
        for chosen in torch.randperm(len(y)).split(64):
            loss = nn.functional.cross_entropy(readout(net(x[:, chosen])[0].mean(0)), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert (readout(net(x)[0].mean(0)).argmax(1) == y).float().mean() > 0.7
