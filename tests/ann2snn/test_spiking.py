"""The parts of a converted network, and what QCFS promises: no error at T = L."""

import pytest
import torch
from torch import nn

from ann2snn.networks import qcfs_net
from spikeloom import ann2snn, functional
from spikeloom.ann2snn import SpikingActivation
from spikeloom.layer import containers


def test_qcfs_is_its_equation():
    torch.manual_seed(0)
    x = torch.randn(1000, dtype=torch.float64) * 3
    activation = ann2snn.QCFS(L=5, threshold=1.3).double()
    wanted = 1.3 * torch.clip(torch.floor(x * 5 / 1.3 + 0.5) / 5, 0, 1)
    torch.testing.assert_close(activation(x).detach(), wanted)


def test_qcfs_gradient_is_that_of_the_paper():
    x = torch.tensor([-0.5, 0.3, 0.45, 2.0], requires_grad=True)
    activation = ann2snn.QCFS(L=2, threshold=1.0)
    output = activation(x)
    output.sum().backward()
    assert output.tolist() == [0.0, 0.5, 0.5, 1.0]
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 0.0]
    expected = (0.5 - 0.3) + (0.5 - 0.45) + 1.0  # (h - x) / threshold within, 1 above, 0 below
    assert activation.threshold.grad.item() == pytest.approx(expected)


def test_qcfs_stays_finite_when_its_threshold_is_driven_to_zero():
    activation = ann2snn.QCFS()
    with torch.no_grad():
        activation.threshold.fill_(-1.0)
    x = torch.zeros(3, requires_grad=True)
    activation(x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("wrong", "message"), [
    ({"L": 0}, "`L` must be a whole number of at least 1, got 0"),
    ({"L": 1.5}, "`L` must be a whole number of at least 1, got 1.5"),
    ({"L": float("inf")}, "`L` must be a whole number of at least 1, got inf"),
    ({"L": float("nan")}, "`L` must be a whole number of at least 1, got nan"),
    ({"threshold": 0.0}, "`threshold` must be a finite number greater than 0, got 0.0"),
    ({"threshold": float("inf")}, "`threshold` must be a finite number greater than 0, got inf"),
])  # fmt: skip
def test_wrong_settings_of_qcfs_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ann2snn.QCFS(**wrong)


@pytest.mark.parametrize("L", [1, 4, 7])
def test_a_qcfs_network_loses_nothing_at_as_many_steps_as_it_has_levels(L):
    torch.manual_seed(L)
    ann, x = qcfs_net(L).double(), torch.randn(50, 1, 8, 8, dtype=torch.float64)
    snn = ann2snn.convert(ann, x, "qcfs")
    torch.testing.assert_close(ann2snn.outputs_over_time(snn, x, L)[-1], ann(x).detach())


@pytest.mark.parametrize("T", [1, 3, 10, 63])
@pytest.mark.parametrize("initial", [0.0, 0.5, 0.9])
def test_the_rate_is_the_one_of_the_formula(T, initial):
    torch.manual_seed(T)
    x = torch.randn(500, 1, dtype=torch.float64) * 2
    layer = ann2snn.SpikingActivation(1.5, initial).double()
    rate = layer(x.repeat(T, 1), num_steps=T).view(T, 500, 1).mean(0)
    wanted = 1.5 / T * torch.clip(torch.floor(T / 1.5 * x + initial), 0, T)
    torch.testing.assert_close(rate, wanted)


def test_pooled_counts_are_the_maximum_of_the_counts_at_every_step():
    torch.manual_seed(0)
    spikes = 0.5 * (torch.rand(20, 3, 4, 6, 6) < 0.3)  # [T, N, C, H, W]
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    layer = ann2snn.SpikingMaxPool(pool)
    outputs = layer(spikes.flatten(0, 1), num_steps=20).unflatten(0, (20, 3))
    for t in range(20):
        assert torch.equal(outputs[: t + 1].sum(0), pool(spikes[: t + 1].sum(0)))
    assert set(outputs.unique().tolist()) == {0.0, 0.5}  # spikes again


def test_pooling_goes_on_where_the_last_call_ended_until_it_is_reset():
    torch.manual_seed(0)
    spikes = (torch.rand(9, 2, 1, 8) < 0.4).float()
    layer = ann2snn.SpikingMaxPool(nn.AdaptiveMaxPool1d(2))
    whole = layer(spikes.flatten(0, 1), num_steps=9)
    functional.reset_net(layer)
    parts = torch.cat([layer(part.flatten(0, 1), num_steps=len(part)) for part in spikes.split([1, 5, 3])])
    assert torch.equal(whole, parts)
    functional.reset_net(layer)
    assert torch.equal(layer(spikes[0]), whole[:2])


