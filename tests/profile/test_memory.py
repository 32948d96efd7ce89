"""Memory of training: against sizes worked by hand, and against itself."""

import pytest
import torch
from torch import nn

from spikeloom import functional, layer, neuron, profile
from spikeloom.errors import ShapeError

FLOAT = 4  # bytes


def test_what_is_kept_is_counted_once_for_each_storage():
    net = nn.Sequential(nn.Linear(3, 5), nn.Sigmoid(), nn.Linear(5, 2))
    memory = profile.training_memory(net, torch.rand(4, 6, 3), steps=[1, 4, 12])
    # The input, and the sigmoid's output, which the sigmoid and the second layer share.
    assert memory.saved == {steps: FLOAT * steps * 6 * (3 + 5) for steps in (1, 4, 12)}
    assert memory.per_step == FLOAT * 6 * (3 + 5)
    assert memory.parameters == memory.gradients == FLOAT * (3 * 5 + 5 + 5 * 2 + 2)
    assert (memory.optimizer, memory.num_samples) == (0, 6)


def test_frozen_weights_have_no_gradients():
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2, bias=False))
    net[0].requires_grad_(False)
    memory = profile.training_memory(net, torch.rand(2, 1, 3))
    assert (memory.parameters, memory.gradients) == (FLOAT * 30, FLOAT * 10)
    assert memory.saved == {steps: FLOAT * steps * 5 for steps in (1, 2, 4)}  # the second layer's input


def test_the_optimiser_is_counted_as_far_as_it_remembers():
    net = nn.Linear(3, 2)
    x, optimizer = torch.rand(2, 1, 3), torch.optim.Adam(net.parameters())
    assert profile.training_memory(net, x, optimizer=optimizer).optimizer == 0
    net(x).sum().backward()
    optimizer.step()
    memory = profile.training_memory(net, x, optimizer=optimizer)
    assert memory.optimizer == 2 * memory.parameters + 2 * FLOAT  # and the step, for both parameters


@pytest.mark.parametrize("mode", ["s", "m"])
def test_a_spiking_network_keeps_as_much_for_each_step(mode):
    net = nn.Sequential(layer.Linear(3, 5), neuron.LIFNode(backend="torch"), layer.Linear(5, 2))
    functional.set_step_mode(net, mode)
    saved = profile.training_memory(net, torch.rand(4, 6, 3), steps=[4, 8, 16]).saved
    assert saved[16] - saved[8] == 2 * (saved[8] - saved[4]) > 0


def test_the_loom_keeps_the_input_of_a_neuron_and_nothing_else_over_time():
    net = nn.Sequential(layer.Linear(3, 5), neuron.LIFNode(backend="numba"))
    functional.set_step_mode(net, "m")
    assert profile.training_memory(net, torch.rand(4, 6, 3)).per_step == FLOAT * 6 * (3 + 5)


def test_an_input_without_time_is_measured_as_it_is():
    memory = profile.training_memory(nn.Linear(3, 2), torch.rand(6, 3), num_steps=7)
    assert memory.saved == {7: FLOAT * 6 * 3}
    assert memory.per_step is None


def test_wrong_arguments_are_refused():
    fc = layer.Linear(3, 2, step_mode="m")
    for steps in ([], [0, 3]):
        with pytest.raises(ValueError, match="`steps` must hold numbers of at least 1"):
            profile.training_memory(fc, torch.rand(4, 6, 3), steps=steps)
    with pytest.raises(ValueError, match="without `num_steps`"):
        profile.training_memory(fc, torch.rand(6, 3), steps=[2], num_steps=2)
    with pytest.raises(ShapeError, match="one time step and one sample"):
        profile.training_memory(fc, torch.rand(4, 0, 3))


def test_a_device_without_numbers():
    net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m", backend="torch"))
    x = torch.ones(8, 2, 4)
    expected = profile.training_memory(net, x).saved
    assert profile.training_memory(net.to("meta"), x.to("meta")).saved == expected
