"""e-prop: a recurrent layer that learns online, from traces of what each synapse has done."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikeloom.checks import checked_count, checked_inside
from spikeloom.errors import ShapeError, SpikeloomError
from spikeloom.memory import MemoryModule


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

    Call the module with each time step, then :meth:`learn` with the error of its output; the optimiser may
    step at any time. There are no synapses from a neuron to itself.

    Args:
        in_features, num_neurons, out_features: sizes of input, layer, and readout.
        tau, tau_out: time constants of the neurons and of the readout, in time steps.
        tau_adaptation: time constant of the thresholds' decay, in time steps.
        beta: rise of a neuron's threshold at its spike.
        v_threshold: firing threshold.
        dampening: :math:`\gamma`, height of the surrogate's triangle.
        feedback: :math:`B`: ``'symmetric'`` for the readout's weights, ``'random'`` for fixed random ones.
        refractory: time steps after a spike in which a neuron cannot spike again.
    Shape:
        input ``[N, in_features]``, output ``[N, out_features]``.
    Raises:
        ValueError: a setting is out of range.
    Source: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons,
        Nature Communications 2020.
    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = EProp(4, 20, 1, beta=0.2)
        >>> optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        >>> for x in torch.rand(30, 8, 4):  # thirty steps, batch of eight
        ...     net.learn(net(x) - 1.0)
        >>> optimizer.step(); net.reset()
    """

    B: Tensor
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
        beta: float = 0.0,
        v_threshold: float = 0.6,
        dampening: float = 0.3,
        feedback: Literal["symmetric", "random"] = "symmetric",
        refractory: int = 0,
    ):
        super().__init__()
        times = {"tau": tau, "tau_out": tau_out, "tau_adaptation": tau_adaptation}
        for name, value in (times | {"v_threshold": v_threshold, "dampening": dampening}).items():
            checked_inside(name, value, 0)
        if feedback not in ("symmetric", "random"):
            raise ValueError(f"`feedback` must be 'symmetric' or 'random', got {feedback!r}.")
        self.alpha, self.kappa, self.rho = (math.exp(-1 / value) for value in times.values())
        self.refractory = checked_count("refractory", refractory, 0)
        self.beta, self.v_threshold, self.dampening = beta, v_threshold, dampening
        self.in_features, self.num_neurons, self.symmetric = in_features, num_neurons, feedback == "symmetric"
        self.weight = nn.Parameter(torch.randn(num_neurons, in_features + num_neurons))
        self.weight.data[:, :in_features] /= math.sqrt(in_features)
        self.weight.data[:, in_features:] /= math.sqrt(num_neurons)
        self.weight.data[:, in_features:].fill_diagonal_(0)
        self.readout = nn.Linear(num_neurons, out_features)
        self.register_buffer("B", torch.randn(out_features, num_neurons) / math.sqrt(num_neurons))
        traces = ("seen", "adapted", "eligible", "spiked", "biased")
        for name in ("v", "z", "a", "y", "slope", "silent", *traces):
            self.register_memory(name, None)

    def supported_step_mode(self) -> tuple[str, ...]:
        return ("s",)

    @torch.no_grad()
    def single_step_forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2 or x.shape[1] != self.in_features:
            raise ShapeError(f"EProp expects input [N, {self.in_features}], got {list(x.shape)}.")
        self._start(x)
        before = torch.cat([x, self.z], 1)  # [N, in + neurons]
        if self.training:
            self._remember(before)
        self.a = self.rho * self.a + self.z
        self.v = self.alpha * self.v + before @ self.weight.T - self.v_threshold * self.z
        distance = self.v - self.v_threshold - self.beta * self.a
        free = (self.silent <= 0).to(x)
        self.z = (distance >= 0).to(x) * free
        self.silent = torch.where(self.z > 0, self.refractory, self.silent - 1)
        height = self.dampening / self.v_threshold
        self.slope = height * (1 - distance.abs() / self.v_threshold).clamp(min=0) * free
        self.y = self.kappa * self.y + self.readout(self.z)
        if self.training:
            here = self.slope[..., None] * (self.seen[:, None] - self.beta * self.adapted)
            self.eligible = self.kappa * self.eligible + here
            self.spiked = self.kappa * self.spiked + self.z
            self.biased = self.kappa * self.biased + 1
        return self.y

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
        if self.y is None or not self.training:
            raise SpikeloomError("EProp learns from a step: call it in training mode before learn().")
        if error.shape != self.y.shape:
            raise ShapeError(
                f"`error` must have the output's shape {list(self.y.shape)}, got {list(error.shape)}."
            )
        error = error.to(self.readout.weight)
        with torch.autocast(error.device.type, enabled=False):
            signal = error @ (self.readout.weight if self.symmetric else self.B)  # [N, neurons]
            gradient = torch.einsum("nj,nji->ji", signal, self.eligible)
            readout_gradient = error.T @ self.spiked
        gradient[:, self.in_features :].fill_diagonal_(0)
        _add_gradient(self.weight, gradient)
        _add_gradient(self.readout.weight, readout_gradient)
        _add_gradient(self.readout.bias, error.sum(0) * self.biased)

    def _start(self, x: Tensor) -> None:
        """Make the memories at the first step after a reset."""
        if self.v is not None:
            return
        zeros = x.new_zeros(len(x), self.num_neurons)
        self.v = self.z = self.a = self.slope = self.silent = self.spiked = zeros
        self.y = x.new_zeros(len(x), self.readout.out_features)
        self.seen = x.new_zeros(len(x), self.weight.shape[1])
        self.adapted = self.eligible = x.new_zeros(len(x), *self.weight.shape)
        self.biased = 0.0

    def _remember(self, before: Tensor) -> None:
        """The traces of a synapse's input and of its part in the threshold, before this step's spikes."""
        if self.beta:
            slope = self.slope[..., None]
            self.adapted = (self.rho - self.beta * slope) * self.adapted + slope * self.seen[:, None]
        self.seen = self.alpha * self.seen + before


def _add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
