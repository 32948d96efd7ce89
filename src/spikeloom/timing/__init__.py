"""Spike times as values: a spike is the number that says when it comes, and a negative number is no spike."""

from spikeloom.timing.gaussian_tuning import GaussianTuning
from spikeloom.timing.jitter import Jitter
from spikeloom.timing.losses import margin_loss
from spikeloom.timing.psp import DoubleExponential
from spikeloom.timing.rule import tempotron_rule
from spikeloom.timing.tempotron import Tempotron

__all__ = ["DoubleExponential", "GaussianTuning", "Jitter", "Tempotron", "margin_loss", "tempotron_rule"]
