"""Conversion: the spiking network says what the ANN says, in both step modes, and the report says what was
done."""

import copy
import pickle

import pytest
import torch
from torch import nn

from ann2snn.networks import NETWORKS, Mixed, OneDimensional, made, qcfs_net, with_statistics
from spikeloom import ann2snn, functional, layer, loom, neuron

over_networks = pytest.mark.parametrize("name", list(NETWORKS))


def distance(outputs, wanted):
    """Mean distance to the ANN, in parts of the ANN's deviation."""
    return ((outputs - wanted).abs().mean() / wanted.std()).item()


@over_networks
def test_the_error_falls_with_the_number_of_steps(name):
    ann, x = made(name)
    wanted = ann(x).detach()
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 256)
    errors = [distance(outputs[T - 1], wanted) for T in (4, 32, 256)]
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3
    assert errors[2] < 0.02


@over_networks
def test_batch_norm_and_dropout_are_gone_and_the_model_is_left_alone(name):
    ann, x = made(name)
    before = copy.deepcopy(ann.state_dict())
    ann.train()
    snn = ann2snn.convert(ann, x)
    assert ann.training
    assert not any(isinstance(module, nn.Dropout) for module in snn.modules())
    assert all(torch.equal(before[key], value) for key, value in ann.state_dict().items())
    norms = [module for module in snn.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == (1 if name == "one-dimensional" else 0)  # its first one has no layer before it


@over_networks
def test_steps_one_by_one_are_a_sequence(name):
    ann, x = made(name)
    snn = ann2snn.convert(ann, x)
    with torch.no_grad():
        single = torch.stack([snn(x) for _ in range(6)])
        functional.reset_net(snn)
        functional.set_step_mode(snn, "m")
        sequence = snn(x.expand(6, *x.shape))
    assert torch.equal(single, sequence)
    functional.reset_net(snn)
    with loom.backend("torch"), torch.no_grad():
        assert torch.equal(snn(x.expand(6, *x.shape)), sequence)


@over_networks
def test_copies_pickles_and_loaded_weights_say_the_same(name):
    ann, x = made(name)
    snn = ann2snn.convert(ann, x, calibrate="potential", T=8)
    wanted = ann2snn.outputs_over_time(snn, x, 8)
    other = ann2snn.convert(
        with_statistics(NETWORKS[name][0](), x.shape[1:], 3), x, calibrate="potential", T=2
    )
    assert not torch.equal(ann2snn.outputs_over_time(other, x, 8), wanted)
    other.load_state_dict(snn.state_dict())
    for copied in (copy.deepcopy(snn), pickle.loads(pickle.dumps(snn)), other):
        assert torch.equal(ann2snn.outputs_over_time(copied, x, 8), wanted)


def test_neurons_are_woven():
    snn = ann2snn.convert(*made("mixed"))
    functional.set_backend(snn, "numba")  # raises where it cannot
    ann2snn.outputs_over_time(snn, torch.randn(3, 1, 8, 8), 4)


def test_the_network_keeps_type_and_device_of_the_model():
    ann, x = made("mixed")
    ann, x = ann.double(), x.double()
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 256)
    assert outputs.dtype == torch.float64
    assert distance(outputs[-1], ann(x).detach()) < 0.02


def test_gradients_pass_the_spikes():
    ann, x = made("mixed")
    snn = ann2snn.convert(ann, x)
    functional.set_step_mode(snn, "m")
    snn(x.expand(4, *x.shape)).mean(0).pow(2).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in snn.parameters())


def test_channels_last_gives_the_same():
    ann, x = qcfs_net(4), torch.randn(20, 1, 8, 8)
    snn = ann2snn.convert(ann, x)
    wanted = ann2snn.outputs_over_time(snn, x, 8)
    last = snn.to(memory_format=torch.channels_last)
    outputs = ann2snn.outputs_over_time(last, x.contiguous(memory_format=torch.channels_last), 8)
    torch.testing.assert_close(outputs, wanted)


def test_a_batch_of_another_size_needs_a_reset_and_says_so():
    ann, x = made("mixed")
    snn = ann2snn.convert(ann, x)
    snn(x)
    with pytest.raises(ValueError, match=r"reset_net"):
        snn(x[:5])


def test_the_report_lists_every_operation():
    report = ann2snn.convert(*made("mixed")).report
    became = {f"{row.name} {row.operation}": row.became for row in report.rows if row.name != "block.relu"}
    assert became["norm BatchNorm2d"] == "folded into the weights of stem"
    assert became["block.norm1 BatchNorm2d"] == "folded into the weights of block.conv1"
    assert became["drop Dropout"] == became["dropout dropout"] == "removed: it does nothing in evaluation"
    assert became["max_pool2d max_pool2d"] == "maximum pooling of spike counts"
    assert became["stem Conv2d"] == became["add add"] == became["mul mul"] == "kept: linear"
    assert became["relu relu"].startswith("IF neurons, threshold ")
    assert [row.operation for row in report.rows if row.name == "block.relu"] == ["ReLU", "ReLU"]
    assert report.unconverted == []
    assert len(str(report).splitlines()) == len(report.rows) == 17


