"""Integrate-and-fire: a neuron that does not forget."""

from torch import Tensor

from spikeloom.neuron.base import BaseNode, SimpleBaseNode


class IFNode(BaseNode):
    r"""Integrate-and-fire neuron.

    .. math:: h_t = v_{t-1} + x_t

    Args:
        v_threshold, v_reset, surrogate_function, detach_reset, step_mode, backend, store_v_seq, old: as for
            :class:`~spikeloom.neuron.BaseNode`.
    Shape:
        input ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step); output the same, values in {0, 1}.
    Source: Lapicque, J. Physiol. Pathol. Gen. 9, 1907; Gerstner & Kistler, Spiking Neuron Models, 2002.
    Example:
        >>> import torch
        >>> IFNode(step_mode="m")(torch.full([4, 1], 0.5)).flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = self.v + x


class SimpleIFNode(SimpleBaseNode):
    """:class:`IFNode` with the arguments of :class:`~spikeloom.neuron.SimpleBaseNode`; it starts at 0.

    Example:
        >>> import torch
        >>> SimpleIFNode(step_mode="m")(torch.full([4, 1], 0.5)).flatten().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """

    def neuronal_charge(self, x: Tensor) -> None:
        self.v = self.v + x
