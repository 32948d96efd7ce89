"""Conversion: a spiking network made of a trained ANN."""

from spikeloom.ann2snn.convert import convert
from spikeloom.ann2snn.converter import Converter, RateCodingRecipe
from spikeloom.ann2snn.figures import draw_accuracy, draw_spikes
from spikeloom.ann2snn.network import ConvertedNet
from spikeloom.ann2snn.qcfs import QCFS
from spikeloom.ann2snn.report import Report, Row
from spikeloom.ann2snn.side_by_side import SideBySide
from spikeloom.ann2snn.simulate import accuracy_over_time, ann_accuracy, outputs_over_time
from spikeloom.ann2snn.spiking import SpikingActivation, SpikingMaxPool

__all__ = [
    "QCFS",
    "ConvertedNet",
    "Converter",
    "RateCodingRecipe",
    "Report",
    "Row",
    "SideBySide",
    "SpikingActivation",
    "SpikingMaxPool",
    "accuracy_over_time",
    "ann_accuracy",
    "convert",
    "draw_accuracy",
    "draw_spikes",
    "outputs_over_time",
]
