"""Surrogate gradients: a curve and its slope, each written once."""

from spikeloom.surrogate.base import FunctionSurrogate, SurrogateFunction, from_function, heaviside
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
