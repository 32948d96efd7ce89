"""The defaults that docstrings and publications name."""

import inspect

import pytest

from spikeloom import ann2snn, functional, layer, learning, neuron, timing
from spikeloom.train.temperature import TemperatureAdaptation

DEFAULTS = [
    (neuron.ALIFNode, {"tau": 20.0, "tau_adaptation": 200.0, "beta": 0.8}),
    (neuron.SEAdLIFNode, {"tau": 15.0, "tau_w": 180.0, "a": 60.0, "b": 120.0}),
    (neuron.AdExNode, {"tau": 10.0, "delta_T": 0.5, "tau_w": 500.0, "a": 4.0, "b": 0.02}),
    (neuron.GLIFNode, {"tau": 0.25, "v_threshold": 0.5, "linear_decay": 0.5 / (2 * 4), "v_subreset": 0.5}),
    (neuron.HomeostaticLIFNode, {"theta_plus": 0.05, "tau_theta": 1e7, "tau": 100.0, "refractory_steps": 5}),
    # Pfister & Gerstner 2006, visual cortex, all-to-all, full model
    (
        learning.TripletSTDPLearner,
        {"tau_plus": 16.8, "tau_x": 101.0, "tau_minus": 33.7, "tau_y": 125.0}
        | {"a2_plus": 5e-10, "a3_plus": 6.2e-3, "a2_minus": 7e-3, "a3_minus": 2.3e-4},
    ),
    (learning.additive, {"a_plus": 0.01, "a_minus": 0.0105}),
    (learning.soft_bounds, {"a_plus": 0.01, "a_minus": 0.0105, "w_min": 0.0, "w_max": 1.0, "mu": 1.0}),
    (functional.temporal_efficient_training_cross_entropy, {"mse_weight": 0.0, "mse_target": 1.0}),
    (layer.BatchNormThroughTime2d, {"eps": 1e-5, "momentum": 0.1}),
    (layer.SynapseFilter, {"tau": 100.0, "learnable": False}),
    (timing.first_spike_cross_entropy, {"tau": 1.0}),
    (ann2snn.convert, {"initial_potential": 0.5}),
    (timing.EventProp, {"tau": 20.0, "tau_s": 5.0, "v_threshold": 1.0}),
    (TemperatureAdaptation, {"change": 0.2, "difference": 1.0, "num_weights": 32, "lowest": 0.2}),
]


@pytest.mark.parametrize(("made", "named"), DEFAULTS, ids=lambda one: getattr(one, "__name__", ""))
def test_defaults_are_those_that_are_named(made, named):
    parameters = inspect.signature(made).parameters
    assert {name: parameters[name].default for name in named} == named
