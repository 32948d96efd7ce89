"""A threshold that a neuron keeps and raises for as long as it learns."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor

from spikeloom.checks import checked_count, checked_number, checked_positive, checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.neuron.refractory import RefractoryLIFNode


class HomeostaticLIFNode(RefractoryLIFNode):
    r"""Leaky integrate-and-fire neuron whose threshold rises with each of its spikes, from sample to sample:
    neurons that fire often make room for the others.

    .. math:: s_t = \Theta(h_t - v_{th} - \theta_t),\quad
              \theta_{t+1} = \theta_t\, e^{-1/\tau_\theta} + \theta_+ s_t \;\text{(in training)}

    :math:`h_t`, the reset and the refractory period are those of
    :class:`~spikeloom.neuron.RefractoryLIFNode`. In evaluation :math:`\theta` stands still.

    The buffer ``theta``, one number per neuron, is saved with the weights. Two memories say what has become
    of it since the last reset: the share ``faded`` has decayed, and each sample of a batch has added its own
    ``rise``. ``reset()`` ends the presentation of a batch: the buffer decays once, however many samples there
    are, and takes the sum of their ``rise``. Under ``DistributedDataParallel`` the buffer of the first
    process counts, as with the statistics of BatchNorm.

    Args:
        shape: of one sample's neurons: their number, or ``(C, H, W)``; 1 is one threshold for all.
        theta_plus: rise of the threshold at a spike; 0 or more.
        tau_theta: time constant of its decay, in time steps; ``math.inf`` for none.
        tau, decay_input, refractory_steps: as for :class:`~spikeloom.neuron.RefractoryLIFNode`.
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq: as for
            :class:`~spikeloom.neuron.BaseNode`; the reset is always to ``v_reset``.
    Shape:
        input ``[N, *shape]`` (single-step) or ``[T, N, *shape]`` (multi-step); output the same, values in {0,
        1}. Memories ``v``, ``countdown``, ``faded``, ``rise``: ``[N, *shape]``.
    Raises:
        TypeError, ValueError: a setting is out of range.
        ShapeError: the input has other neurons than ``shape``.
    Differs from: :class:`~spikeloom.neuron.ALIFNode`, whose threshold starts anew with each sample.
    Source: Diehl & Cook, Unsupervised learning of digit recognition using spike-timing-dependent plasticity,
        Frontiers in Computational Neuroscience 2015.
    Example:
        >>> neuron = HomeostaticLIFNode(1, 0.5, tau=2.0, refractory_steps=0, step_mode="m")
        >>> neuron(torch.full([4, 1, 1], 3.0)).flatten().tolist()  # potential 1.5, threshold 1.0, 1.5, 2.0
        [1.0, 1.0, 0.0, 1.0]
        >>> neuron.reset(); neuron.theta
        tensor([1.5000])
    """

    theta: Tensor
    faded: Any
    rise: Any

    def __init__(
        self,
        shape: int | Sequence[int],
        theta_plus: float = 0.05,
        tau_theta: float = 1e7,
        tau: float | Tensor = 100.0,
        decay_input: bool = True,
        refractory_steps: int = 5,
        v_threshold: float | Tensor = 1.0,
        v_reset: float = 0.0,
        surrogate_function: Callable[[Tensor], Tensor] | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        backend: str = "auto",
        store_v_seq: bool = False,
    ):
        common = (surrogate_function, detach_reset, step_mode, backend, store_v_seq)
        super().__init__(refractory_steps, tau, decay_input, v_threshold, v_reset, *common)
        if self.v_reset is None:
            raise ValueError("`v_reset` must be a number, got None: the potential has to get below `theta`.")
        self.theta_plus = checked_range("theta_plus", checked_number("theta_plus", theta_plus), low=0.0)
        self.tau_theta = checked_positive("tau_theta", checked_number("tau_theta", tau_theta))
        sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        self.register_buffer("theta", torch.zeros([checked_count("shape", size) for size in sizes]))
        self.register_memory("faded", 0.0)
        self.register_memory("rise", 0.0)

    def neuronal_fire(self) -> Tensor:
        theta = self.theta * (1.0 - self.faded) + self.rise
        spike = self.surrogate_function(self.v - (self.v_threshold + theta))
        return spike * (self.countdown <= 0).to(spike.dtype)

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        if self.training:
            lost = -math.expm1(-1.0 / self.tau_theta)  # 1 - exp, which rounds to 0 in float32
            self.faded = self.faded + (1.0 - self.faded) * lost
            self.rise = self.rise - self.rise * lost + spike.detach() * self.theta_plus

    def reset(self) -> None:
        """Keep what the thresholds have risen in training, but for that within ``vmap``, and set the memories
        to their start."""
        rise = self.rise
        if isinstance(rise, Tensor) and rise.numel() and not is_functorch_wrapped_tensor(rise):
            with torch.inference_mode(False), torch.no_grad():  # training may go on from the new buffer
                faded, rise = (
                    memory.to(self.theta).reshape(-1, *self.theta.shape) for memory in (self.faded, self.rise)
                )
                self.theta = self.theta * (1.0 - faded[0]) + rise.sum(0)
        super().reset()

    def _check_shape(self, shape: torch.Size) -> None:
        if self.theta.numel() != 1 and shape[-self.theta.dim() :] != self.theta.shape:
            raise ShapeError(
                f"{describe(self)} has thresholds for neurons of shape {list(self.theta.shape)}, got an "
                f"input of {list(shape)} per time step. Make it with the shape of one sample."
            )
        super()._check_shape(shape)

    def extra_repr(self) -> str:
        return f"shape={tuple(self.theta.shape)}, {super().extra_repr()}"
