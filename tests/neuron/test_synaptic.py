"""Synaptic currents: CubaLIFNode, AlphaNode."""

import math

import pytest
import torch

from compare import assert_close, assert_same
from spikeloom.neuron import AlphaNode, CubaLIFNode, LIFNode


# Made with SpikingJelly 2.0.0's CUBALIFNode, torch 2.13.0, 2026-11-22, on this input: spikes, the potential
# after each step (single-step mode, soft reset), the current at the end.
def test_known_spikes_and_potentials():
    node = CubaLIFNode(v_reset=None, step_mode="m", store_v_seq=True)
    assert node(torch.tensor([0.6, 1.2, 2.5, 0.1, 3.0])).tolist() == [1.0] * 5
    assert node.v_seq.tolist() == pytest.approx([0.1, 1.075, 3.55625, 3.892188, 6.281641], abs=1e-6)
    assert node.c.item() == pytest.approx(3.8625, abs=1e-6)


@pytest.mark.parametrize(("c_decay", "v_decay"), [(0.5, 0.75), (0.9, 0.2), (0.0, 0.5)])
def test_the_impulse_response_of_cuba_is_a_difference_of_decays(c_decay, v_decay):
    """v_t = (v_decay^(t+1) - c_decay^(t+1)) / (v_decay - c_decay)"""
    node = CubaLIFNode(c_decay, v_decay, v_threshold=10.0, step_mode="m", store_v_seq=True)
    x = torch.zeros(30, dtype=torch.float64)
    x[0] = 1.0
    node(x)
    t = torch.arange(1.0, 31.0, dtype=torch.float64)
    assert_close("potential", (v_decay**t - c_decay**t) / (v_decay - c_decay), node.v_seq)


def test_the_step_response_of_cuba():
    """A constant input x ends at x / ((1 - c_decay)(1 - v_decay))."""
    node = CubaLIFNode(v_threshold=100.0, step_mode="m")
    node(torch.full([400], 2.0, dtype=torch.float64))
    assert node.v.item() == pytest.approx(16.0, abs=1e-9)


def test_cuba_without_a_current_is_a_leaky_neuron():
    x = torch.rand(100, 30, dtype=torch.float64) * 2
    for v_reset in (0.0, -0.5, None):
        reference = LIFNode(4.0, decay_input=False, v_threshold=1.0, v_reset=v_reset, step_mode="m")
        node = CubaLIFNode(0.0, 0.75, v_threshold=1.0, v_reset=v_reset, step_mode="m")
        assert_same("spikes", reference(x), node(x))


def test_the_alpha_kernel_and_its_peak():
    alpha, beta = 0.95, 0.8
    node = AlphaNode(alpha, beta, v_threshold=10.0, v_reset=0.25, step_mode="m", store_v_seq=True)
    x = torch.zeros(60, dtype=torch.float64)
    x[0] = 1.0
    node(x)
    t = torch.arange(60.0, dtype=torch.float64)
    kappa = 1 + math.log(alpha) / (math.log(beta) - math.log(alpha))
    assert_close("kernel", 0.25 + kappa * (alpha**t - beta**t), node.v_seq)
    peak = math.log(math.log(beta) / math.log(alpha)) / (math.log(alpha) - math.log(beta))
    assert node.v_seq.argmax().item() in (math.floor(peak), math.ceil(peak))


def test_the_alpha_neuron_rises_as_snntorchs():
    """Made with snnTorch 1.0.0: Alpha(alpha=0.9, beta=0.6, reset_mechanism='none') on 0.5, ten times."""
    node = AlphaNode(0.9, 0.6, v_threshold=10.0, step_mode="m", store_v_seq=True)
    node(torch.full([6], 0.5))
    expected = [0.0, 0.18898, 0.47244, 0.7956, 1.12725, 1.45023]
    assert node.v_seq.tolist() == pytest.approx(expected, abs=1e-5)
    assert node.e.item() == pytest.approx(2.34279, abs=1e-5)
    assert node.i.item() == pytest.approx(-1.19168, abs=1e-5)


def test_a_spike_empties_the_currents_or_takes_the_threshold_off():
    x = torch.full([5, 1], 0.5, dtype=torch.float64)
    hard = AlphaNode(0.9, 0.6, step_mode="m")
    assert hard(x).flatten().tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    assert [hard.v.item(), hard.e.item(), hard.i.item()] == [0.0, 0.0, 0.0]
    soft = AlphaNode(0.9, 0.6, v_reset=None, step_mode="m")
    soft(x)
    assert soft.v.item() == pytest.approx(0.12725, abs=1e-5)
    assert ((soft.e + soft.i) * soft.kappa).item() == pytest.approx(soft.v.item(), abs=1e-12)


def test_decays_are_checked():
    with pytest.raises(ValueError, match=r"`c_decay` must be a number from 0 to 1, got 1\.2"):
        CubaLIFNode(c_decay=1.2)
    with pytest.raises(ValueError, match=r"`alpha` must be a number between 0 and 1, got 1\.0"):
        AlphaNode(alpha=1.0)
    with pytest.raises(ValueError, match=r"`beta` must be less than `alpha`, got beta=0\.9 and alpha=0\.9"):
        AlphaNode(0.9, 0.9)
