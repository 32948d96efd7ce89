"""Exponential integrate-and-fire: the upswing of a spike as an exponential; with adaptation, AdEx."""

from collections.abc import Callable

from torch import Tensor

from spikeloom.checks import checked_positive
from spikeloom.neuron.base import BaseNode
from spikeloom.neuron.leaky import checked_tau

# The upswing beyond e^50 of its width stays there: only a soft reset gets so far, and would overflow next.
_LARGEST_EXPONENT = 50.0


class EIFNode(BaseNode):
    r"""Exponential integrate-and-fire neuron.

    .. math:: h_t = v_{t-1} + \tfrac{1}{\tau}\left(x_t - (v_{t-1} - v_{rest})
              + \Delta_T\, e^{(v_{t-1} - \theta_{rh}) / \Delta_T}\right)

    Args:
        tau: membrane time constant, in time steps; greater than 1; a number, a tensor (kept as a buffer) or
            an ``nn.Parameter``, like the next two.
        delta_T: width of the upswing, in units of the membrane potential; greater than 0.
        theta_rh: rheobase threshold, where the upswing takes over.
        v_threshold: as for :class:`~spikeloom.neuron.BaseNode`.
        v_rest: resting potential.
        v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
    Raises:
        ValueError: ``tau`` is not greater than 1, or ``delta_T`` not greater than 0.
    Differs from: SpikingJelly in potentials more than 50 ``delta_T`` above ``theta_rh``, which soft reset can
        leave behind: the exponential stays at e^50 there, and there it overflows.
    Source: Fourcaud-Trocmé et al., How spike generation mechanisms determine the neuronal response to
        fluctuating inputs, J. Neurosci. 23(37), 2003.
    Example:
        >>> import torch
        >>> neuron = EIFNode(step_mode="m", store_v_seq=True)
        >>> neuron(torch.tensor([0.6, 1.2, 0.1])), neuron.v_seq
        (tensor([0., 1., 0.]), tensor([ 0.4533, -0.1000,  0.2033]))
    """

    def __init__(
        self,
        tau: float | Tensor = 2.0,
        delta_T: float | Tensor = 1.0,
        theta_rh: float | Tensor = 0.8,
        v_threshold: float | Tensor = 1.0,
        v_rest: float | Tensor = 0.0,
        v_reset: float | None = -0.1,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        super().__init__(
            v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq
        )
        self.add_setting("tau", checked_tau(tau))
        self.add_setting("delta_T", checked_positive("delta_T", delta_T))
        self.add_setting("theta_rh", theta_rh)
        self.add_setting("v_rest", v_rest)

    def neuronal_charge(self, x: Tensor) -> None:
        exponent = ((self.v - self.theta_rh) / self.delta_T).clamp(max=_LARGEST_EXPONENT)
        drift = exponent.exp() * self.delta_T - (self.v - self.v_rest)
        self.v = self.v + (x + drift) / self.tau


class AdExNode(EIFNode):
    r"""Adaptive exponential integrate-and-fire neuron: :class:`EIFNode` with a slow current.

    .. math:: h_t = v_{t-1} + \tfrac{1}{\tau}\left(x_t - w_{t-1} - (v_{t-1} - v_{rest})
              + \Delta_T\, e^{(v_{t-1} - \theta_{rh}) / \Delta_T}\right),\\
              w_t = w_{t-1} + \tfrac{1}{\tau_w}(a (h_t - v_{rest}) - w_{t-1}) + b s_t

    The current follows the new potential, before its reset. The defaults are Norse's, in steps of 1 ms.

    Args:
        tau, delta_T, theta_rh, v_threshold, v_rest, v_reset: as for :class:`EIFNode`.
        tau_w: time constant of the current, in time steps; greater than 0; a number, a tensor (kept as a
            buffer) or an ``nn.Parameter``, like the next two.
        a: how strongly the current follows the potential.
        b: jump of the current at a spike.
        surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`. ``detach_reset`` leaves the gradient through ``w`` as it is.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
        Memories ``v``, ``w``: ``[N, *]``.
    Raises:
        ValueError: ``tau`` is not greater than 1, or ``delta_T`` or ``tau_w`` not greater than 0.
    Differs from: Norse, whose current follows the potential of the step before.
    Source: Brette & Gerstner, Adaptive exponential integrate-and-fire model as an effective description of
        neuronal activity, J. Neurophysiol. 94, 2005.
    Example:
        >>> import torch
        >>> neuron = AdExNode(tau_w=50.0, a=0.0, b=0.5, step_mode="m")
        >>> neuron(torch.full([100], 2.0)).nonzero().flatten().diff().tolist()
        [8, 12, 16, 19, 20]
    """

    def __init__(
        self,
        tau: float | Tensor = 10.0,
        delta_T: float | Tensor = 0.5,
        theta_rh: float | Tensor = 1.0,
        v_threshold: float | Tensor = 1.0,
        v_rest: float | Tensor = 0.0,
        v_reset: float | None = 0.0,
        tau_w: float | Tensor = 500.0,
        a: float | Tensor = 4.0,
        b: float | Tensor = 0.02,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        common = (surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        super().__init__(tau, delta_T, theta_rh, v_threshold, v_rest, v_reset, *common)
        self.add_setting("tau_w", checked_positive("tau_w", tau_w))
        self.add_setting("a", a)
        self.add_setting("b", b)
        self.register_memory("w", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        super().neuronal_charge(x - self.w)
        self.w = self.w + ((self.v - self.v_rest) * self.a - self.w) / self.tau_w

    def neuronal_reset(self, spike: Tensor) -> None:
        self.w = self.w + spike * self.b
        super().neuronal_reset(spike)
