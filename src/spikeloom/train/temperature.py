"""The temperature of Dspike surrogates, adapted so that gradients point where the loss really falls.

A network of spikes has no gradient, but its loss can be compared a little to both sides of a weight: a finite
difference, with no surrogate in it. Of a few temperatures, the one whose surrogate gradient has the highest
cosine similarity to these differences is the right one for the epoch that begins.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.checks import checked_count, checked_inside
from spikeloom.surrogate import Dspike
from spikeloom.train.cuda_graph import CudaGraph


def dspike_surrogates(net: nn.Module) -> list[Dspike]:
    """The Dspike surrogates of a network, each once.

    Raises:
        ValueError: there is none, or one whose temperature is a plain number, which no checkpoint would keep.
    """
    found = [module for module in net.modules() if isinstance(module, Dspike)]
    if not found:
        raise ValueError(
            "`net` must have neurons with a Dspike surrogate, got none. Build its neurons with "
            "surrogate_function=surrogate.Dspike(torch.tensor(3.0))."
        )
    if not all(isinstance(one.temperature, Tensor) and one.temperature.numel() == 1 for one in found):
        raise ValueError(
            "`net` must have Dspike surrogates whose temperature is a tensor of one number, which "
            "checkpoints keep. Build them as surrogate.Dspike(torch.tensor(3.0))."
        )
    return found


class TemperatureAdaptation:
    """Chooses the temperature of all Dspike surrogates of a network from the present one, a step less, and a
    step more.

    Args:
        net: a network whose neurons have Dspike surrogates with a tensor as temperature.
        weight: the parameter whose gradients are compared; that of the first layer.
        change: the step between temperatures, greater than 0.
        difference: how far a weight is moved to each side, in standard deviations of ``weight``. A loss of
            spikes is constant piece by piece, so less is not more exact: on a trained network and 400
            digits, similarities were 0.2 at most with 0.25, and 0.45 with 1.
        num_weights: how many entries of ``weight``, drawn anew each time, are compared; each costs two
            forward passes.
        lowest: temperatures below this one are not tried; greater than 0.
        cuda_graph: whether the passes are replayed as a :class:`~spikeloom.train.cuda_graph.CudaGraph`, on a
            CUDA device; then :meth:`adapt` must be given the same loss each time, on the same tensors with
            other numbers.
    Raises:
        ValueError: an argument is out of its range; or as :func:`dspike_surrogates`.
    Source: Li et al., Differentiable Spike, NeurIPS 2021. It does not name the difference or the step.
    """

    def __init__(
        self,
        net: nn.Module,
        weight: nn.Parameter,
        change: float = 0.2,
        difference: float = 1.0,
        num_weights: int = 32,
        lowest: float = 0.2,
        cuda_graph: bool = False,
    ):
        for name, value in (("change", change), ("difference", difference), ("lowest", lowest)):
            checked_inside(name, value, 0)
        checked_count("num_weights", num_weights)
        self.net, self.weight = net, weight
        self.change, self.difference, self.lowest = change, difference, lowest
        self.num_weights = min(num_weights, weight.numel())
        self.surrogates = dspike_surrogates(net)
        self.cuda_graph = cuda_graph
        self.graphs: dict[Any, CudaGraph] = {}

    @property
    def temperature(self) -> float:
        """That of the first surrogate; after :meth:`adapt`, of all."""
        return float(self.surrogates[0].temperature)  # type: ignore[arg-type]

    def adapt(self, loss: Callable[[], Tensor], seed: int) -> dict[str, float]:
        """Choose the temperature, and set it.

        Args:
            loss: computes the loss of ``net`` on some samples, a scalar; the same ones each time.
            seed: of the weights that are compared.
        Returns:
            ``temperature``, and ``similarity``, its cosine similarity
        """
        tried = self.similarities(loss, self.candidates(), seed)
        chosen = max(tried, key=lambda temperature: tried[temperature])
        self._set(chosen)
        return {"temperature": chosen, "similarity": tried[chosen]}

    def candidates(self) -> list[float]:
        """The temperatures to choose from; the present one comes first, and wins a tie."""
        now = self.temperature
        return list(dict.fromkeys([now, max(self.lowest, now - self.change), now + self.change]))

    def similarities(
        self, loss: Callable[[], Tensor], temperatures: Sequence[float], seed: int
    ) -> dict[float, float]:
        """The cosine similarity of each temperature's gradient to the finite differences; 0 if one of both
        is 0. Arguments as for :meth:`adapt`."""
        chosen = torch.randperm(self.weight.numel(), generator=torch.Generator().manual_seed(seed))
        places = torch.unravel_index(chosen[: self.num_weights], self.weight.shape)
        before = self.temperature
        try:
            with self._measuring():
                differences = self._finite_differences(loss, places)
                gradients = [self._gradient(loss, temperature)[places] for temperature in temperatures]
        finally:
            self._set(before)
        return {
            temperature: F.cosine_similarity(gradient, differences, dim=0).item()
            for temperature, gradient in zip(temperatures, gradients, strict=True)
        }

    @torch.no_grad()
    def _finite_differences(self, loss: Callable[[], Tensor], places: tuple[Tensor, ...]) -> Tensor:
        """How the loss changes with each of the weights at ``places``, per unit of the weight: ``[K]``."""
        weight = self.weight.detach()
        distance = self.difference * float(weight.std(correction=0))
        slopes = []
        for place in zip(*(one.tolist() for one in places), strict=True):
            kept = weight[place].clone()
            losses = []
            try:
                for moved in (kept + distance, kept - distance):
                    weight[place] = moved
                    losses.append(self._computed(self._loss, loss))
            finally:
                weight[place] = kept
            slopes.append((losses[0] - losses[1]) / (2 * distance))
        return torch.stack(slopes)

    def _gradient(self, loss: Callable[[], Tensor], temperature: float) -> Tensor:
        self._set(temperature)
        return self._computed(self._slope, loss)

    def _computed(self, function: Callable[..., Tensor], loss: Callable[[], Tensor]) -> Tensor:
        """``function(loss)``, replayed from the second time on where that is wanted."""
        if not self.cuda_graph:
            return function(loss)
        if (function, loss) not in self.graphs:
            self.graphs[function, loss] = CudaGraph(lambda: (function(loss),), self.net)
        (value,) = self.graphs[function, loss]()
        return value.clone()  # the next one overwrites it

    def _slope(self, loss: Callable[[], Tensor]) -> Tensor:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(self._loss(loss), self.weight)
        return gradient

    def _loss(self, loss: Callable[[], Tensor]) -> Tensor:
        with functional.fresh_state(self.net):
            return loss()

    def _set(self, temperature: float) -> None:
        for one in self.surrogates:
            one.temperature.fill_(temperature)  # type: ignore[union-attr]

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        """A block in which normalisation and dropout are fixed, and gradients reach the weight."""
        needed = self.weight.requires_grad
        self.weight.requires_grad_()
        try:
            with functional.evaluating(self.net):
                yield
        finally:
            self.weight.requires_grad_(needed)
