"""e-prop: a recurrent layer that learns online, from traces of what each synapse has done."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_inside, checked_number, checked_range
from spikeloom.errors import ShapeError, SpikeloomError, describe
from spikeloom.learning.eprop.dynamics import Dynamics, State, Synapses, advance
from spikeloom.learning.eprop.sequence import run_sequence
from spikeloom.loom import checked_backend
from spikeloom.loom.backends import ON_CPU
from spikeloom.loom.own_loops import runs_compiled
from spikeloom.memory import HALF, MemoryModule

TRACES = ("slope", "seen", "adapted", "eligible", "spiked", "biased")
"""Of each neuron, the surrogate's last slope. Of its synapses: of their input, of their part in the
threshold, of what an error would change. Of the readout's, of its input and of 1."""


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
    optimiser may step at any time. A step in evaluation mode ends what was traced, as a sequence does: what
    is learned later is the gradient of the steps since. In multi-step mode it takes whole sequences, and
    ``backward()`` of any loss gives the same gradients, with memory that grows with the number of steps, and
    many times as fast:
    the sums above are added up from the last step to the first, so no synapse needs a trace. There are no
    synapses from a neuron to itself.

    Args:
        in_features, num_neurons, out_features: sizes of input, layer, and readout.
        tau, tau_out: time constants of the neurons and of the readout, in time steps.
        tau_adaptation: time constant of the thresholds' decay, in time steps.
        beta: rise of a neuron's threshold at its spike; a number, or ``[num_neurons]``.
        v_threshold: firing threshold.
        dampening: :math:`\gamma`, height of the surrogate's triangle.
        feedback: :math:`B`: ``'symmetric'`` for the readout's weights, ``'random'`` for fixed random ones.
        refractory: time steps after a spike in which a neuron cannot spike again.
        step_mode: ``'s'`` for time steps, ``'m'`` for whole sequences.
        backend: of sequences: ``'numba'``, compiled, for tensors on the CPU; ``'torch'``; or ``'auto'``, the
            first where it can be.
    Attributes:
        z_seq: the spikes ``[T, N, num_neurons]`` of the last sequence, or chunk of one, for a loss of firing
            rates; its gradient stays within each neuron, too. To be read, not written to.
    Shape:
        input ``[N, in_features]``, output ``[N, out_features]``; sequences have ``T`` in front.
    Raises:
        ValueError: a setting is out of range.
        ShapeError: the input, or ``beta``, has another shape.
        BackendError: a backend was asked for by name, and cannot run a sequence.
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
    beta: float | Tensor
    z_seq: Any
    _own: Tensor
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
            checked_inside(name, checked_number(name, value), 0)
        if feedback not in ("symmetric", "random"):
            raise ValueError(f"`feedback` must be 'symmetric' or 'random', got {feedback!r}.")
        self.alpha, self.kappa, self.rho = (math.exp(-1 / value) for value in times.values())
        self.refractory = checked_count("refractory", refractory, 0)
        self.v_threshold, self.dampening, self.symmetric = v_threshold, dampening, feedback == "symmetric"
        self.in_features = checked_count("in_features", in_features)
        self.num_neurons = checked_count("num_neurons", num_neurons)
        beta = checked_range("beta", beta)
        if isinstance(beta, Tensor):
            if beta.shape != (num_neurons,):
                raise ShapeError(f"`beta` must be a number or [{num_neurons}], got {list(beta.shape)}.")
            self.register_buffer("beta", beta.detach().clone())
        else:
            self.beta = beta
        self.weight = nn.Parameter(torch.randn(num_neurons, in_features + num_neurons))
        self.weight.data[:, :in_features] /= math.sqrt(in_features)
        self.weight.data[:, in_features:] /= math.sqrt(num_neurons)
        self.weight.data[:, in_features:].fill_diagonal_(0)
        self.readout = nn.Linear(num_neurons, checked_count("out_features", out_features))
        self.register_buffer("B", torch.randn(out_features, num_neurons) / math.sqrt(num_neurons))
        self.register_buffer("_own", torch.eye(num_neurons, dtype=torch.bool), persistent=False)
        for name in (*State._fields, *TRACES):
            self.register_memory(name, None)
        self.z_seq = None  # and not so after a reset: the loss of a test reads it then
        self._recorded |= {"z_seq"}

    @torch.no_grad()
    def single_step_forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            state, synapses = self._started(x), self._synapses()
            if self.training:
                self._remember(torch.cat([x.to(state.z), state.z], 1), synapses.beta)
            else:
                self._forget()
            state, slope = advance(self._drive(x), synapses, state, self._dynamics())
            self._keep(state)
            if self.training:
                self.slope = slope
                here = slope[..., None] * (self.seen[:, None] - synapses.beta[:, None] * self.adapted)
                self.eligible = self.kappa * self.eligible + here
                self.spiked = self.kappa * self.spiked + self.z
                self.biased = self.kappa * self.biased + 1
        return self.y

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        state = self._started(x_seq[0])
        self._forget()
        with torch.autocast(x_seq.device.type, enabled=False):
            drive = self._drive(x_seq)
            compiled = runs_compiled("EProp", self.backend, drive, self.weight)
            sequence = run_sequence(drive, self._synapses(), state, self._dynamics(), compiled)
        y_seq, self.z_seq, state = sequence
        self._keep(state)
        return y_seq

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"z_seq": None}  # it may belong to a graph, which cannot be copied

    @property
    def _dtype(self) -> torch.dtype:
        """The type that the layer computes in."""
        return torch.float32 if self.weight.dtype in HALF else self.weight.dtype

    def _drive(self, x: Tensor) -> Tensor:
        """The currents of the input."""
        return x.to(self._dtype) @ self.weight[:, : self.in_features].to(self._dtype).t()

    def _synapses(self) -> Synapses:
        recurrent = self.weight[:, self.in_features :].masked_fill(self._own, 0.0)
        beta = torch.as_tensor(self.beta, device=recurrent.device, dtype=self._dtype).expand(self.num_neurons)
        readout = self.readout.weight, self.readout.bias
        return Synapses(*(one.to(self._dtype) for one in (recurrent, *readout, self._feedback(), beta)))

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
        size, answers = (x.shape[0], self.num_neurons), (x.shape[0], self.readout.out_features)
        zeros, none = (self.weight.new_zeros(shape, dtype=self._dtype) for shape in (size, answers))
        if self.v is None:
            return State(zeros, zeros, zeros, zeros, none)
        state = State(*(getattr(self, name).to(zeros) for name in State._fields))
        for name, value in state._asdict().items():
            if value.shape != (answers if name == "y" else size):
                raise ShapeError(
                    f"The memory '{name}' of {describe(self)} has shape {list(value.shape)}, which does not "
                    f"fit an input of {x.shape[0]} samples. Call functional.reset_net(net)."
                )
        return state

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
        error = error.to(self.y)
        with torch.autocast(error.device.type, enabled=False):
            signal = error @ self._feedback().to(error)  # [N, neurons]
            gradient = torch.einsum("nj,nji->ji", signal, self.eligible)
            readout_gradient = error.T @ self.spiked
        gradient[:, self.in_features :].fill_diagonal_(0)
        _add_gradient(self.weight, gradient)
        _add_gradient(self.readout.weight, readout_gradient)
        _add_gradient(self.readout.bias, error.sum(0) * self.biased)

    def _remember(self, before: Tensor, beta: Tensor) -> None:
        """The traces of a synapse's input and of its part in the threshold, before this step's spikes."""
        if self.seen is None:
            self.slope = self.spiked = before.new_zeros(len(before), self.num_neurons)
            self.seen, self.biased = torch.zeros_like(before), 0.0
            self.adapted = self.eligible = before.new_zeros(len(before), *self.weight.shape)
        for name in TRACES[:-1]:
            setattr(self, name, getattr(self, name).to(before))
        if isinstance(self.beta, Tensor) or self.beta:
            slope = self.slope[..., None]
            self.adapted = (self.rho - beta[:, None] * slope) * self.adapted + slope * self.seen[:, None]
        self.seen = self.alpha * self.seen + before

    def _forget(self) -> None:
        """Drop the traces: they would miss what runs without them."""
        for name in TRACES:
            setattr(self, name, None)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, num_neurons={self.num_neurons}, "
            f"out_features={self.readout.out_features}"
        )


def _add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.requires_grad:
        gradient = gradient.to(parameter)
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
