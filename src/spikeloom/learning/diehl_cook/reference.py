"""Diehl & Cook's network step by step in plain PyTorch: the truth that the engine is tested against, and what
runs where nothing can be compiled."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from spikeloom.learning.diehl_cook import DiehlCook
from spikeloom.learning.diehl_cook.constants import (
    EXCITATORY,
    INHIBITORY,
    NEVER,
    DiehlCookConstants,
    Population,
)
from spikeloom.learning.diehl_cook.input import draw


def show(network: DiehlCook, rates: Tensor, keys: Sequence[int], learn: bool) -> Tensor:
    """What :meth:`DiehlCook.learn` and :meth:`DiehlCook.respond` do, for few samples.

    Args:
        network: changed as they change it.
        rates: ``[N, inputs]``, in Hz, at intensity 1.
        keys: of each sample's random numbers.
        learn: whether weights and thresholds change.
    Returns:
        spikes of each neuron, int32 ``[N, neurons]``
    """
    constants, counts = network.constants, torch.zeros(len(keys), network.neurons, dtype=torch.int32)
    start = network.memories
    for n, (sample, key) in enumerate(zip(rates, keys, strict=True)):
        for presentation in range(constants.presentations):
            if learn:
                _normalise(network)
            else:
                network.memories = {name: memory.clone() for name, memory in start.items()}
            events = _events(network, sample, key, presentation, learn)
            counts[n] = _present(network, events, learn)
            if not any(len(step) for step in events) or counts[n].sum() >= constants.min_spikes:
                break
    return counts


def _normalise(network: DiehlCook) -> None:
    """Scale the weights of each neuron to their sum."""
    sums = network.weight.double().sum(0)
    scale = torch.where(sums > 0, network.constants.total / sums, 1.0)
    network.weight *= scale.float()


def _events(network: DiehlCook, rates: Tensor, key: int, presentation: int, learn: bool) -> list[list[int]]:
    """The inputs that spike, for each time step."""
    constants = network.constants
    shown = constants.steps(constants.shown)
    steps = constants.steps(constants.shown + constants.pause) if learn else shown
    starts, room = np.empty(steps + 1, np.int64), np.empty((2, network.inputs * shown), np.int32)
    chance = constants.dt / 1000 * (constants.intensity + presentation)
    sources = draw(key, presentation, rates.numpy(), chance, shown, starts, room)
    return [sources[first:end].tolist() for first, end in pairwise(starts)]


def _present(network: DiehlCook, events: list[list[int]], learn: bool) -> Tensor:
    """One presentation; the spikes of each neuron while the sample is shown."""
    constants, memory = network.constants, network.memories
    shown = constants.steps(constants.shown)
    arrival = constants.mean(constants.tau_excitation)
    relay, lateral = constants.relay * arrival, constants.lateral * constants.mean(constants.tau_inhibition)
    count = torch.zeros(network.neurons, dtype=torch.int32)
    coming = torch.zeros(constants.steps(constants.max_delay) + 1, network.neurons)  # goes round
    each = torch.arange(network.neurons)
    for now, sent in enumerate(events):
        fired = advance(constants, EXCITATORY, memory, "excitatory", network.theta, now)
        relayed = advance(constants, INHIBITORY, memory, "inhibitory", torch.zeros(()), now)
        memory["excitation"] *= constants.keep(constants.tau_excitation)
        memory["inhibition"] *= constants.keep(constants.tau_inhibition)
        memory["relayed"] *= constants.keep(constants.tau_excitation)
        for i in sent:
            coming[(now + network.delay[i].long()) % len(coming), each] += network.weight[i]
            memory["last_input"][i] = now
        memory["excitation"] += arrival * coming[now % len(coming)]
        coming[now % len(coming)] = 0
        memory["relayed"] += relay * fired
        memory["inhibition"] += lateral * (relayed.sum() - relayed)  # of all but the own partner
        if learn:
            depress(network, sent, now)
            potentiate(network, fired, now)
            network.theta += constants.theta_plus * fired
        memory["last_excitatory"][fired > 0] = now
        memory["last_inhibitory"][relayed > 0] = now
        if now < shown:
            count += fired.int()
    if learn:
        network.theta *= math.exp(-(constants.shown + constants.pause) / constants.tau_theta)
    for name in ("last_excitatory", "last_inhibitory", "last_input"):
        memory[name] = (memory[name] - len(events)).clamp_min(NEVER)
    return count


def advance(
    constants: DiehlCookConstants,
    cell: Population,
    memory: dict[str, Tensor],
    name: str,
    theta: Tensor,
    now: int,
) -> Tensor:
    """One time step of a population's potentials; its spikes, 0 or 1."""
    excitation = memory["excitation"] if cell is EXCITATORY else memory["relayed"]
    inhibition = memory["inhibition"] if cell is EXCITATORY else torch.zeros(())
    pace = constants.dt / cell.tau
    a = pace * (1 + excitation + inhibition)
    drive = pace * (cell.rest + cell.reversal * inhibition)  # a times the limit of v
    v = (memory[f"v_{name}"] + drive * (1 + 0.5 * a)) / (1 + a * (1 + 0.5 * a))
    free = now - memory[f"last_{name}"] > constants.steps(cell.refractory)
    fired = free & (v > cell.threshold + theta)
    memory[f"v_{name}"] = torch.where(free & ~fired, v, cell.reset)
    return fired.float()


def depress(network: DiehlCook, sent: list[int], now: int) -> None:
    """Each input that spikes loses weight to neurons that fired before."""
    constants = network.constants
    y = _trace(constants, constants.tau_post, network.memories["last_excitatory"], now)
    for i in sent:
        network.weight[i] = (network.weight[i] - constants.nu_pre * y).clamp_min(0)


def potentiate(network: DiehlCook, fired: Tensor, now: int) -> None:
    """Each neuron that fires, and fired not long before, gains weight from inputs that spiked."""
    constants, memory = network.constants, network.memories
    x = _trace(constants, constants.tau_pre, memory["last_input"], now)
    z = _trace(constants, constants.tau_slow, memory["last_excitatory"], now)
    for j in fired.nonzero().flatten().tolist():
        raised = network.weight[:, j] + constants.nu_post * z[j] * x
        changes = (z[j] > 0) & (x > 0)
        network.weight[:, j] = torch.where(changes, raised.clamp_max(constants.w_max), network.weight[:, j])


def _trace(constants: DiehlCookConstants, tau: float, last: Tensor, now: int) -> Tensor:
    """A trace that the last spikes have set to 1."""
    values = constants.trace(tau)
    return values[(now - last).clamp_max(len(values) - 1).long()]