def test_what_is_not_linear_is_kept_only_on_request():
    ann = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(1))
    snn = ann2snn.convert(ann, torch.rand(8, 3), strict=False)
    (row,) = snn.report.unconverted
    assert (row.name, row.operation) == ("3", "Softmax")
    assert row.became == "kept, NOT CONVERTED: it is neither linear, nor a ReLU, nor maximum pooling"
    assert torch.allclose(snn(torch.rand(8, 3)).sum(1), torch.ones(8))


def test_thresholds_are_the_maximum_or_the_percentile():
    ann, x = made("sequential")
    activations = ann[1](ann[0](x)).detach().flatten()

    def threshold(**options):
        (node,) = [m for m in ann2snn.convert(ann, x, **options).modules() if isinstance(m, neuron.IFNode)]
        return node.v_threshold.item()

    assert threshold() == activations.max().item()
    assert threshold(scale=0.25) == activations.max().item() / 4
    for percent in (90.0, 99.9):
        exact = torch.quantile(activations, percent / 100, interpolation="higher").item()
        assert threshold(method="percentile", percentile=percent) == pytest.approx(exact, rel=2**-11)
    zeros = (activations == 0).float().mean().item()
    assert zeros > 0.2
    assert threshold(method="percentile", percentile=10.0) == activations.max().item()


def test_batches_of_any_size_give_the_same_thresholds():
    ann, x = made("sequential")
    whole = ann2snn.convert(ann, x, "percentile").state_dict()
    labelled = zip(x.split(3), range(22), strict=True)
    for source in (x.split(7), [(x[:1], 0), x[:0], [x[1:]]], iter(x.split(20)), labelled):
        split = ann2snn.convert(ann, source, "percentile").state_dict()
        torch.testing.assert_close(split, whole, rtol=2**-10, atol=0.0)  # products round with the batch


def test_a_silent_layer_gets_a_threshold_and_is_named():
    ann = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    nn.init.constant_(ann[0].bias, -9.0)
    snn = ann2snn.convert(ann, torch.rand(5, 2))
    assert "threshold 1, because it was silent on the calibration data" in str(snn.report)
    assert torch.isfinite(ann2snn.outputs_over_time(snn, 99 * torch.ones(1, 2), 4)).all()


def test_layers_that_take_sequences_are_converted_too():
    ann = nn.Sequential(
        layer.Conv2d(1, 2, 3), nn.ReLU(), layer.AvgPool2d(2), layer.Flatten(), layer.Linear(18, 3)
    )
    x = torch.rand(16, 1, 8, 8)
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 128)
    assert distance(outputs[-1], ann(x).detach()) < 0.05


def test_batch_norm_over_the_last_layer_but_one_dimension_is_not_folded_wrongly():
    """BatchNorm1d normalises dimension 1, which is not the one that Linear makes from three dimensions."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.norm, self.relu = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU()

        def forward(self, x):
            return self.relu(self.norm(self.fc(x)))

    ann = with_statistics(Odd(), (5, 4))
    x = torch.randn(8, 5, 4)
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 256)
    assert (outputs[-1] - ann(x)).abs().max() < 0.02


def test_a_layer_that_is_used_twice_keeps_its_batch_norms():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.one, self.two = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4)

        def forward(self, x):
            return torch.relu(self.two(self.fc(torch.relu(self.one(self.fc(x))))))

    ann = with_statistics(Shared(), (4,))
    x = torch.randn(32, 4)
    outputs = ann2snn.outputs_over_time(ann2snn.convert(ann, x), x, 512)
    assert distance(outputs[-1], ann(x).detach()) < 0.02


@pytest.mark.parametrize("cls", [Mixed, OneDimensional])
@pytest.mark.parametrize("what", ["bias", "potential"])
def test_calibration_brings_the_network_closer_to_the_ann(cls, what):
    ann = with_statistics(cls(), (1, 8, 8) if cls is Mixed else (2, 12))
    shape = (1, 8, 8) if cls is Mixed else (2, 12)
    x, others = torch.randn(200, *shape), torch.randn(200, *shape)
    plain = ann2snn.convert(ann, x, initial_potential=0.0)
    calibrated = ann2snn.convert(ann, x, initial_potential=0.0, calibrate=what, T=8)
    errors = [
        distance(ann2snn.outputs_over_time(snn, others, 8)[-1], ann(others).detach())
        for snn in (plain, calibrated)
    ]
    assert errors[1] < 0.7 * errors[0]


def test_calibration_does_what_its_equation_says():
    """One layer: 0.5 is added per step where the neurons, starting from 0, miss 0.5 on average."""
    ann = nn.Sequential(nn.Identity(), nn.ReLU())
    x = torch.tensor([[0.5, 1.0]])
    options = {"initial_potential": 0.0, "T": 1}
    (bias,) = _activations(ann2snn.convert(ann, x, calibrate="bias", **options))
    assert bias.shift.tolist() == [0.5, 0.0]
    (start,) = _activations(ann2snn.convert(ann, x, calibrate="potential", **options))
    assert start.initial.tolist() == [0.5, 0.0]
    (none,) = _activations(ann2snn.convert(ann, x, **options))
    assert (none.shift, none.initial.item()) == (None, 0.0)


def _activations(snn):
    return [module for module in snn.modules() if isinstance(module, ann2snn.SpikingActivation)]
