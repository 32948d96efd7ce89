"""Competition: neurons that silence each other, so that they learn different things."""

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_range
from spikeloom.errors import ShapeError, describe
from spikeloom.functional.networks import require_single_step
from spikeloom.layer.recurrent import StepByStep


class _Competition(StepByStep):
    """What the containers below share: neurons of a sample, which compete."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < (2 if self.step_mode == "s" else 3):
            step = "[N, neurons]" if self.step_mode == "s" else "[T, N, neurons]"
            raise ShapeError(
                f"{describe(self)} in step mode '{self.step_mode}' expects {step}, got {list(x.shape)}. Add "
                "the missing axis, since it has to know which neurons compete."
            )
        return super().forward(x)


class LateralInhibition(_Competition):
    r"""Neurons of which each spike inhibits all others one time step later.

    .. math:: s_t = F\Big(x_t - g \big(\textstyle\sum_k s_{t-1,k} - s_{t-1}\big)\Big)

    The sum runs over all neurons of a sample, and each takes its own spikes out: no matrix of weights.

    Args:
        neurons: :math:`F`, a single-step module whose output has the shape of its input.
        strength: :math:`g`, what a spike takes from the input of every other neuron; 0 or more.
        step_mode: of the container, ``'s'`` or ``'m'``; the module inside is always single-step.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    Raises:
        ValueError: ``strength`` is negative, or ``neurons`` is in multi-step mode.
    Example:
        >>> from spikeloom import neuron
        >>> net = LateralInhibition(neuron.IFNode(), strength=2.0, step_mode="m")
        >>> net(torch.tensor([[[1.0, 0.6]]] * 4)).squeeze(1).T  # the second would fire at steps 2 and 4
        tensor([[1., 1., 1., 1.],
                [0., 0., 0., 0.]])
    """

    s: Tensor | None

    def __init__(self, neurons: nn.Module, strength: float, step_mode: str = "s"):
        super().__init__(step_mode)
        self.strength = checked_range("strength", strength, 0)
        self.neurons = neurons
        require_single_step(self, [neurons])
        self.register_memory("s", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        if self.s is not None:
            x = x - self.strength * all_but_self(self.s)
        self.s = s = self.neurons(x)
        return s

    def extra_repr(self) -> str:
        return f"strength={self.strength}, {super().extra_repr()}"


class InhibitoryPopulation(_Competition):
    r"""Neurons that inhibit each other through neurons of their own, one for each.

    .. math:: s_t = F\Big(x_t - g_i \big(\textstyle\sum_k z_{t-1,k} - z_{t-1}\big)\Big),\quad
              z_t = G(g_e\, s_t)

    An excitatory neuron drives its inhibitory partner, which inhibits all excitatory neurons but that one.

    Args:
        excitatory: :math:`F`, a single-step module whose output has the shape of its input.
        inhibitory: :math:`G`, another one.
        excitation: :math:`g_e`, what a spike gives to the partner; 0 or more.
        inhibition: :math:`g_i`, what a partner's spike takes from the input of the others; 0 or more.
        step_mode: of the container, ``'s'`` or ``'m'``; the modules inside are always single-step.
    Shape:
        input and output, the excitatory spikes, ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    Raises:
        ValueError: a strength is negative, or a module inside is in multi-step mode.
    Source: Diehl & Cook, Unsupervised learning of digit recognition using spike-timing-dependent plasticity,
        Frontiers in Computational Neuroscience 2015.
    Example:
        >>> from spikeloom import neuron
        >>> net = InhibitoryPopulation(neuron.IFNode(), neuron.IFNode(), 1.0, 2.0, step_mode="m")
        >>> net(torch.tensor([[[1.0, 0.6]]] * 4)).squeeze(1).T
        tensor([[1., 1., 1., 1.],
                [0., 0., 0., 0.]])
    """

    z: Tensor | None

    def __init__(
        self,
        excitatory: nn.Module,
        inhibitory: nn.Module,
        excitation: float,
        inhibition: float,
        step_mode: str = "s",
    ):
        super().__init__(step_mode)
        self.excitation = checked_range("excitation", excitation, 0)
        self.inhibition = checked_range("inhibition", inhibition, 0)
        self.excitatory, self.inhibitory = excitatory, inhibitory
        require_single_step(self, self.children())
        self.register_memory("z", None)

    def single_step_forward(self, x: Tensor) -> Tensor:
        if self.z is not None:
            x = x - self.inhibition * all_but_self(self.z)
        spikes = self.excitatory(x)
        self.z = self.inhibitory(self.excitation * spikes)
        return spikes

    def extra_repr(self) -> str:
        shown = f"excitation={self.excitation:g}, inhibition={self.inhibition:g}"
        return f"{shown}, {super().extra_repr()}"


class WinnerTakeAll(_Competition):
    """Neurons of which, in each step and sample, only those with the strongest input are heard.

    All that reach their threshold are reset; the spikes of the winners come out. Of equal inputs, the neuron
    with the lower index wins.

    Args:
        neurons: a single-step module whose output has the shape of its input.
        num_winners: how many may fire per step and sample.
        step_mode: of the container, ``'s'`` or ``'m'``; the module inside is always single-step.
    Shape:
        input and output ``[N, *]`` (single-step) or ``[T, N, *]`` (multi-step).
    Raises:
        TypeError, ValueError: ``num_winners`` is not an integer of 1 or more.
        ValueError: ``neurons`` is in multi-step mode.
    Example:
        >>> from spikeloom import neuron
        >>> WinnerTakeAll(neuron.IFNode())(torch.tensor([[0.5, 1.5, 2.0, 1.1]]))
        tensor([[0., 0., 1., 0.]])
    """

    def __init__(self, neurons: nn.Module, num_winners: int = 1, step_mode: str = "s"):
        super().__init__(step_mode)
        self.num_winners = checked_count("num_winners", num_winners)
        self.neurons = neurons
        require_single_step(self, [neurons])

    def single_step_forward(self, x: Tensor) -> Tensor:
        spikes = self.neurons(x)
        if spikes.shape != x.shape:
            raise ShapeError(
                f"{describe(self)} needs neurons whose output has the shape of their input, got "
                f"{list(x.shape)} and {list(spikes.shape)}."
            )
        drive = torch.where(spikes != 0, x, -torch.inf).flatten(1)  # [N, neurons]
        order = drive.argsort(dim=1, descending=True, stable=True)
        winners = torch.zeros_like(drive).scatter(1, order[:, : self.num_winners], 1.0)
        return spikes * winners.view_as(spikes)

    def extra_repr(self) -> str:
        return f"num_winners={self.num_winners}, {super().extra_repr()}"


def all_but_self(spikes: Tensor) -> Tensor:
    """For each neuron of a sample, the sum of the spikes of all others: ``[N, *]`` to ``[N, *]``.

    Example:
        >>> all_but_self(torch.tensor([[1.0, 0.0, 1.0]]))
        tensor([[1., 2., 1.]])
    """
    return spikes.flatten(1).sum(1).view(-1, *[1] * (spikes.dim() - 1)) - spikes
