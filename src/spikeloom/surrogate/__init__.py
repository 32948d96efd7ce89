"""Surrogate gradients: a curve and its slope, each written once."""

from spikeloom.surrogate.base import FunctionSurrogate, SurrogateFunction, from_function, heaviside
from spikeloom.surrogate.functions import atan as atan
from spikeloom.surrogate.functions import deterministic_pass as deterministic_pass
from spikeloom.surrogate.functions import erf as erf
from spikeloom.surrogate.functions import fake_numerical_gradient as fake_numerical_gradient
from spikeloom.surrogate.functions import leaky_k_relu as leaky_k_relu
from spikeloom.surrogate.functions import log_tailed_relu as log_tailed_relu
from spikeloom.surrogate.functions import nonzero_sign_log_abs as nonzero_sign_log_abs
from spikeloom.surrogate.functions import piecewise_exp as piecewise_exp
from spikeloom.surrogate.functions import piecewise_leaky_relu as piecewise_leaky_relu
from spikeloom.surrogate.functions import piecewise_quadratic as piecewise_quadratic
from spikeloom.surrogate.functions import q_pseudo_spike as q_pseudo_spike
from spikeloom.surrogate.functions import rect as rect
from spikeloom.surrogate.functions import s2nn as s2nn
from spikeloom.surrogate.functions import sigmoid as sigmoid
from spikeloom.surrogate.functions import soft_sign as soft_sign
from spikeloom.surrogate.functions import squarewave_fourier_series as squarewave_fourier_series
from spikeloom.surrogate.functions import super_spike as super_spike
from spikeloom.surrogate.rectified import (
    DeterministicPass,
    FakeNumericalGradient,
    LeakyKReLU,
    LogTailedReLU,
    MultiLevelSpikeCount,
)
from spikeloom.surrogate.smooth import (
    S2NN,
    ATan,
    Erf,
    Gaussian,
    LogisticDensity,
    NonzeroSignLogAbs,
    PiecewiseExp,
    QPseudoSpike,
    Sigmoid,
    SoftSign,
    SquarewaveFourierSeries,
    SuperSpike,
)
from spikeloom.surrogate.window import (
    Dspike,
    PiecewiseLeakyReLU,
    PiecewiseQuadratic,
    Polynomial,
    Rect,
    Rectangular,
    Triangle,
)

__all__ = [
    "S2NN",
    "ATan",
    "DeterministicPass",
    "Dspike",
    "Erf",
    "FakeNumericalGradient",
    "FunctionSurrogate",
    "Gaussian",
    "LeakyKReLU",
    "LogTailedReLU",
    "LogisticDensity",
    "MultiLevelSpikeCount",
    "NonzeroSignLogAbs",
    "PiecewiseExp",
    "PiecewiseLeakyReLU",
    "PiecewiseQuadratic",
    "Polynomial",
    "QPseudoSpike",
    "Rect",
    "Rectangular",
    "Sigmoid",
    "SoftSign",
    "SquarewaveFourierSeries",
    "SuperSpike",
    "SurrogateFunction",
    "Triangle",
    "from_function",
    "heaviside",
]
