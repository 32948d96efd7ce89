"""Online training of whole sequences: the gradients of single steps, in compiled loops."""

import pytest
import torch
from torch import nn

from compare import assert_close
from spikeloom import functional, layer, learning, model, neuron, surrogate
from spikeloom.errors import ShapeError, SpikeloomError

KINDS = [learning.SLTT, learning.OTTT]


def drive(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 3


def lif(kind=neuron.LIFNode, **settings):
    return kind(surrogate_function=surrogate.ATan(), **settings)


NETS = {
    "hard and soft resets": (
        lambda: [layer.Linear(5, 6), lif(tau=3.0), layer.Linear(6, 4), lif(v_reset=None), layer.Linear(4, 3)],
        (4, 5),
    ),
    "learned leaks": (
        lambda: [layer.Linear(5, 6), lif(neuron.ParametricLIFNode), layer.Linear(6, 3), lif(neuron.IFNode)],
        (4, 5),
    ),
    "convolutions": (
        lambda: [
            layer.Conv2d(2, 3, 3, stride=2, padding=1),
            lif(tau=3.0),
            layer.Conv2d(3, 2, 2),
            lif(),
            layer.Flatten(),
            layer.Linear(8, 3),
        ],
        (4, 2, 6, 6),
    ),
    "a readout that integrates": (
        lambda: [layer.Linear(5, 6), lif(), layer.Linear(6, 3), neuron.NonSpikingLIFNode(4.0)],
        (4, 5),
    ),
    "input that does not decay": (lambda: [layer.Linear(5, 6), lif(tau=3.0, decay_input=False)], (4, 5)),
}
ONLY_SLTT = {
    "other memories": (
        lambda: [
            layer.SynapseFilter(3.0, learnable=True),
            layer.Linear(5, 6),
            lif(),
            layer.LinearRecurrentContainer(lif(), 6, 6),
            layer.MultiStepContainer(nn.Linear(6, 6), lif(), step_mode="s"),
            layer.ElementWiseRecurrentContainer(lif(), torch.sub),
            layer.Linear(6, 3),
        ],
        (4, 5),
    ),
    "several memories": (lambda: [layer.Linear(5, 6), lif(neuron.CLIFNode), layer.Linear(6, 3)], (4, 5)),
}
CASES = [(kind, name) for kind in KINDS for name in NETS] + [(learning.SLTT, name) for name in ONLY_SLTT]


def made(name):
    make, shape = (NETS | ONLY_SLTT)[name]
    torch.manual_seed(0)
    net = nn.Sequential(*make()).double()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.abs_()  # so that neurons fire
    functional.set_step_mode(net, "m")
    return net, drive(9, *shape)


def gradients(net):
    found = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    return found


def targets_of(net, x_seq):
    with torch.no_grad():
        output = net(x_seq)
    functional.reset_net(net)
    return drive(*output.shape, seed=1) - 1.5


def by_steps(kind, net, x_seq, targets):
    functional.set_step_mode(net, "s")
    online = kind(net)
    for x, target in zip(x_seq, targets, strict=True):
        (online(x) * target).sum().backward()
    functional.reset_net(online)
    functional.set_step_mode(net, "m")
    return gradients(net)


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_gradient_is_that_of_single_steps(kind, name, backend):
    net, x_seq = made(name)
    functional.set_backend(net, backend)
    targets = targets_of(net, x_seq)
    expected = by_steps(kind, net, x_seq, targets)
    (net(x_seq) * targets).sum().backward()
    functional.reset_net(net)
    through_time = gradients(net)
    online = kind(net)
    assert online.step_mode == "m"
    (online(x_seq) * targets).sum().backward()
    found = gradients(net)
    for reference, got in zip(expected, found, strict=True):
        assert_close("gradient", reference, got)
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(found, through_time, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_memories_and_traces_pass_from_one_sequence_to_the_next(kind):
    net, x_seq = made("convolutions")
    targets = targets_of(net, x_seq)
    expected = by_steps(kind, net, x_seq, targets)
    online = kind(net)
    for part in (slice(0, 4), slice(4, 5), slice(5, 9)):
        (online(x_seq[part]) * targets[part]).sum().backward()
    for reference, got in zip(expected, gradients(net), strict=True):
        assert_close("gradient", reference, got)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_that_are_computed_again(kind):
    net, x_seq = made("convolutions")
    targets = targets_of(net, x_seq)
    expected = by_steps(kind, net, x_seq, targets)
    (functional.checkpoint_time(kind(net), x_seq, 4) * targets).sum().backward()
    for reference, got in zip(expected, gradients(net), strict=True):
        assert_close("gradient", reference, got)


@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_loop_runs_it(kind):
    """To the bits of the reference, as it does without."""
    net = nn.Sequential(layer.Linear(5, 6), lif(v_reset=None, detach_reset=True), layer.Linear(6, 3))
    functional.set_step_mode(net, "m")
    found = []
    for backend in ("numba", "torch"):
        functional.set_backend(net, backend)
        online = kind(net)
        online(drive(9, 4, 5).float()).square().sum().backward()
        functional.reset_net(online)
        found.append(gradients(net))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_the_network_by_itself_learns_through_time_again():
    net, x_seq = made("hard and soft resets")
    targets = targets_of(net, x_seq)
    (net(x_seq) * targets).sum().backward()
    functional.reset_net(net)
    expected = gradients(net)
    online = learning.SLTT(net)
    with pytest.raises(ShapeError):
        online(x_seq[..., :3])
    online(x_seq)
    functional.reset_net(net)
    (net(x_seq) * targets).sum().backward()
    assert all(torch.equal(one, other) for one, other in zip(expected, gradients(net), strict=True))


def test_a_loss_of_the_last_step_reaches_no_other():
    net, x_seq = made("a readout that integrates")
    x_seq.requires_grad_(True)
    learning.SLTT(net)(x_seq)[-1].sum().backward()
    assert x_seq.grad[-1].abs().max() > 0
    assert not x_seq.grad[:-1].any()


def test_a_static_image_has_a_trace_of_one_step():
    layers = {
        "conv1": layer.Conv2d(1, 2, 3, padding=1),
        "sn1": lif(tau=4.0),
        "conv2": layer.Conv2d(2, 2, 3, padding=1),
        "sn2": lif(tau=4.0),
    }
    online = learning.OTTT(model.Network(layers, T=3))
    torch.nn.init.constant_(layers["conv1"].weight, 2.0)
    x, spikes = torch.rand(2, 1, 6, 6), []
    layers["sn1"].register_forward_hook(lambda _node, _inputs, output: spikes.append(output.detach()))
    online(x).sum().backward()
    assert torch.equal(online.traces["conv1"], x)
    first, second, third = spikes[0]
    assert third.any()
    assert_close("trace", third + 0.75 * second + 0.75**2 * first, online.traces["conv2"])


def test_sequences_of_any_memory_format():
    """Time last in memory, and channels last: the traced layers get the same numbers."""
    net, x_seq = made("convolutions")
    targets = targets_of(net, x_seq)
    expected = by_steps(learning.OTTT, net, x_seq, targets)
    last = x_seq.movedim(0, -1).contiguous().movedim(-1, 0)
    for given in (last, x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).view_as(x_seq)):
        online = learning.OTTT(net)
        (online(given) * targets).sum().backward()
        functional.reset_net(online)
        for reference, got in zip(expected, gradients(net), strict=True):
            assert_close("gradient", reference, got)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (layer.Delay(2), "Delay '0'"),
        (neuron.PSN(4), "PSN '0'"),
        (neuron.SlidingPSN(2), "SlidingPSN '0'"),
        (layer.LearnableDelay(3, 2), "LearnableDelay '0'"),
    ],
)
def test_what_looks_at_several_steps_is_refused(module, name):
    module.step_mode = "m"
    with pytest.raises(ValueError, match=f"{name} looks at several steps at once"):
        learning.SLTT(nn.Sequential(module))


