"""A whole sequence of an e-prop layer: its outputs, and gradients that follow time backwards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spikeloom.learning.eprop.dynamics import Dynamics, State, Synapses, advance
from spikeloom.loom.own_loops import check_gradient

PIECES = 64  # of the samples, at most


def run_sequence(
    drive: Tensor, synapses: Synapses, state: State, dynamics: Dynamics, compiled: bool
) -> tuple[Tensor, Tensor, State]:
    """Outputs ``[T, N, out_features]``, spikes ``[T, N, neurons]``, and the last state.

    Args:
        drive: the currents of the input, ``[T, N, neurons]``.
        compiled: by compiled loops, or else by the reference.
    """
    if compiled:
        learns = torch.is_grad_enabled()
        y_seq, z_seq, *last = _Sequence.apply(drive, *synapses, *state, dynamics, learns)  # type: ignore[misc]
        return y_seq, z_seq, State(*last)
    outputs, spikes = [], []
    for current in drive:
        state, _slopes = advance(current, synapses, state, dynamics)
        outputs.append(state.y)
        spikes.append(state.z)
    return torch.stack(outputs), torch.stack(spikes), state


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, *given: Any) -> tuple[Tensor, ...]:
        synapses, before, dynamics, learns = Synapses(*given[:5]), State(*given[5:10]), *given[10:]
        state = State(*(one.clone(memory_format=torch.contiguous_format) for one in before))
        outputs = drive.new_empty(*drive.shape[:2], len(synapses.bias))
        spikes, slopes = drive.new_empty(drive.shape), drive.new_empty(drive.shape if learns else 0)
        weights = synapses.recurrent.t(), synapses.beta, synapses.readout.t(), synapses.bias
        written = *state, spikes, slopes, outputs
        _run("forward", drive, dynamics, len(synapses.bias), drive, *weights, *written)
        if learns:
            ctx.save_for_backward(before.z, spikes, slopes, synapses.feedback, synapses.beta)
            ctx.dynamics = dynamics
        ctx.mark_non_differentiable(state.silent)
        ctx.set_materialize_grads(False)
        return outputs, spikes, *state

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, to_outputs: Tensor | None, to_spikes: Tensor | None, *to_state: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        z, spikes, slopes, feedback, beta = ctx.saved_tensors
        num_steps, num_samples, _ = spikes.shape
        num_outputs = len(feedback)

        def or_zeros(given: Tensor | None, *shape: int) -> Tensor:
            if given is None:
                return spikes.new_zeros(shape)
            check_gradient("EProp", given)
            return given.clone(memory_format=torch.contiguous_format)

        of_v, of_z, of_a, _silent, of_y = to_state
        to_v, to_z, to_a = (or_zeros(one, *z.shape) for one in (of_v, of_z, of_a))
        to_y = or_zeros(of_y, num_samples, num_outputs)
        filtered = or_zeros(to_outputs, num_steps, num_samples, num_outputs)
        along = spikes.new_empty(0) if to_spikes is None else or_zeros(to_spikes)
        to_drive = spikes.new_empty(spikes.shape)
        changed = (to_v, to_z, to_a, to_y, to_drive, filtered)
        _run("backward", spikes, ctx.dynamics, num_outputs, slopes, beta, feedback, along, *changed)
        to_recurrent = to_drive[0].t() @ z + to_drive[1:].flatten(0, 1).t() @ spikes[:-1].flatten(0, 1)
        to_readout = filtered.flatten(0, 1).t() @ spikes.flatten(0, 1)
        of_synapses = to_recurrent, to_readout, filtered.sum((0, 1)), None, None
        return to_drive, *of_synapses, to_v, to_z, to_a, None, to_y, None, None


def _run(name: str, like: Tensor, dynamics: Dynamics, outputs: int, *arguments: Tensor) -> None:
    """Run the loop ``name`` over a sequence of the shape of ``like``."""
    from spikeloom.loom.native import loops_of_file

    num_steps, num_samples, neurons = like.shape
    chunk = max(1, math.ceil(num_samples / PIECES))
    sizes = torch.tensor([num_steps, num_samples, chunk, neurons, outputs], device="cpu")
    settings = torch.tensor(dynamics, dtype=like.dtype, device="cpu")
    loops = loops_of_file(Path(__file__).with_name("loops.py"))
    given = (one.detach().contiguous() for one in arguments)
    loops.run_pieces(name, like.dtype, math.ceil(num_samples / chunk), sizes, settings, *given)
