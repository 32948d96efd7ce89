"""A network as a program for the compiled loop: stages, which are rows of numbers, and what they point to."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spikeloom.errors import ConversionError
from spikeloom.event.calls import Call, Recording, refusal
from spikeloom.event.pooling import windows
from spikeloom.event.stages import (
    ADD,
    MULTIPLY,
    NEURON,
    POOL,
    REORDER,
    SCALE,
    SUBTRACT,
    SYNAPSES,
    WORDS,
)
from spikeloom.event.window import Side, covered, runs, sides_of, sizes_of, targets
from spikeloom.loom.row import row_function

ALIGNED = 16  # numbers that a value's place is a multiple of
_BINARY = {"add": ADD, "sub": SUBTRACT, "mul": MULTIPLY}


class Synapses(NamedTuple):
    """A layer with weights.

    Args:
        name: in the network.
        kind: its class.
        num_inputs: of one sample and time step.
        num_products: of an input and a weight, if no input is zero; padding is no input.
    """

    name: str
    kind: str
    num_inputs: int
    num_products: int


class Program:
    """What the compiled loop reads, made from a recording.

    Attributes:
        input_shape, output_shape: of one sample and time step.
        stages: ``[number, WORDS]``.
        places: of values in the memory of a thread; those that are remembered are in that of a sample, whose
            places are negative: -1 is its first.
        num_values: numbers that the memory of a thread holds.
        starts: the memory of a sample before the first step.
        constant, constant_layers: how many of the first stages, and layers with weights, do the same at each
            time step if the input is always the same.
        most_inputs, most_pixels, most_words: of any stage.
        layers: those with weights.
        output: number of the value that is the output.
    """

    def __init__(self, recording: Recording, dtype: torch.dtype):
        self.recording, self.dtype, self.shapes = recording, dtype, list(recording.shapes)
        self.output = recording.output
        self.input_shape, self.output_shape = self.shapes[0], self.shapes[self.output]
        self.layers: list[Synapses] = []
        self.most_inputs = self.most_pixels = self.most_words = 1
        self.num_values = 0
        self.places = [0]
        self._rows: list[list[int]] = []
        self._starts = [torch.zeros(0, dtype=dtype)]
        self._held: list[Any] = []  # what stages point to
        self._lay_out()
        for call in recording.calls:
            if call.kind != "norm" or not recording.is_folded(call):
                getattr(self, f"_add_{call.kind}", self._add_arithmetic)(call)
        self._remember()
        self.stages = np.array([row + [0] * (WORDS - len(row)) for row in self._rows], np.int64)
        self.starts = torch.cat(self._starts)
        self.constant = self._count_constant()
        self.constant_layers = sum(row[0] == SYNAPSES for row in self._rows[: self.constant])

    def _lay_out(self) -> None:
        """Give each value a place."""
        remembered = {memory.before: memory.start for memory in self.recording.memories}
        for number, shape in enumerate(self.shapes[1:], 1):
            if number in remembered:
                start = torch.full((shape.numel(),), remembered[number], dtype=self.dtype)
                self.places.append(-1 - self._memorise(start))
            else:
                self.places.append(self._reserve(shape.numel()))

    def _reserve(self, size: int) -> int:
        """A place in the memory of a thread."""
        place = self.num_values
        self.num_values += -(-size // ALIGNED) * ALIGNED
        return place

    def _memorise(self, start: Tensor) -> int:
        """A place in the memory of a sample."""
        place = sum(map(len, self._starts))
        self._starts.append(start.to(self.dtype))
        return place

    def _hold(self, thing: Tensor | np.ndarray) -> int:
        """The address of what has to live as long as the program."""
        self._held.append(thing)
        return thing.data_ptr() if isinstance(thing, Tensor) else thing.ctypes.data

    def _row(self, kind: int, sources: Sequence[int], result: int, *words: int) -> None:
        self._rows.append([kind, sources[0], sources[-1], result, self.shapes[result].numel(), *words])

    def _add_synapses(self, call: Call) -> None:
        module: Any = call.module
        weight, bias, result = self.recording.synapses(call)
        bias = torch.zeros(len(weight)).double() if bias is None else bias
        shape, to_shape = self.shapes[call.sources[0]], self.shapes[result]
        if len(shape) != (1 if isinstance(module, nn.Linear) else 3):
            raise self._refusal(
                call, f"take [N, F], or [N, C, H, W] if it is a convolution; gets {list(shape)}"
            )
        if isinstance(module, nn.Linear):
            sides, groups, packed = (Side(), Side()), 1, weight.t()[None, :, None]
        else:
            if module.padding_mode != "zeros":
                raise self._refusal(call, f"pad with zeros, not by padding_mode={module.padding_mode!r}")
            sides, groups = sides_of(module, *shape[1:]), module.groups
            packed = weight.flip(3).permute(2, 1, 3, 0)
        tables = (
            sizes_of(sides, shape[0], to_shape[0], groups),
            targets(sides[0]),
            runs(sides[1], groups == 1),
        )
        tensors = [one.to(self.dtype).contiguous() for one in (packed, bias)]
        words = [*map(self._hold, tables), *map(self._hold, tensors), len(self.layers)]
        self._row(SYNAPSES, call.sources, result, *words)
        products = shape[0] * covered(sides[0]) * covered(sides[1]) * (to_shape[0] // groups)
        self.layers.append(Synapses(call.name, type(module).__name__, shape.numel(), products))
        self.most_inputs = max(self.most_inputs, shape.numel())
        self.most_pixels = max(self.most_pixels, shape[1:].numel())

    def _add_scale(self, call: Call) -> None:
        self._check_shapes(call)
        rows = [channels_last(one).to(self.dtype) for one in self.recording.scale_and_shift(call)]
        self._row(SCALE, call.sources, call.result, *map(self._hold, rows))

    _add_norm = _add_scale

    def _add_neuron(self, call: Call) -> None:
        shape = self.shapes[call.sources[0]]
        if self.shapes[call.result] != shape:
            raise self._refusal(call, "give one value for each input")
        x = torch.empty(1, *shape, dtype=self.dtype)
        if x.dim() == 4:
            x = x.to(memory_format=torch.channels_last)
        module: Any = call.module
        starts = {**module._memories, **self.recording.starts[call.name]}
        for name, start in starts.items():
            if not isinstance(start, int | float | Tensor):
                raise self._refusal(call, f"remember numbers, not {start!r} in its '{name}'")
        step = row_function(module, x, [starts[name] for name in module._memories])
        places = [self._memorise(channels_last(one[0])) for one in step.memories]
        held = self._hold(step.literals), *map(self._hold, step.constants)
        words = [x.numel(), held[0], 0, *[0] * len(places), *held[1:], 0]  # 0: what the loop fills in
        given = self._hold(np.array(words, np.int64)), len(words), len(places), min(places, default=0)
        self._row(NEURON, call.sources, call.result, *given, step.address)
        self.most_words = max(self.most_words, len(words))

    def _add_pool(self, call: Call) -> None:
        found = windows(call, self.shapes[call.sources[0]], self.shapes[call.result])
        sizes = np.array(found.sizes, np.int64)
        self._row(POOL, call.sources, call.result, *map(self._hold, (sizes, found.rows, found.columns)))

    def _add_reshape(self, call: Call) -> None:
        shape, to_shape = self.shapes[call.sources[0]], self.shapes[call.result]
        if to_shape != shape and to_shape != (shape.numel(),):
            raise self._refusal(
                call, f"leave shapes as they are, or flatten them, not make {list(to_shape)} of {list(shape)}"
            )
        channels = shape[0] if to_shape != shape else 1
        self._row(REORDER, call.sources, call.result, channels, shape.numel() // max(channels, 1))

    def _add_delay(self, call: Call) -> None:
        raise self._refusal(call, "not delay its input")

    def _add_join(self, call: Call) -> None:
        at = self.places[call.result]
        for source in call.sources:
            self._copy(source, at)
            at += self.shapes[source].numel()

    def _copy(self, source: int, place: int) -> None:
        """Write a value to a place too."""
        self.shapes.append(self.shapes[source])
        self.places.append(place)
        self._row(REORDER, [source], len(self.places) - 1, 1, self.shapes[source].numel())

    def _remember(self) -> None:
        """Write what modules remember to where the next step finds it, all at once."""
        memories = [memory for memory in self.recording.memories if memory.before != memory.after]
        befores = {memory.before for memory in memories}
        if self.output in befores:
            self._copy(self.output, self._reserve(self.shapes[self.output].numel()))
            self.output = len(self.places) - 1
        for number, memory in enumerate(memories):
            if memory.after in befores:  # which may be written before it is read
                self._copy(memory.after, self._reserve(self.shapes[memory.after].numel()))
                memories[number] = memory._replace(after=len(self.places) - 1)
        for memory in memories:
            self._copy(memory.after, self.places[memory.before])

    def _add_arithmetic(self, call: Call) -> None:
        self._check_shapes(call)
        self._row(_BINARY[call.kind], call.sources, call.result)

    def _check_shapes(self, call: Call) -> None:
        if any(self.shapes[source] != self.shapes[call.result] for source in call.sources):
            raise self._refusal(call, "add and multiply values of one shape")

    def _count_constant(self) -> int:
        """How many of the first stages depend on nothing but the input."""
        varying = {memory.before for memory in self.recording.memories}
        for count, (kind, one, other, result, *_) in enumerate(self._rows):
            if kind == NEURON or varying & {one, other, result}:
                return count
        return len(self._rows)

    def _refusal(self, call: Call, what: str) -> ConversionError:
        return refusal(call.name, f"must {what}.")


def channels_last(values: Tensor) -> Tensor:
    """One number after the other, as the compiled loop has them."""
    return (values.movedim(0, -1) if values.dim() == 3 else values).contiguous().flatten()
