"""Names of SpikingJelly 0.0.0.0.12 and before: neurons that are in multi-step mode from the start.

As there, they keep their potentials in ``v_seq``; with ``store_v_seq = False`` they need less memory.
"""

from collections.abc import Callable

from torch import Tensor

from spikeloom.neuron.exponential import EIFNode
from spikeloom.neuron.integrate_and_fire import IFNode
from spikeloom.neuron.leaky import LIFNode
from spikeloom.neuron.parametric import ParametricLIFNode

Surrogate = Callable[[Tensor], Tensor] | None


class MultiStepIFNode(IFNode):
    """:class:`IFNode` with ``step_mode='m'``; ``lava_s_cale`` is accepted and has no effect."""

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = None,
        detach_reset: bool = False,
        backend: str = "auto",
        lava_s_cale: int = 64,
    ):
        super().__init__(v_threshold, v_reset, surrogate_function, detach_reset, "m", backend, True)


class MultiStepLIFNode(LIFNode):
    """:class:`LIFNode` with ``step_mode='m'``; ``lava_s_cale`` is accepted and has no effect."""

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = None,
        detach_reset: bool = False,
        backend: str = "auto",
        lava_s_cale: int = 64,
    ):
        super().__init__(
            tau, decay_input, v_threshold, v_reset, surrogate_function, detach_reset, "m", backend, True
        )


class MultiStepEIFNode(EIFNode):
    """:class:`EIFNode` with ``step_mode='m'``; ``lava_s_cale`` is accepted and has no effect."""

    def __init__(
        self,
        tau: float = 2.0,
        delta_T: float = 1.0,
        theta_rh: float = 0.8,
        v_threshold: float = 1.0,
        v_rest: float = 0.0,
        v_reset: float | None = -0.1,
        surrogate_function: Surrogate = None,
        detach_reset: bool = False,
        backend: str = "auto",
        lava_s_cale: int = 64,
    ):
        common = (surrogate_function, detach_reset, "m", backend, True)
        super().__init__(tau, delta_T, theta_rh, v_threshold, v_rest, v_reset, *common)


class MultiStepParametricLIFNode(ParametricLIFNode):
    """:class:`ParametricLIFNode` with ``step_mode='m'``."""

    def __init__(
        self,
        init_tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: Surrogate = None,
        detach_reset: bool = False,
        backend: str = "auto",
    ):
        super().__init__(
            init_tau, decay_input, v_threshold, v_reset, surrogate_function, detach_reset, "m", backend, True
        )