def test_the_largest_spike_of_a_step_would_be_wrong():
    """Two neurons that fire in turn: the maximum of their rates is a half."""
    in_turn = torch.eye(2).repeat(8, 1).view(16, 1, 1, 2)
    layer = ann2snn.SpikingMaxPool(nn.MaxPool2d((1, 2)))
    assert nn.MaxPool2d((1, 2))(in_turn).mean() == 1.0
    assert layer(in_turn, num_steps=16).mean() == 0.5


def test_accuracy_is_counted_after_every_step_in_one_pass():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 3))
    x, y = torch.randn(70, 5), torch.randint(3, (70,))
    snn = ann2snn.convert(ann, x)
    curve = ann2snn.accuracy_over_time(snn, zip(x.split(32), y.split(32), strict=True), T=19)
    assert curve.shape == (19,)
    for T in (1, 8, 9, 19):
        functional.reset_net(snn)
        with torch.no_grad():
            said = sum(snn(x) for _ in range(T)).argmax(1)
        assert curve[T - 1].item() == pytest.approx((said == y).float().mean().item())


def test_simulation_leaves_the_network_as_it_was():
    snn = ann2snn.convert(nn.ReLU(), torch.ones(2, 1))
    snn(torch.ones(3, 1))
    ann2snn.outputs_over_time(snn, torch.ones(2, 1), 3)
    assert snn.step_mode == "s"
    assert snn.graph_module.get_submodule("") is snn.graph_module
    snn(torch.ones(5, 1))  # it was reset: another number of samples is taken


@pytest.mark.parametrize("T", [0, -3])
def test_simulation_needs_steps(T):
    snn = ann2snn.convert(nn.ReLU(), torch.ones(2, 1))
    with pytest.raises(ValueError, match=f"`T` must be at least 1, got {T}"):
        ann2snn.outputs_over_time(snn, torch.ones(2, 1), T)
    with pytest.raises(ValueError, match="`data` must have at least one sample, got none"):
        ann2snn.accuracy_over_time(snn, [], 4)


def test_thresholds_of_float64_are_not_rounded():
    activation = ann2snn.QCFS(8, 4.0).double()
    activation.threshold.data.fill_(3.141592653589793)
    net = nn.Sequential(activation)
    snn = ann2snn.convert(net, torch.rand(4, 3, dtype=torch.float64), "qcfs")
    (layer,) = (module for module in snn.modules() if isinstance(module, SpikingActivation))
    assert layer.node.v_threshold.item() == 3.141592653589793
    assert layer.initial.item() == 3.141592653589793 / 2


def test_a_converted_network_with_maximum_pooling_runs_within_others():
    ann = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    x_seq = torch.rand(6, 4, 1, 6, 6)
    snn = ann2snn.convert(ann, x_seq[0])
    with torch.no_grad():
        expected = functional.multi_step_forward(x_seq, snn)
        functional.reset_net(snn)
        assert torch.equal(containers.MultiStepContainer(snn)(x_seq), expected)
        functional.reset_net(snn)
        functional.set_step_mode(snn, "m")
        assert torch.equal(functional.checkpoint_time(snn, x_seq, 2), expected)


def test_weights_alone_leave_the_calibration():
    ann, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.rand(8, 3)
    snn = ann2snn.convert(ann, x, calibrate="bias", T=4)
    (activation,) = (module for module in snn.modules() if isinstance(module, SpikingActivation))
    shift = activation.shift.clone()
    weights = {name: one for name, one in snn.state_dict().items() if name.endswith("weight")}
    snn.load_state_dict(weights, strict=False)
    assert torch.equal(activation.shift, shift)


def test_a_calibrated_network_is_saved_and_loaded():
    ann, x = nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.rand(8, 3)
    plain = ann2snn.convert(ann, x)
    calibrated = [ann2snn.convert(ann, x, calibrate=what, T=4) for what in ("bias", "potential")]
    for source in (*calibrated, plain):
        for target in (ann2snn.convert(ann, x), *calibrated):
            target.load_state_dict(source.state_dict())
            assert source.state_dict().keys() == target.state_dict().keys()
            outputs = [ann2snn.outputs_over_time(one, x, 4) for one in (source, target)]
            torch.testing.assert_close(*outputs, rtol=0, atol=0)


def test_a_low_ceiling_acts_as_it_is():
    got = ann2snn.QCFS(L=4, threshold=0.01)(torch.tensor([0.0024, 0.0051, 1.0]))
    torch.testing.assert_close(got, torch.tensor([0.0025, 0.005, 0.01]))
