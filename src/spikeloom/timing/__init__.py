"""Spike times as values: a spike is the number that says when it comes, and a negative number is no spike."""

from spikeloom.timing.firing_report import LayerReport, firing_report
from spikeloom.timing.gaussian_tuning import GaussianTuning
from spikeloom.timing.jitter import Jitter
from spikeloom.timing.losses import margin_loss
from spikeloom.timing.pooling import EarliestPool2d
from spikeloom.timing.psp import DoubleExponential
from spikeloom.timing.rel_psp import ReLPSPConv2d, ReLPSPLinear
from spikeloom.timing.rules import spike_prop_rule, tempotron_rule
from spikeloom.timing.spike_response import EventProp, PeakPotential, SpikeProp, SpikeResponse
from spikeloom.timing.tempotron import Tempotron
from spikeloom.timing.time_losses import first_spike, first_spike_cross_entropy, spike_time_mse

__all__ = [
    "DoubleExponential",
    "EarliestPool2d",
    "EventProp",
    "GaussianTuning",
    "Jitter",
    "LayerReport",
    "PeakPotential",
    "ReLPSPConv2d",
    "ReLPSPLinear",
    "SpikeProp",
    "SpikeResponse",
    "Tempotron",
    "firing_report",
    "first_spike",
    "first_spike_cross_entropy",
    "margin_loss",
    "spike_prop_rule",
    "spike_time_mse",
    "tempotron_rule",
]
