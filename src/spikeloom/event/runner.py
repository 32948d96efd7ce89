"""A trained network as one compiled loop over events."""

import operator
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.checks import check_tensor, checked_count
from spikeloom.errors import ConversionError, ShapeError
from spikeloom.event import sparse, stages
from spikeloom.event.calls import CURE
from spikeloom.event.program import Program
from spikeloom.event.record import record
from spikeloom.event.report import LayerWork, Report
from spikeloom.loom import numba_job
from spikeloom.loom.native import loops_of_file

CHECKED = 4  # time steps, of growing inputs
DTYPES = (torch.float32, torch.float64)


class Runner:
    """Runs a trained network event by event: no work for inputs of zero.

    The whole network is one compiled loop over time. Each layer with weights lists its inputs that are not
    zero, and adds their weights to its outputs; neurons are woven as they are for training. A sample goes
    through all time steps before the next one: what passes between layers stays in the cache. Several
    samples share the threads. It gives what the network gives in evaluation mode, up to the rounding of sums.

    A network may consist of ``Linear``, ``Conv2d``, batch normalisation, average and maximum pooling,
    dropout, ``Flatten`` and ``VotingLayer`` of :mod:`torch.nn` and :mod:`spikeloom.layer`; of any neuron that
    the loom weaves; of sums, differences and products, as in residual blocks; of recurrent containers,
    synapse filters, and other modules that compute with tensors that they remember. It may be one that was
    converted.

    Weights are copied: a network that is trained on needs a new runner. Memories are kept from call to call
    until :meth:`reset`, so that a stream can come in parts. Calls from several threads wait for each other.

    Args:
        net: the network, in either step mode; it is not changed.
        shape: of its input for one sample and time step, ``[F]`` or ``[C, H, W]``.
        dtype: to compute in, ``torch.float32`` or ``torch.float64``.
    Shape:
        input ``[T, N, *shape]``, one after the other ``[N, *shape]`` in :meth:`step`; output likewise.
    Raises:
        ConversionError: a part of the network is not known, or does not do the same at each time step.
        BackendError: a neuron cannot be woven.
        TypeError, ValueError: an argument is of the wrong type, or has no such value.
    Source: of adding a weight for each spike and target: Rueckauer et al., Conversion of continuous-valued
        deep networks to efficient event-driven networks for image classification, Front. Neurosci. 11, 2017.
    Example:
        >>> from spikeloom import neuron
        >>> net = nn.Sequential(nn.Linear(4, 3), neuron.IFNode(step_mode="m"))
        >>> runner = Runner(net, (4,))
        >>> spikes = torch.zeros(8, 2, 4)  # T=8, two samples
        >>> bool((runner(spikes) == net(spikes)).all())
        True
        >>> runner.step(torch.ones(2, 4)).shape
        torch.Size([2, 3])
    """

    def __init__(self, net: nn.Module, shape: Sequence[int], dtype: torch.dtype = torch.float32):
        if not isinstance(net, nn.Module):
            raise TypeError(f"`net` must be a network, got a {type(net).__name__}.")
        if dtype not in DTYPES:
            raise ValueError(f"`dtype` must be torch.float32 or torch.float64, got {dtype}.")
        shown = (
            "`shape` must be [F] or [C, H, W], of one sample and time step, such as x.shape[2:] of [T, N, *]"
        )
        try:
            shape = tuple(map(operator.index, shape))
        except TypeError:
            raise TypeError(f"{shown}; got {shape!r}.") from None
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise ValueError(f"{shown}; got {list(shape)}.")
        self._net, self._shape, self._dtype = net, shape, dtype
        self._prepare()
        self.reset()
        self.reset_work()
        self._check_itself()

    def _prepare(self) -> None:
        recording = record(self._net, self._shape, self._dtype)
        self._net = recording.net
        with torch.no_grad():
            program = self._program = Program(recording, self._dtype)
        self._lock = threading.Lock()
        self._where, self._settings = np.array(program.places, np.int64), np.zeros(stages.SETTINGS, np.int64)
        self._settings[stages.STAGES] = len(program.stages)
        self._settings[stages.INPUTS :] = [
            *(program.input_shape.numel(), program.num_values, program.output, program.output_shape.numel()),
            *(len(program.starts), program.most_inputs, program.most_pixels, program.most_words),
            len(program.layers),
        ]

    def _check_itself(self) -> None:
        """Refuse a network that does something else than what was recorded, with other inputs or later.

        In float32 rounding may turn a spike: what differs there is looked at again in float64.
        """
        generator = torch.Generator().manual_seed(1)
        x = torch.rand(CHECKED, 2, *self._shape, generator=generator, dtype=self._dtype)
        x *= (4.0 ** torch.arange(CHECKED, dtype=self._dtype)).view(-1, *[1] * (x.dim() - 1))
        with torch.no_grad(), torch.random.fork_rng([]), functional.fresh_state(self._net):
            try:
                expected = torch.stack([self._net(one) for one in x])
            except Exception as error:
                raise ConversionError(f"`net` must take two samples, got: {error} {CURE}") from error
        output = self(x)
        self.reset()
        self.reset_work()
        close = 1e-5 * expected.abs().max().item() if expected.numel() else 0.0
        is_close = output.shape == expected.shape and torch.allclose(
            output, expected, 1e-4, close, equal_nan=True
        )
        if not is_close and self._dtype != torch.float64:
            Runner(self._net, self._shape, torch.float64)
        elif not is_close:
            raise ConversionError(
                "`net` must do the same at each time step and for each sample, but gives something else than "
                "what was recorded. Look for decisions by values or by the number of samples, for time steps "
                "that are counted, and for tensors that are remembered in attributes: make these memories "
                f"with register_memory(). {CURE}"
            )

    def reset(self) -> None:
        """Forget: the next call begins a new sequence."""
        self._state: Tensor | None = None

    def reset_work(self) -> None:
        """Begin to count anew what the layers do."""
        num_layers = len(self._program.layers)
        self._counted, self._steps = np.zeros((0, num_layers, 2), np.int64), np.zeros(num_layers, np.int64)

    def step(self, x: Tensor) -> Tensor:
        """One time step ``[N, *]``."""
        check_tensor("x", x)
        return self(x.unsqueeze(0)).squeeze(0)

    def __call__(self, x: Tensor) -> Tensor:
        """A sequence, or a part of it, ``[T, N, *]``."""
        with self._lock:  # its memory is one
            return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        self._check(x)
        num_steps, num_samples = x.shape[:2]
        if len(self._counted) < num_samples:
            new = np.zeros((num_samples - len(self._counted), *self._counted.shape[1:]), np.int64)
            self._counted = np.concatenate([self._counted, new])
        is_same = num_steps > 1 and x.stride(0) == 0  # a picture that is shown again and again
        x = (x[:1] if is_same else x).detach().resolve_neg().to(self._dtype)
        x = (x.movedim(2, -1) if x.dim() == 5 else x).contiguous()
        shape = self._program.output_shape
        out = x.new_empty(num_steps, num_samples, *(*shape[1:], shape[0]) if len(shape) == 3 else shape)
        settings = self._settings
        settings[stages.SAMPLES], settings[stages.STEPS] = num_samples, num_steps
        settings[stages.CONSTANT] = self._program.constant if is_same else 0
        settings[stages.ACROSS] = 0 if is_same else num_samples * settings[stages.INPUTS]
        if num_samples:
            if self._state is None:
                self._state = self._program.starts.repeat(num_samples, 1)
            loops = loops_of_file(Path(__file__).with_name("loops.py"), (numba_job, sparse, stages))
            given = (settings, self._program.stages, self._where, x, self._state, out, self._counted)
            loops.run_pieces("network", self._dtype, num_samples, *given)
        self._steps += num_steps * num_samples
        if is_same:
            self._steps[: self._program.constant_layers] -= (num_steps - 1) * num_samples
        return out.movedim(-1, 2) if len(shape) == 3 else out

    def report(self, num_samples: int = 1) -> Report:
        """What the layers have done since the runner was made, or :meth:`reset_work` was called.

        Args:
            num_samples: that were run; the report is of one.
        Raises:
            ValueError: ``num_samples`` is less than 1.
        Example:
            >>> runner = Runner(nn.Linear(4, 3), (4,))
            >>> _ = runner.step(torch.tensor([[0.0, 1.0, 0.0, 1.0]]))
            >>> runner.report().operations, runner.report().dense_operations
            (6.0, 12.0)
        """
        checked_count("num_samples", num_samples)
        events, operations = self._counted.sum(0).T.tolist()
        layers = zip(self._program.layers, self._steps.tolist(), events, operations, strict=True)
        return Report(
            tuple(
                LayerWork(
                    layer.name,
                    layer.kind,
                    found / (steps * layer.num_inputs) if steps else None,
                    added / num_samples,
                    steps * layer.num_products / num_samples,
                )
                for layer, steps, found, added in layers
            )
        )

    def _check(self, x: Any) -> None:
        check_tensor("x", x)
        if x.is_complex() or x.device.type != "cpu" or x.layout != torch.strided:
            raise ValueError(
                f"`x` must hold real numbers on the CPU, got {x.dtype} in layout {x.layout} on {x.device}."
            )
        shape = list(self._shape)
        if x.dim() != len(shape) + 2 or list(x.shape[2:]) != shape or x.shape[0] == 0:
            shown = ", ".join(map(str, ["T", "N", *shape]))
            raise ShapeError(
                f"`x` must be [{shown}] with at least one time step, got {list(x.shape)}. Give one time step "
                "to step(x), or make a Runner for this shape."
            )
        if self._state is not None and len(self._state) != x.shape[1]:
            raise ShapeError(
                f"The runner remembers {len(self._state)} samples, but got {x.shape[1]}. Call reset() before "
                "a batch of another size."
            )

    def __getstate__(self) -> dict[str, Any]:
        """Without the program, which is full of addresses."""
        made = ("_program", "_where", "_settings", "_lock")
        return {name: value for name, value in vars(self).items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()

    def __repr__(self) -> str:
        names = ", ".join(layer.name or layer.kind for layer in self._program.layers)
        return f"Runner(shape={list(self._shape)}, dtype={self._dtype}, layers with weights: {names})"
