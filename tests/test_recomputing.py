"""Activation checkpointing, over layers and over chunks of time: less is kept, the gradients are the same."""

import ctypes
import platform
import sys
from itertools import chain, pairwise

import pytest
import torch
from torch import nn

from compare import assert_gradient, assert_same
from spikeloom import functional, layer, neuron
from spikeloom.diagnose import FiringCheck
from spikeloom.errors import ShapeError
from train.together import in_processes

if sys.platform != "win32":
    import resource

T, CHUNK = 24, 6


def make(seed=0, norm=False):
    """Every kind of memory: numbers at first, a mask drawn at random, a queue, recurrent connections."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        layer.Linear(5, 8),
        layer.BatchNorm1d(8) if norm else nn.Identity(),
        neuron.ParametricLIFNode(v_threshold=0.3),
        layer.Dropout(0.3),
        layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.2), 8, 8),
        layer.SynapseFilter(tau=3.0, learnable=True),
        neuron.SlidingPSN(k=3),
        layer.Linear(8, 4),
        neuron.LIFNode(v_threshold=0.2),
    )
    functional.set_step_mode(net, "m")
    return net


def inputs(*sizes):
    return torch.rand(T, *sizes, generator=torch.Generator().manual_seed(1), requires_grad=True)


def gradients(net, forward, x):
    """Output of ``forward(x)``, gradients of the input and of the parameters, by name."""
    torch.manual_seed(2)  # of the dropout mask
    x = x.detach().requires_grad_()
    out = forward(x)
    (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()
    functional.reset_net(net)
    found = {"output": out.detach(), "input": x.grad}
    for name, parameter in net.named_parameters():
        found[name], parameter.grad = parameter.grad, None
    return found


def plain_in_chunks(net, x):
    return functional.chunk_multi_step_forward(CHUNK, x, net)


@pytest.mark.parametrize("chunk", [1, 5, CHUNK, T, 100])
def test_chunks_of_time_have_the_gradients_of_the_whole(chunk):
    net, x = make(), inputs(3, 5)
    whole = gradients(net, net, x)
    parts = gradients(net, lambda x: functional.checkpoint_time(net, x, chunk), x)
    assert_same("output", whole["output"], parts["output"])
    assert whole["output"].any()
    for name, gradient in whole.items():
        assert_gradient(name, gradient, parts[name])


def test_they_are_those_of_chunks_that_keep_everything_bit_by_bit():
    net, x = make(), inputs(3, 5)
    kept = gradients(net, lambda x: plain_in_chunks(net, x), x)
    parts = gradients(net, lambda x: functional.checkpoint_time(net, x, CHUNK), x)
    for name, gradient in kept.items():
        assert_same(name, gradient, parts[name])


def test_memories_are_left_as_they_are_at_the_end():
    net, x = make(), inputs(3, 5)
    torch.manual_seed(2)
    net(x)
    whole = [value for module in net.modules() for value in getattr(module, "memories", list)()]
    functional.reset_net(net)
    torch.manual_seed(2)
    functional.checkpoint_time(net, x, CHUNK).sum().backward()
    parts = [value for module in net.modules() for value in getattr(module, "memories", list)()]
    for one, other in zip(whole, parts, strict=True):
        assert_same("memory", torch.as_tensor(one), torch.as_tensor(other))


def test_layers_have_the_same_gradients_and_statistics():
    def in_layers(net):
        def forward(x):
            for part in (net[:3], net[3:6], net[6:]):
                x = functional.checkpoint(part, x)
            return x

        return forward

    net, twin, x = make(norm=True), make(norm=True), inputs(3, 5)
    plain, again = gradients(net, net, x), gradients(twin, in_layers(twin), x)
    for name, gradient in plain.items():
        assert_same(name, gradient, again[name])
    for name, buffer in net.named_buffers():  # batch normalisation has seen the batch once
        assert_same(name, buffer, twin.get_buffer(name))


def test_a_network_may_run_for_the_first_time_and_be_watched():
    """Compiling a neuron's loop, and asking a surrogate for its slope, run backward passes of their own."""

    class New(neuron.LIFNode):
        def neuronal_charge(self, x):
            self.v = self.v * 0.75 + x

    net = nn.Sequential(layer.Linear(5, 4, step_mode="m"), New(v_threshold=0.2, step_mode="m"))
    x = inputs(3, 5)
    with FiringCheck(net):
        watched = gradients(net, lambda x: functional.checkpoint_time(net, x, CHUNK), x)
    first = gradients(net, lambda x: functional.checkpoint_time(net, x, CHUNK), x)
    plain = gradients(net, net, x)
    for name, gradient in plain.items():
        assert_gradient(name, gradient, first[name])
        assert_gradient(name, gradient, watched[name])


def peaks(_rank):
    """MiB that a process takes more for a training step in chunks, and then for the whole at once."""
    ctypes.CDLL(None).mallopt(-3, 2**16)  # what is freed is given back, from 64 KiB on
    torch.manual_seed(0)
    sizes = [8, 256, 256, 256, 256, 8]
    blocks = [[layer.Linear(*pair), neuron.LIFNode(v_threshold=0.1)] for pair in pairwise(sizes)]
    net = nn.Sequential(*chain.from_iterable(blocks))
    functional.set_step_mode(net, "m")
    x = torch.rand(128, 128, 8)
    functional.checkpoint_time(net, x[:16], 8).sum().backward()  # compiles
    taken = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]
    for forward in (lambda x: functional.checkpoint_time(net, x, 8), net):
        functional.reset_net(net)
        forward(x).sum().backward()
        taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return taken[1] - taken[0], taken[2] - taken[0]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep what is freed")
def test_chunks_of_time_take_less_memory():
    """Four layers keep 8 tensors of 16 MiB; for a sixteenth of the time steps, 8 MiB, and as much between."""
    ((parts, whole),) = in_processes(1, peaks)
    assert whole > 128
    assert parts < whole / 5


def wrapped(module):
    return nn.Sequential(layer.Linear(5, 3, step_mode="m"), module)


@pytest.mark.parametrize(
    "module",
    [
        layer.BatchNorm1d(3, step_mode="m"),
        layer.TemporalEffectiveBatchNorm1d(T, 3),
        neuron.PSN(T),
        layer.SeqToANNContainer(nn.BatchNorm1d(3)),
    ],
)
def test_what_needs_the_whole_sequence_is_refused(module):
    with pytest.raises(ValueError, match=r"`net` must work on parts of a sequence, but its \w+ '1.*`chunk`"):
        functional.checkpoint_time(wrapped(module), inputs(3, 5), CHUNK)
    functional.checkpoint_time(wrapped(module), inputs(3, 5), T)


def test_batch_normalisation_may_be_frozen_or_of_single_steps():
    functional.checkpoint_time(wrapped(layer.BatchNorm1d(3, step_mode="m").eval()), inputs(3, 5), CHUNK)
    functional.checkpoint_time(wrapped(layer.MultiStepContainer(layer.BatchNorm1d(3))), inputs(3, 5), CHUNK)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="`chunk` must be at least 1, got 0"):
        functional.checkpoint_time(make(), inputs(3, 5), 0)
    with pytest.raises(ShapeError, match="`x_seq` must have at least one time step"):
        functional.checkpoint_time(make(), torch.rand(0, 3, 5), 4)

    class Mean(nn.Module):
        def forward(self, x_seq):
            return x_seq.mean(0)

    with pytest.raises(ShapeError, match=r"as many time steps as it gets, but made \[3, 5\] of \[6, 3, 5\]"):
        functional.checkpoint_time(Mean(), inputs(3, 5), CHUNK)
