"""Neurons that run away beyond a point: QIFNode, EIFNode, AdExNode, Izhikevich's."""

import math

import numpy as np
import pytest
import torch

from compare import assert_same
from spikeloom.neuron import AdExNode, BiologicalIzhikevichNode, EIFNode, IzhikevichNode, QIFNode

X = [0.6, 1.2, 2.5, 0.1, 3.0]
# Made with SpikingJelly 2.0.0, torch 2.13.0, 2026-11-22: each neuron in step_mode='m', store_v_seq=True,
# on X; then the gradient of (spikes * [1, 2, 3, 4, 5]).sum() with respect to X.
GOLDEN = {
    "qif": (
        lambda: QIFNode(),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.245, 0.777013, -0.1, -0.005, -0.1],
        [0.756744, 0.842105, 0.04546, 0.764866, 1.05952],
    ),
    "qif soft": (
        lambda: QIFNode(tau=4, v_c=0.5, a0=2.0, v_rest=-0.2, v_reset=None),
        [0.0, 0.0, 0.0, 1.0, 0.0],
        [0.1, 0.34, 0.9218, 0.183388, 0.872695],
        [0.722406, 0.817872, 0.775704, 1.02608, 1.172345],
    ),
    "eif": (
        lambda: EIFNode(),
        [0.0, 1.0, 1.0, 0.0, 1.0],
        [0.453285, -0.1, -0.1, 0.203285, -0.1],
        [0.495357, 0.460147, 0.530366, 0.513585, 0.282447],
    ),
    "eif soft": (
        lambda: EIFNode(tau=4.0, delta_T=0.5, theta_rh=0.6, v_rest=-0.2, v_reset=None),
        [0.0, 0.0, 0.0, 0.0, 1.0],
        [0.137649, 0.402818, 0.961377, 0.953545, 0.668669],
        [0.502945, 0.632656, 0.753021, 0.994671, 0.30163],
    ),
    "izhikevich": (
        lambda: IzhikevichNode(),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.26, 0.7628, 0.0, 0.01, 0.0],
        [0.801102, 0.817197, 0.022622, 0.912094, 1.160308],
    ),
    "izhikevich adapting": (
        lambda: IzhikevichNode(a=0.3, b=0.5, w_rest=0.1, tau_w=3.0),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.21, 0.669717, 0.0, -0.382288, 0.0],
        [0.223579, 0.308918, -0.068694, 0.567005, 2.486232],
    ),
    "izhikevich soft, detached": (
        lambda: IzhikevichNode(a=0.3, b=0.5, v_reset=None, detach_reset=True),
        [0.0, 0.0, 1.0, 0.0, 1.0],
        [0.26, 0.7358, 0.882786, 0.536665, 0.686686],
        [2.330157, 3.082928, 2.282375, 1.500297, 0.566382],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("step_mode", ["s", "m"])
def test_known_spikes_potentials_and_gradients(name, step_mode):
    make, spikes, v_seq, gradient = GOLDEN[name]
    node = make()
    node.step_mode, node.store_v_seq = step_mode, True
    x = torch.tensor(X).requires_grad_()
    out = node(x) if step_mode == "m" else torch.stack([node(step) for step in x])
    assert out.tolist() == spikes
    assert node.v_seq.tolist() == pytest.approx(v_seq, abs=2e-6)
    (out * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad.tolist() == pytest.approx(gradient, abs=3e-6)


def settled(node, start, current, steps=2000):
    node.step_mode = "m"
    node.v = torch.tensor([start], dtype=torch.float64)
    spikes = node(torch.full([steps, 1], current, dtype=torch.float64))
    return node.v.item(), spikes.sum().item()


@pytest.mark.parametrize("current", [0.0, 0.1, -0.5])
def test_qif_settles_at_the_lower_root_and_leaves_the_upper_one(current):
    """(v - v_rest)(v - v_c) + x / a0 = 0"""
    a0, v_rest, v_c = 1.5, -0.1, 0.8
    half = math.sqrt((v_c - v_rest) ** 2 / 4 - current / a0)
    low, high = (v_rest + v_c) / 2 - half, (v_rest + v_c) / 2 + half

    def node():
        return QIFNode(tau=10.0, v_c=v_c, a0=a0, v_rest=v_rest, v_threshold=5.0, v_reset=-1.0)

    assert settled(node(), high - 1e-3, current) == (pytest.approx(low, abs=1e-9), 0.0)
    assert settled(node(), high + 1e-3, current, steps=400)[1] > 0


def test_qif_fires_on_constant_current_from_its_rheobase_on():
    """The roots vanish beyond x = a0 (v_c - v_rest)^2 / 4."""
    rheobase = 0.8**2 / 4
    assert settled(QIFNode(tau=10.0), 0.0, rheobase - 1e-3)[1] == 0
    assert settled(QIFNode(tau=10.0), 0.0, rheobase + 1e-2)[1] > 0


def roots(drift, low, high):
    """The root of ``drift`` between two potentials where its sign differs, by bisection."""
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if drift(low) * drift(middle) > 0 else (low, middle)
    return low


@pytest.mark.parametrize("current", [-0.3, 0.1, 0.25])
def test_eif_settles_at_the_lower_root_and_leaves_the_upper_one(current):
    """x - (v - v_rest) + D exp((v - theta) / D) = 0, which is least at v = theta"""

    def drift(v):
        return current - v + 0.2 * math.exp((v - 0.8) / 0.2)

    low, high = roots(drift, -5.0, 0.8), roots(drift, 0.8, 5.0)

    def node():
        return EIFNode(tau=10.0, delta_T=0.2, v_threshold=3.0)

    assert settled(node(), high - 1e-3, current) == (pytest.approx(low, abs=1e-9), 0.0)
    assert settled(node(), high + 1e-3, current, steps=400)[1] > 0


def test_adex_settles_where_the_current_balances_the_leak():
    """w = a (v - v_rest), so x - (1 + a)(v - v_rest) + D exp((v - theta) / D) = 0"""
    low = roots(lambda v: 1.5 - 5 * v + 0.5 * math.exp((v - 1) / 0.5), -5.0, 0.9)
    node = AdExNode()
    assert settled(node, 0.0, 1.5, steps=8000)[0] == pytest.approx(low, abs=1e-6)
    assert node.w.item() == pytest.approx(4 * low, abs=1e-6)


def test_adex_without_a_current_is_eif():
    x = torch.rand(50, 40) * 3
    settings = {"tau": 3.0, "delta_T": 0.4, "theta_rh": 0.7, "v_rest": 0.1, "v_reset": -0.2, "step_mode": "m"}
    assert_same("spikes", EIFNode(**settings)(x), AdExNode(a=0.0, b=0.0, **settings)(x))


def test_the_interspike_interval_of_adex_grows():
    node = AdExNode(tau_w=50.0, a=0.0, b=0.5, step_mode="m")
    intervals = node(torch.full([400], 2.0, dtype=torch.float64)).nonzero().flatten().diff()
    assert (intervals[:5].diff() > 0).all()
    assert intervals[-1] > 2 * intervals[0]


def test_the_upswing_of_eif_does_not_overflow():
    node = EIFNode(v_reset=None, step_mode="m")
    x = torch.full([20, 1], 1e3, requires_grad=True)
    node(x).sum().backward()
    assert node.v.isfinite().all()
    assert x.grad.isfinite().all()


def test_izhikevich_without_recovery_is_qif():
    x = torch.rand(50, 40) * 3
    settings = {"tau": 3.0, "v_c": 0.5, "a0": 2.0, "v_rest": 0.1, "v_reset": -0.2, "step_mode": "m"}
    assert_same("spikes", QIFNode(**settings)(x), IzhikevichNode(**settings)(x))


def integrated(current, steps, dt, a=0.02, b=0.2, c=-65.0, d=8.0):
    """Izhikevich's published equations, by the same Euler scheme, in NumPy."""
    v, u, trace, times = np.float64(c), np.float64(b * c), [], []
    for step in range(steps):
        v = v + dt * (0.04 * v**2 + 5 * v + 140 - u + current)
        u = u + dt * a * (b * v - u)
        if v >= 30:
            times.append(step * dt)
            v, u = np.float64(c), u + d
        trace.append(v)
    return trace, times


CELLS = {  # from the source's figure 2
    "regular spiking": {},
    "intrinsically bursting": {"c": -55.0, "d": 4.0},
    "chattering": {"c": -50.0, "d": 2.0},
    "fast spiking": {"a": 0.1, "d": 2.0},
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dt", [0.25, 0.5, 1.0])
def test_cells_of_izhikevich_at_constant_current(cell, dt):
    steps = int(500 / dt)
    trace, times = integrated(10.0, steps, dt, **CELLS[cell])
    node = BiologicalIzhikevichNode(dt=dt, step_mode="m", store_v_seq=True, **CELLS[cell])
    spikes = node(torch.full([steps], 10.0, dtype=torch.float64))
    assert (spikes.nonzero().flatten() * dt).tolist() == times
    assert node.v_seq.tolist() == pytest.approx(trace, abs=1e-6)


def test_a_regular_spiking_cell_adapts_and_a_chattering_one_bursts():
    """The source's figure 2: long intervals after a short one; groups of close spikes."""
    x = torch.full([2000], 10.0, dtype=torch.float64)
    regular = BiologicalIzhikevichNode(step_mode="m")(x).nonzero().flatten().diff()
    assert (regular[1:] > 1.5 * regular[0]).all()
    chattering = BiologicalIzhikevichNode(c=-50.0, d=2.0, step_mode="m")(x).nonzero().flatten().diff()
    assert chattering.max() > 5 * chattering.min()


def test_a_regular_spiking_cell_rests_at_minus_70():
    """0.04 v^2 + 5 v + 140 - u = 0 and u = 0.2 v, so v = -70 or -50; the lower attracts."""
    node = BiologicalIzhikevichNode()
    v, spikes = settled(node, -65.0, 0.0, steps=4000)
    assert (v, spikes) == (pytest.approx(-70.0, abs=1e-6), 0.0)
    assert node.u.item() == pytest.approx(-14.0, abs=1e-6)


@pytest.mark.parametrize("make", [QIFNode, EIFNode, AdExNode, IzhikevichNode])
def test_settings_are_checked(make):
    with pytest.raises(ValueError, match=r"`tau` must be .*greater than 1"):
        make(tau=1.0)
    width = "delta_T" if issubclass(make, EIFNode) else "a0"
    with pytest.raises(ValueError, match=f"`{width}` must be a number greater than 0, got 0.0"):
        make(**{width: 0.0})
    with pytest.raises(TypeError, match="`v_rest` must be a number"):
        make(v_rest=None)


def test_settings_of_the_adapting_are_checked():
    for make in (AdExNode, IzhikevichNode):
        with pytest.raises(ValueError, match="`tau_w` must be a number greater than 0"):
            make(tau_w=0)
    with pytest.raises(ValueError, match="`dt` must be a number greater than 0"):
        BiologicalIzhikevichNode(dt=0.0)
    with pytest.raises(TypeError, match="`c` must be a number"):
        BiologicalIzhikevichNode(c=torch.tensor(-65.0))
