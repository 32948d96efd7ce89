"""e-prop: a recurrent layer that learns online, from traces of what each synapse has done."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_inside, checked_range
from spikeloom.errors import ShapeError, SpikeloomError
from spikeloom.learning.eprop.dynamics import Dynamics, State, Synapses, advance
from spikeloom.learning.eprop.sequence import run_sequence
from spikeloom.loom import checked_backend
from spikeloom.loom.backends import ON_CPU
from spikeloom.loom.own_loops import runs_compiled
from spikeloom.memory import MemoryModule

TRACES = ("seen", "adapted", "eligible", "spiked", "biased")
"""Of the synapses: of their input, of their part in the threshold, of what an error would change; of the
readout's, of its input and of 1."""


class EProp(MemoryModule):
    r"""Recurrent leaky neurons, with adaptive thresholds if ``beta`` is not 0, and a leaky readout.

    .. math:: v_t = \alpha v_{t-1} + W\,[x_t; z_{t-1}] - v_{th} z_{t-1},\quad
              a_t = \rho a_{t-1} + z_{t-1},\quad z_t = \Theta(v_t - v_{th} - \beta a_t),\\
              y_t = \kappa y_{t-1} + W_{out} z_t + b

    Each synapse keeps an eligibility trace, and an error of the outputs becomes a gradient at once:

    .. math:: \epsilon_t = \alpha \epsilon_{t-1} + [x_t; z_{t-1}],\quad
              \epsilon^a_t = (\rho - \beta\psi_{t-1})\, \epsilon^a_{t-1} + \psi_{t-1} \epsilon_{t-1},\\
              e_t = \psi_t (\epsilon_t - \beta \epsilon^a_t),\quad \bar e_t = \kappa \bar e_{t-1} + e_t,\quad
              \nabla_W = \sum_t (B^\top \delta_t)\, \bar e_t

    with :math:`\psi = \gamma / v_{th} \max(0, 1 - |v - A| / v_{th})`, :math:`A = v_{th} + \beta a`; both
    :math:`z` and :math:`\psi` are 0 while a neuron is refractory. That is
    the gradient through time but for what a spike does to other neurons later, and to its own reset. Memory
    does not grow with the number of steps; it is batch times weights.

    Online, call the module with each time step, then :meth:`learn` with the error of its output; the
    optimiser may step at any time. In multi-step mode it takes whole sequences, and ``backward()`` of any
    loss gives the same gradients, with memory that grows with the number of steps, and many times as fast:
    the sums above are added up from the last step to the first, so no synapse needs a trace. There are no
    synapses from a neuron to itself.

    Args:
        in_features, num_neurons, out_features: sizes of input, layer, and readout.
        tau, tau_out: time constants of the neurons and of the readout, in time steps.
        tau_adaptation: time constant of the thresholds' decay, in time steps.
        beta: rise of a neuron's threshold at its spike, for all neurons, or ``[num_neurons]``.
        v_threshold: firing threshold.
        dampening: :math:`\gamma`, height of the surrogate's triangle.
        feedback: :math:`B`: ``'symmetric'`` for the readout's weights, ``'random'`` for fixed random ones.
        refractory: time steps after a spike in which a neuron cannot spike again.
        step_mode: ``'s'`` for time steps, ``'m'`` for whole sequences.
        backend: of sequences: ``'numba'``, compiled, for tensors on the CPU; ``'torch'``; or ``'auto'``, the
            first where it can be.
    Attributes:
        z_seq: the spikes ``[T, N, num_neurons]`` of the last sequence, for a loss of firing rates; its
            gradient stays within each neuron, too.
    Shape:
        input ``[N, in_features]``, output ``[N, out_features]``; sequences have ``T`` in front.
    Raises:
        ValueError: a setting is out of range.
    Source: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons,
        Nature Communications 2020.
    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = EProp(4, 20, 1, beta=0.2)
        >>> optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        >>> x_seq = torch.rand(30, 8, 4)  # thirty steps, batch of eight
        >>> for x in x_seq:
        ...     net.learn(net(x) - 1.0)
        >>> optimizer.step(); net.reset()
        >>> net.step_mode = "m"
        >>> (net(x_seq) - 1.0).square().sum().backward()
    """

    own_backends = ON_CPU
    B: Tensor
    beta: Tensor
    z_seq: Tensor
    v: Any
    z: Any
    a: Any
    y: Any

    def __init__(
        self,
        in_features: int,
        num_neurons: int,
        out_features: int,
        tau: float = 20.0,
        tau_out: float = 20.0,
        tau_adaptation: float = 200.0,
        beta: float | Tensor = 0.0,
        v_threshold: float = 0.6,
        dampening: float = 0.3,
        feedback: Literal["symmetric", "random"] = "symmetric",
        refractory: int = 0,
        *,
        step_mode: str = "s",
        backend: str = "auto",
    ):
        super().__init__(step_mode)
        self.backend = checked_backend(backend)
        times = {"tau": tau, "tau_out": tau_out, "tau_adaptation": tau_adaptation}
        for name, value in (times | {"v_threshold": v_threshold, "dampening": dampening}).items():
            checked_inside(name, value, 0)
        if feedback not in ("symmetric", "random"):
            raise ValueError(f"`feedback` must be 'symmetric' or 'random', got {feedback!r}.")
        self.alpha, self.kappa, self.rho = (math.exp(-1 / value) for value in times.values())
        self.refractory = checked_count("refractory", refractory, 0)
        self.v_threshold, self.dampening, self.symmetric = v_threshold, dampening, feedback == "symmetric"
        self.in_features = checked_count("in_features", in_features)
        self.num_neurons = checked_count("num_neurons", num_neurons)
        rises = torch.as_tensor(checked_range("beta", beta), dtype=torch.get_default_dtype())
        if rises.dim() and rises.shape != (num_neurons,):
            raise ShapeError(f"`beta` must be a number or [{num_neurons}], got {list(rises.shape)}.")
        self.register_buffer("beta", rises.expand(num_neurons).clone(), persistent=False)
        self.weight = nn.Parameter(torch.randn(num_neurons, in_features + num_neurons))
        self.weight.data[:, :in_features] /= math.sqrt(in_features)
        self.weight.data[:, in_features:] /= math.sqrt(num_neurons)
        self.weight.data[:, in_features:].fill_diagonal_(0)
        self.readout = nn.Linear(num_neurons, out_features)
        self.register_buffer("B", torch.randn(out_features, num_neurons) / math.sqrt(num_neurons))
        for name in (*State._fields, "slope", *TRACES):
            self.register_memory(name, None)

    @torch.no_grad()
    def single_step_forward(self, x: Tensor) -> Tensor:
        state = self._started(x)
        if self.training:
            self._remember(torch.cat([x, state.z], 1))
        with torch.autocast(x.device.type, enabled=False):
            state, slope = advance(self._drive(x), self._synapses(), state, self._dynamics())
        self._keep(state)
        if self.training:
            self.slope = slope
            here = self.slope[..., None] * (self.seen[:, None] - self.beta[:, None] * self.adapted)
            self.eligible = self.kappa * self.eligible + here
            self.spiked = self.kappa * self.spiked + self.z
            self.biased = self.kappa * self.biased + 1
        return self.y

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        state = self._started(x_seq[0])
        for name in ("slope", *TRACES):
            setattr(self, name, None)
        with torch.autocast(x_seq.device.type, enabled=False):
            drive = self._drive(x_seq)
            compiled = runs_compiled("EProp", self.backend, drive, self.weight)
            sequence = run_sequence(drive, self._synapses(), state, self._dynamics(), compiled)
        y_seq, self.z_seq, state = sequence
        self._keep(state)
        return y_seq

    def _drive(self, x: Tensor) -> Tensor:
        """The currents of the input."""
        return x.to(self.weight.dtype) @ self.weight[:, : self.in_features].t()

    def _synapses(self) -> Synapses:
        recurrent = self.weight[:, self.in_features :]
        own = torch.eye(self.num_neurons, dtype=torch.bool, device=recurrent.device)
        weights = recurrent.masked_fill(own, 0.0), self.readout.weight, self.readout.bias
        return Synapses(*weights, self._feedback(), self.beta)

    def _feedback(self) -> Tensor:
        return self.readout.weight if self.symmetric else self.B

    def _dynamics(self) -> Dynamics:
        height = self.dampening / self.v_threshold
        return Dynamics(self.alpha, self.kappa, self.rho, self.v_threshold, height, self.refractory)

    def _started(self, x: Tensor) -> State:
        """The state before a step, whose input is checked; made at the first step after a reset."""
        if x.dim() != 2 or x.shape[1] != self.in_features:
            steps = "T, " if self.step_mode == "m" else ""
            raise ShapeError(
                f"EProp expects input [{steps}N, {self.in_features}], got steps of shape {list(x.shape)}."
            )
        if self.v is None:
            zeros = self.weight.new_zeros(len(x), self.num_neurons)
            return State(zeros, zeros, zeros, zeros, self.weight.new_zeros(len(x), self.readout.out_features))
        return State(*(getattr(self, name) for name in State._fields))

    def _keep(self, state: State) -> None:
        for name, value in zip(State._fields, state, strict=True):
            setattr(self, name, value)

    @torch.no_grad()
    def learn(self, error: Tensor) -> None:
        """Add the gradient of this time step.

        Args:
            error: the gradient of the loss for this step's output, such as output minus target.
        Shape:
            error ``[N, out_features]``.
        Raises:
            SpikeloomError: the module has not run in training mode.
            ShapeError: ``error`` has another shape than the output.
        """
        if self.seen is None or not self.training:
            raise SpikeloomError(
                "EProp learns from a time step: call it in training mode before learn(). After a whole "
                "sequence, call backward() on the loss instead."
            )
        if error.shape != self.y.shape:
            raise ShapeError(
                f"`error` must have the output's shape {list(self.y.shape)}, got {list(error.shape)}."
            )
        error = error.to(self.readout.weight)
        with torch.autocast(error.device.type, enabled=False):
            signal = error @ self._feedback()  # [N, neurons]
            gradient = torch.einsum("nj,nji->ji", signal, self.eligible)
            readout_gradient = error.T @ self.spiked
        gradient[:, self.in_features :].fill_diagonal_(0)
        _add_gradient(self.weight, gradient)
        _add_gradient(self.readout.weight, readout_gradient)
        _add_gradient(self.readout.bias, error.sum(0) * self.biased)

    def _start_traces(self, x: Tensor) -> None:
        self.slope = self.spiked = self.weight.new_zeros(len(x), self.num_neurons)
        self.seen = self.weight.new_zeros(len(x), self.weight.shape[1])
        self.adapted = self.eligible = self.weight.new_zeros(len(x), *self.weight.shape)
        self.biased = 0.0

    def _remember(self, before: Tensor) -> None:
        """The traces of a synapse's input and of its part in the threshold, before this step's spikes."""
        if self.seen is None:
            self._start_traces(before)
        elif self.beta.any():
            slope = self.slope[..., None]
            self.adapted = (self.rho - self.beta[:, None] * slope) * self.adapted + slope * self.seen[:, None]
        self.seen = self.alpha * self.seen + before


def _add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
