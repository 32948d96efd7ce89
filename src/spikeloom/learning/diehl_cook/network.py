"""Diehl & Cook's network: competing neurons that learn the inputs' patterns by STDP, without labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count
from spikeloom.errors import ShapeError
from spikeloom.learning.diehl_cook.constants import EXCITATORY, INHIBITORY, NEVER, DiehlCookConstants


class DiehlCook(nn.Module):
    r"""Excitatory neurons that compete through inhibition, and learn their input weights by STDP.

    Each excitatory neuron drives one inhibitory neuron, which inhibits all other excitatory neurons. Spikes
    of an input are Poisson distributed, and reach each neuron after a delay of that synapse. Excitatory and
    inhibitory neurons (time constants 100 and 10 ms) have conductances :math:`g_e, g_i` (1 and 2 ms), to
    which a spike adds its weight; :math:`E_i` is -100 and -85 mV:

    .. math:: \tau \dot v = v_{rest} - v + g_e (0 - v) + g_i (E_i - v),\quad
              s = \Theta(v - v_{th} - \theta),\quad \dot\theta = -\theta / \tau_\theta + \theta_+ s

    Traces :math:`x` of an input, :math:`y` and :math:`z` of a neuron are set to 1 by its spikes and decay:

    .. math:: w \leftarrow \max(w - \nu_{pre}\, y, 0) \text{ at an input's spike},\quad
              w \leftarrow \min(w + \nu_{post}\, x z, w_{max}) \text{ at a neuron's spike}

    A sample is presented again, more intensely, until the neurons have fired ``min_spikes`` times; if they
    have not after ``presentations``, or if no input spikes, the next sample follows.

    Args:
        inputs: how many inputs there are.
        neurons: excitatory neurons, and as many inhibitory ones.
        constants: all numbers of the model.
        generator: of the first weights, :math:`0.3 (U(0,1) + 0.01)`, and of the delays, U(0, 10 ms).
    Attributes:
        weight: ``[inputs, neurons]``.
        theta: ``[neurons]``, in mV.
        delay: of the synapses, in time steps, uint8 ``[inputs, neurons]``.
        memories: potentials, conductances and last spikes: what else a presentation starts from. They are not
            in ``state_dict``: save them beside it, for the same responses.
    Raises:
        ValueError: there are no inputs or neurons.
    Differs from: the published code, which integrates potentials and conductances by Euler's method, and
        where an input's trace reaches the synapse late, too. Here it is set by the spike that sets out, not
        by that which arrives; a conductance decays exponentially and acts with its mean over each time step;
        :math:`v` moves towards its limit by the factor :math:`1 - 1/(1 + a + a^2/2)`, with :math:`a = (1 +
        g_e + g_i)\,dt/\tau`, which is stable for any conductance; :math:`\theta` decays once per
        presentation; a trace counts as 0 after ten time constants; a weight that normalisation lifted over
        its bound stays there until its neuron fires. With learning off, every presentation starts after
        the pause of the last one that was learned, instead of after the one before.
    Source: P. Diehl, M. Cook, Unsupervised learning of digit recognition using spike-timing-dependent
        plasticity, Frontiers in Computational Neuroscience 9:99, 2015; code peter-u-diehl/stdp-mnist.
    Example:
        >>> network = DiehlCook(4, 3, generator=torch.Generator().manual_seed(0))
        >>> spikes = network.learn(torch.tensor([[30.0, 30.0, 0.0, 0.0]]), keys=[7])
        >>> spikes.shape
        torch.Size([1, 3])
    """

    weight: Tensor
    theta: Tensor
    delay: Tensor

    def __init__(
        self,
        inputs: int,
        neurons: int,
        constants: DiehlCookConstants | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.inputs, self.neurons = checked_count("inputs", inputs), checked_count("neurons", neurons)
        self.constants = DiehlCookConstants() if constants is None else constants
        longest = self.constants.steps(self.constants.max_delay)
        delay = torch.randint(longest + 1, (inputs, neurons), generator=generator, dtype=torch.uint8)
        weight = 0.3 * (torch.rand(inputs, neurons, generator=generator) + 0.01)
        self.register_buffer("weight", weight)
        self.register_buffer("theta", torch.full((neurons,), self.constants.theta_start))
        self.register_buffer("delay", delay)
        self.memories = resting(inputs, neurons)

    def learn(self, rates: Tensor, keys: Sequence[int]) -> Tensor:
        """Show samples one after the other, and learn.

        Args:
            rates: of the inputs, in Hz, at intensity 1; the paper's are pixel / 8, with pixels of 0..255.
            keys: a whole number for each sample that its random numbers follow from, such as
                :func:`~spikeloom.encoding.derive_seed` gives.
        Shape:
            rates ``[N, inputs]``; keys ``[N]``; output int32 ``[N, neurons]``.
        Returns:
            how often each excitatory neuron fired while the sample was shown, in its last presentation
        Raises:
            ShapeError: ``rates`` is not ``[N, inputs]``, ``keys`` not one for each sample, or weights,
                thresholds, delays or memories are another network's, of another type, or not on the CPU.
            ValueError: a rate is negative or not finite, a key is negative or no whole number, or a delay is
                longer than ``max_delay``.
        """
        return self._run(*self._checked(rates, keys), self.memories, learn=True)

    def respond(self, rates: Tensor, keys: Sequence[int]) -> Tensor:
        """What :meth:`learn` returns, with learning off.

        Each presentation starts from the network's memories, which do not change, whatever was shown before.
        The samples are divided among as many threads as PyTorch uses.
        """
        rates, numbers = self._checked(rates, keys)
        threads = max(1, min(torch.get_num_threads(), len(numbers)))

        def part(which: int) -> Tensor:
            mine = slice(which, None, threads)
            memories = {name: memory.clone() for name, memory in self.memories.items()}
            return self._run(rates[mine], numbers[mine], memories, learn=False)

        if threads == 1:
            return part(0)
        counts = torch.empty(len(numbers), self.neurons, dtype=torch.int32)
        with ThreadPoolExecutor(threads) as pool:
            for which, found in enumerate(pool.map(part, range(threads))):
                counts[which::threads] = found
        return counts

    def _run(self, rates: Tensor, keys: Tensor, memories: dict[str, Tensor], learn: bool) -> Tensor:
        from spikeloom.loom.backends import unavailable

        if unavailable("numba"):
            from spikeloom.learning.diehl_cook.reference import show

            same = copy.copy(self)  # with the same weights and thresholds
            same.memories = memories
            return show(same, rates, keys.tolist(), learn)
        from spikeloom.learning.diehl_cook.compiled import run
        from spikeloom.learning.diehl_cook.numbers import as_arrays, numbers_of, space_of

        counts = torch.zeros(len(keys), self.neurons, dtype=torch.int32)
        run(
            numbers_of(self.constants),
            self.weight.numpy(),
            self.theta.numpy(),
            self.delay.numpy(),
            as_arrays(memories),
            as_arrays(self.memories),
            space_of(self.inputs, self.neurons, self.constants),
            rates.contiguous().numpy(),
            keys.contiguous().numpy(),
            learn,
            counts.numpy(),
        )
        return counts

    def _checked(self, rates: Tensor, keys: Sequence[int]) -> tuple[Tensor, Tensor]:
        if rates.dim() != 2 or rates.shape[1] != self.inputs:
            raise ShapeError(
                f"`rates` must be [N, {self.inputs}], got {list(rates.shape)}. Flatten images, and make the "
                "network with as many inputs as they have pixels."
            )
        self._check("memories", resting(self.inputs, self.neurons), self.memories)
        weight = torch.empty(self.inputs, self.neurons)
        sizes = {"weight": weight, "theta": weight[0], "delay": weight.to(torch.uint8)}
        self._check("network", sizes, dict(self.named_buffers()))
        longest = self.constants.steps(self.constants.max_delay)
        if int(self.delay.max()) > longest:
            raise ValueError(f"`delay` must be at most {longest} time steps, got {int(self.delay.max())}.")
        found = torch.as_tensor(keys)
        if found.shape != rates.shape[:1]:
            raise ShapeError(f"`keys` must be one per sample, [{len(rates)}], got {list(found.shape)}.")
        if len(found) and (found.is_floating_point() or int(found.min()) < 0):
            raise ValueError(f"`keys` must be whole numbers of at least 0, got {found.tolist()[:5]}.")
        rates = rates.detach().to("cpu", torch.float32)
        if not bool((rates.isfinite() & (rates >= 0)).all()):
            wrong = rates[~(rates.isfinite() & (rates >= 0))][0]
            raise ValueError(f"`rates` must be finite and at least 0, got {float(wrong)}. Rates are in Hz.")
        return rates, found.to("cpu", torch.int64)

    @staticmethod
    def _check(whose: str, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
        """Refuse what the compiled loop would read or write beyond its end."""
        for name, right in expected.items():
            have = found[name]
            same = (have.shape, have.dtype, have.device) == (right.shape, right.dtype, right.device)
            if not (same and have.is_contiguous() and not have.requires_grad):
                raise ShapeError(
                    f"`{name}` of the {whose} must be {right.dtype} {list(right.shape)}, contiguous, on the "
                    f"CPU and without gradient, got {have.dtype} {list(have.shape)} on {have.device}. Take "
                    "that of a network of the same size."
                )


def resting(inputs: int, neurons: int) -> dict[str, Tensor]:
    """The memories of a network at rest."""

    def full(size: int, value: float) -> Tensor:
        return torch.full((size,), value, dtype=torch.float32)

    def never(size: int) -> Tensor:
        return torch.full((size,), NEVER, dtype=torch.int32)

    return {
        "v_excitatory": full(neurons, EXCITATORY.rest),
        "v_inhibitory": full(neurons, INHIBITORY.rest),
        "excitation": full(neurons, 0.0),
        "inhibition": full(neurons, 0.0),
        "relayed": full(neurons, 0.0),
        "last_excitatory": never(neurons),
        "last_inhibitory": never(neurons),
        "last_input": never(inputs),
    }
