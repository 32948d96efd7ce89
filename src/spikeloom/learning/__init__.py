"""Local learning rules, homeostasis and competition."""

from spikeloom.learning.bounds import additive, clamp_weights, normalise_weights, soft_bounds
from spikeloom.learning.competition import InhibitoryPopulation, LateralInhibition, WinnerTakeAll
from spikeloom.learning.diagnose import LearningCheck, check_learning
from spikeloom.learning.diehl_cook import DiehlCook, DiehlCookConstants
from spikeloom.learning.eligibility import MSTDPETLearner
from spikeloom.learning.eprop import EProp
from spikeloom.learning.familiar import mstdp_linear_single_step, mstdpet_linear_single_step
from spikeloom.learning.labels import NeuronLabels
from spikeloom.learning.ottt import OTTT
from spikeloom.learning.reward import MSTDPLearner
from spikeloom.learning.sltt import SLTT
from spikeloom.learning.stdp import (
    STDPLearner,
    stdp_conv1d_single_step,
    stdp_conv2d_single_step,
    stdp_linear_single_step,
    stdp_multi_step,
    stdp_single_step,
)
from spikeloom.learning.triplet import TripletSTDPLearner
from spikeloom.learning.window import stdp_window

__all__ = [
    "OTTT",
    "SLTT",
    "DiehlCook",
    "DiehlCookConstants",
    "EProp",
    "InhibitoryPopulation",
    "LateralInhibition",
    "LearningCheck",
    "MSTDPETLearner",
    "MSTDPLearner",
    "NeuronLabels",
    "STDPLearner",
    "TripletSTDPLearner",
    "WinnerTakeAll",
    "additive",
    "check_learning",
    "clamp_weights",
    "mstdp_linear_single_step",
    "mstdpet_linear_single_step",
    "normalise_weights",
    "soft_bounds",
    "stdp_conv1d_single_step",
    "stdp_conv2d_single_step",
    "stdp_linear_single_step",
    "stdp_multi_step",
    "stdp_single_step",
    "stdp_window",
]
