"""A network's operations as the nodes and edges of a NIR graph."""

from typing import Any, cast

import nir
import numpy as np
import torch
from torch import Tensor, nn

from spikeloom import layer
from spikeloom.errors import ConversionError
from spikeloom.event.calls import Call, Memory, Recording, refusal
from spikeloom.event.window import pair
from spikeloom.exchange.nir_network import INPUT, OUTPUT
from spikeloom.exchange.nir_neurons import written

_CURE = "Leave this part out of what is exported."


class Writer:
    """Makes a graph of a recording.

    A value is the sum of what some nodes give, as NIR adds up what comes in over several edges; so additions
    need no node. Neither does a value that is remembered until the next time step and goes in a circle: that
    is an edge back, which takes a step. Another one goes through a delay.

    Weights are in double precision, so that what the graph means can be compared with the network.

    Args:
        recording: what the network consists of.
        dt: seconds of a time step.
        soft_reset: see :func:`~spikeloom.exchange.export_to_nir`.
    """

    def __init__(self, recording: Recording, dt: float, soft_reset: bool):
        self.recording, self.dt, self.soft_reset = recording, dt, soft_reset
        self.shapes = list(recording.shapes)
        self.nodes: dict[str, nir.NIRNode] = {INPUT: nir.Input({"input": np.array(self.shapes[0])})}
        self.edges: list[tuple[str, str]] = []
        self._makers: dict[int, str] = {0: INPUT}  # nodes, by the numbers of their values
        self._sums: dict[int, tuple[int, ...]] = {}  # values that are the sum of others
        self._joins: dict[int, tuple[int, ...]] = {}  # values that are others side by side
        self._readers: list[tuple[int, str]] = []  # values, and the nodes that read them

    def graph(self) -> nir.NIRGraph:
        """The graph.

        Raises:
            ConversionError: NIR has no such operation.
        """
        for memory in self.recording.memories:
            if memory.start != 0:
                raise ConversionError(
                    f"`net` must remember 0 at first, got a memory that starts at {memory.start:g}, which "
                    f"NIR does not have. {_CURE}"
                )
            if self._in_a_circle(memory):
                self._sums[memory.before] = (memory.after,)
            else:
                shape = self.shapes[memory.before]
                name = self._makers[memory.before] = self._node(
                    "remembered", nir.Delay(np.full(shape, self.dt))
                )
                self._readers.append((memory.after, name))
        for call in self.recording.calls:
            if call.kind != "norm" or not self.recording.is_folded(call):
                getattr(self, f"_add_{call.kind}", self._refuse)(call)
        self.nodes[OUTPUT] = nir.Output({"output": np.array(self.shapes[self.recording.output])})
        self._readers.append((self.recording.output, OUTPUT))
        for value, reader in self._readers:
            self._connect(value, reader)
        try:
            return nir.NIRGraph(self.nodes, self.edges)
        except ValueError as error:
            raise ConversionError(f"`net` does not make a valid NIR graph: {error}.") from error

    def _in_a_circle(self, memory: Memory) -> bool:
        """Whether what a memory becomes depends on what it was."""
        edges = [(source, call.result) for call in self.recording.calls for source in call.sources]
        edges += [(one.after, one.before) for one in self.recording.memories if one is not memory]
        reached, new = set(), {memory.before}
        while new:
            reached |= new
            new = {target for source, target in edges if source in new} - reached
        return memory.after in reached

    def _connect(self, value: int, reader: str) -> None:
        """Draw the edges to a node that reads ``value``; what comes twice is multiplied by 2."""
        sources = self._sources(value, ())
        for source in dict.fromkeys(sources):
            times = sources.count(source)
            if times > 1:
                shape = self.shapes[value]
                factor = self._node(f"{source}_times_{times}", nir.Scale(np.full(shape, float(times))))
                self.edges.append((source, factor))
                source = factor
            self.edges.append((source, reader))

    def _sources(self, value: int, above: tuple[int, ...]) -> list[str]:
        """The nodes whose sum a value is."""
        if value in self._makers:
            return [self._makers[value]]
        if value in self._joins:
            raise ConversionError(
                f"`net` must give joined values to a linear layer, and to it alone. {_CURE}"
            )
        if value in above:
            raise ConversionError(f"`net` must not remember what no layer or neuron gives. {_CURE}")
        return [one for part in self._sums[value] for one in self._sources(part, (*above, value))]

    def _node(self, name: str, node: nir.NIRNode) -> str:
        """Add a node, under a name that no other has."""
        name = name.replace(".", "_") or type(node).__name__.lower()
        number, free = 1, name
        while free in self.nodes or free == OUTPUT:
            number, free = number + 1, f"{name}_{number}"
        self.nodes[free] = node
        return free

    def _add(self, call: Call, node: nir.NIRNode, result: int | None = None) -> None:
        """Add the node of a call, which gives its result, or that of a normalisation behind it."""
        name = self._makers[call.result if result is None else result] = self._node(call.name, node)
        self._readers.append((call.sources[0], name))

    def _add_synapses(self, call: Call) -> None:
        module: Any = call.module
        weight, bias, result = self.recording.synapses(call)
        shape = self.shapes[call.sources[0]]
        if isinstance(module, nn.Linear):
            if len(shape) != 1:
                raise self._refusal(call, f"take [N, F], not {list(shape)} for one sample")
            self._add_linear(call, weight, bias, result)
            return
        if len(shape) != 3 or module.padding_mode != "zeros":
            raise self._refusal(call, "take [N, C, H, W], and pad with zeros")
        if len(set(weight.shape[2:])) != 1:
            raise self._refusal(call, "have a square window, which is all that the package nir checks")
        # nir 1.0 counts the channels of a grouped convolution wrongly, so its zeros are written out.
        node = nir.Conv2d(
            input_shape=(shape[1], shape[2]),
            weight=_array(_ungrouped(weight, module.groups)),
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            groups=1,
            bias=_array(torch.zeros(len(weight)) if bias is None else bias),
        )
        self._add(call, node, result)

    def _add_linear(self, call: Call, weight: Tensor, bias: Tensor | None, result: int) -> None:
        """A linear layer; one of joined values is the sum of one for each of them."""
        parts, values = self._parts(call.sources[0]), []
        pieces = weight.split([self.shapes[part].numel() for part in parts], 1)
        for part, piece in zip(parts, pieces, strict=True):
            node = nir.Linear(_array(piece)) if bias is None else nir.Affine(_array(piece), _array(bias))
            bias = None  # once
            name = self._node(call.name, node)
            self._readers.append((part, name))
            values.append(self._value(name, self.shapes[result]))
        self._sums[result] = tuple(values)

    def _parts(self, value: int) -> tuple[int, ...]:
        """The values that stand side by side in one."""
        return tuple(one for part in self._joins.get(value, ()) for one in self._parts(part)) or (value,)

    def _value(self, maker: str, shape: torch.Size) -> int:
        """A value that the recording does not have."""
        self.shapes.append(shape)
        self._makers[len(self.shapes) - 1] = maker
        return len(self.shapes) - 1

    def _add_norm(self, call: Call) -> None:
        scale, shift = self.recording.scale_and_shift(call)
        shape = self.shapes[call.result]
        if len(shape) == 1:
            self._add(call, nir.Affine(_array(scale.diag()), _array(shift)))
            return
        scale, shift = (one.reshape(len(one), -1)[:, 0] for one in (scale, shift))
        weight = _array(scale.diag()[:, :, None, None])
        self._add(call, nir.Conv2d((shape[1], shape[2]), weight, 1, 0, 1, 1, _array(shift)))

    def _add_neuron(self, call: Call) -> None:
        module: Any = call.module
        try:
            node = written(module, self.shapes[call.sources[0]], self.dt, self.soft_reset)
        except ConversionError as error:
            raise refusal(call.name, str(error), "") from None
        self._add(call, node)

    def _add_delay(self, call: Call) -> None:
        shape, module = self.shapes[call.result], cast(Any, call.module)
        if isinstance(module, layer.LearnableDelay):
            steps = module.delay.detach().view(-1, *[1] * (len(shape) - 1))
        else:
            steps = torch.tensor(float(module.delay_steps))
        if bool((steps != steps.round()).any()):
            raise self._refusal(
                call, "delay by whole time steps: with torch.no_grad(): module.delay.round_()"
            )
        self._add(call, nir.Delay(steps.double().expand(shape).numpy() * self.dt))

    def _add_pool(self, call: Call) -> None:
        module: Any = call.module
        shape, to_shape = self.shapes[call.sources[0]], self.shapes[call.result]
        if isinstance(module, layer.VotingLayer):
            votes = torch.eye(to_shape[0]).repeat_interleave(module.voting_size, 1) / module.voting_size
            self._add(call, nir.Linear(_array(votes)))
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            window = np.array(shape[1:]) // to_shape[1:]
            if (window * to_shape[1:] != shape[1:]).any():
                raise self._refusal(call, "have windows of one size, so an output that divides the input")
            self._add(call, nir.AvgPool2d(window, window, np.array([0, 0])))
        elif not isinstance(module, nn.AvgPool2d):
            raise self._refusal(call, "take averages: NIR has no maximum")
        else:
            sizes = [np.array(pair(one)) for one in (module.kernel_size, module.stride, module.padding)]
            leaves_out = sizes[2].any() and not module.count_include_pad  # the padding
            if module.divisor_override == 1 and not module.ceil_mode:
                self._add(call, nir.SumPool2d(*sizes))
            elif module.ceil_mode or module.divisor_override or leaves_out:
                raise self._refusal(call, "divide by its window (ceil_mode=False, count_include_pad=True)")
            else:
                self._add(call, nir.AvgPool2d(*sizes))

    def _add_reshape(self, call: Call) -> None:
        shape, to_shape = self.shapes[call.sources[0]], self.shapes[call.result]
        if shape == to_shape:
            self._sums[call.result] = call.sources
        elif to_shape == (shape.numel(),):
            self._add(call, nir.Flatten({"input": np.array(shape)}, 0, -1))
        else:
            raise self._refusal(call, f"flatten, not make {list(to_shape)} of {list(shape)}")

    def _add_join(self, call: Call) -> None:
        self._joins[call.result] = call.sources

    def _add_add(self, call: Call) -> None:
        self._check_shapes(call, "add a value to another of its shape")
        self._sums[call.result] = call.sources

    def _add_sub(self, call: Call) -> None:
        self._check_shapes(call, "add a value to another of its shape")
        first, second = call.sources
        self._sums[call.result] = (first, self._scaled(call, second, torch.tensor(-1.0)))

    def _add_mul(self, call: Call) -> None:
        raise self._refusal(call, "multiply by a number, which is all that NIR can")

    def _add_scale(self, call: Call) -> None:
        factor, added = call.constants
        if added.any():
            raise self._refusal(call, "add a value to another, which is all that NIR can")
        self._check_shapes(call, "multiply by a number")
        self._sums[call.result] = (self._scaled(call, call.sources[0], factor),)

    def _check_shapes(self, call: Call, what: str) -> None:
        if len({self.shapes[one] for one in (*call.sources, call.result)}) != 1:
            raise self._refusal(call, f"{what}, which is all that NIR can")

    def _scaled(self, call: Call, value: int, factor: Tensor) -> int:
        """A value times a factor."""
        shape = self.shapes[value]
        name = self._node(f"{call.name}_scale".lstrip("_"), nir.Scale(_array(factor.expand(shape))))
        self._readers.append((value, name))
        return self._value(name, shape)

    def _refuse(self, call: Call) -> None:
        raise self._refusal(call, f"not call '{call.kind}'")

    def _refusal(self, call: Call, what: str) -> ConversionError:
        return refusal(call.name, f"must {what}.", _CURE)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().double().contiguous().numpy()


def _ungrouped(weight: Tensor, groups: int) -> Tensor:
    """The weights of a grouped convolution with zeros between its groups."""
    own = weight.unflatten(0, (groups, -1))  # [groups, out, in, ...]
    whole, every = own.new_zeros(*own.shape[:2], groups, *own.shape[2:]), torch.arange(groups)
    whole[every, :, every] = own
    return whole.flatten(2, 3).flatten(0, 1)