def test_two_step_modes_are_refused():
    net = nn.Sequential(layer.Linear(3, 2, step_mode="m"), neuron.LIFNode(step_mode="m"))
    online = learning.SLTT(net)
    net[1].step_mode = "s"
    with pytest.raises(ValueError, match="`step_mode` of LIFNode '1' must be 'm'"):
        online(torch.rand(4, 2, 3))
    functional.set_step_mode(online, "s")
    assert online(torch.rand(2, 3)).shape == (2, 2)


def test_what_cannot_be_traced_over_time_is_refused():
    plain = learning.OTTT(nn.Sequential(nn.Linear(3, 2), neuron.LIFNode(step_mode="m")))
    with pytest.raises(SpikeloomError, match=r"Linear '0' does not take sequences.* layer\.Linear\("):
        plain(torch.rand(4, 2, 3))
    parallel = learning.OTTT(
        nn.Sequential(layer.SeqToANNContainer(nn.Linear(3, 2)), neuron.LIFNode(step_mode="m"))
    )
    with pytest.raises(SpikeloomError, match=r"Linear '0\.0' does not take sequences"):
        parallel(torch.rand(4, 2, 3))


@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_an_input_that_changes_in_place_is_refused(step_mode):
    class Halved(nn.Module):
        def forward(self, x):
            y = self.linear(x)
            x.mul_(0.5)
            return y

    halved = Halved()
    halved.linear = layer.Linear(3, 2)
    functional.set_step_mode(halved, step_mode)
    with pytest.raises(SpikeloomError, match="input of layer 'linear' was changed in place"):
        learning.OTTT(halved)(torch.rand(4, 2, 3) if step_mode == "m" else torch.rand(2, 3)).sum().backward()
