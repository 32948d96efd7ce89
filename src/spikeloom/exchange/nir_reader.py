"""The nodes of a NIR graph as modules, and their order."""

import graphlib
import itertools
from collections import OrderedDict
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from spikeloom import layer, neuron
from spikeloom.errors import ConversionError
from spikeloom.exchange.nir_network import INPUT, OUTPUT, NIRNetwork, RecurrentNIRNetwork, Scale
from spikeloom.exchange.nir_neurons import Reader

Edge = tuple[str, str]
_HAVING_NAMES = (nn.ModuleDict(), nn.Sequential(), neuron.IFNode())  # whose attributes no node can be called
_NEURONS = (nir.I, nir.IF, nir.LI, nir.LIF, nir.CubaLI, nir.CubaLIF, nir.NIRGraph)


def network(graph: nir.NIRGraph, reader: Reader) -> nn.Module:
    """A network in single-step mode, which computes what ``graph`` describes.

    Args:
        graph: with one input and one output.
        reader: makes its neurons.
    Raises:
        ConversionError: a node, or how they are joined, has no equivalent.
    """
    names = _names(graph)
    edges = {(str(source), str(target)) for source, target in graph.edges}
    order, delayed = _order(graph, edges)
    modules = {}
    for key in order:
        try:
            modules[names[key]] = _module(graph.nodes[key], reader)
        except ConversionError as error:
            raise ConversionError(f"'{key}' of `graph` {error}") from None
        except ValueError as error:  # of a setting
            raise ConversionError(f"'{key}' of `graph` has numbers that are refused: {error}") from error

    def sources(chosen: set[Edge]) -> dict[str, list[str]]:
        """Which nodes give to each, in an order that does not depend on that of a set."""
        return {
            names[key]: [names[one] for one in graph.nodes if (one, key) in chosen]
            for key in (*order, *graph.outputs)
        }

    if delayed:
        shapes = {names[source]: _shape(graph.nodes[source]) for source, _ in sorted(delayed)}
        return RecurrentNIRNetwork(modules, sources(edges - delayed), sources(delayed), shapes)
    given, in_a_row = sources(edges), [INPUT, *modules, OUTPUT]
    if all(given[name] == [earlier] for earlier, name in itertools.pairwise(in_a_row)):
        return nn.Sequential(OrderedDict(modules))
    return NIRNetwork(modules, given)


def _names(graph: nir.NIRGraph) -> dict[str, str]:
    """Names of nodes as modules can have them."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ConversionError(
            f"`graph` must have one input and one output, got {len(graph.inputs)} and {len(graph.outputs)}."
        )
    names = {next(iter(graph.inputs)): INPUT, next(iter(graph.outputs)): OUTPUT}
    for key in sorted(graph.nodes.keys() - names.keys()):
        name = key.replace(".", "_")
        while not name or name in names.values() or any(hasattr(one, name) for one in _HAVING_NAMES):
            name += "_"
        names[key] = name
    return names


def _order(graph: nir.NIRGraph, edges: set[Edge]) -> tuple[list[str], set[Edge]]:
    """The nodes, each behind those that give to it, and the edges over which this takes a time step: of each
    circle, the one from the neuron that is furthest from the input."""
    depths = _depths(graph, edges)
    delayed: set[Edge] = set()
    while True:
        givers: dict[str, list[str]] = {key: [] for key in graph.nodes}
        for source, target in sorted(edges - delayed):
            givers[target].append(source)
        try:
            order = list(graphlib.TopologicalSorter(givers).static_order())
        except graphlib.CycleError as error:
            circle = list(itertools.pairwise(error.args[1]))  # pairs of a node and one that it gives to
            delayed.add(
                max(circle, key=lambda edge: (isinstance(graph.nodes[edge[0]], _NEURONS), depths[edge[0]]))
            )
        else:
            return [key for key in order if key not in graph.inputs and key not in graph.outputs], delayed


def _depths(graph: nir.NIRGraph, edges: set[Edge]) -> dict[str, int]:
    """How many edges each node is from the input."""
    depths, depth = dict.fromkeys(graph.inputs, 0), 0
    while reached := {target for source, target in edges if source in depths} - set(depths):
        depth += 1
        depths.update(dict.fromkeys(reached, depth))
    if lost := sorted(graph.nodes.keys() - depths.keys()):
        raise ConversionError(f"`graph` must have a way from its input to each node, but has none to {lost}.")
    return depths


def _module(node: Any, reader: Reader) -> nn.Module:
    if isinstance(node, nir.NIRGraph):
        return network(node, reader)
    return reader.neuron(node) or _layer(node, reader.dt)


def _layer(node: Any, dt: float) -> nn.Module:
    if isinstance(node, nir.Affine | nir.Linear):
        return _linear(node)
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        return _convolution(node)
    if isinstance(node, nir.Scale):
        return Scale(_tensor(node.scale))
    if isinstance(node, nir.Flatten):
        dims = len(node.input_type["input"])
        start, end = (int(dim) % dims + 1 for dim in (node.start_dim, node.end_dim))
        return layer.Flatten(start, end)
    if isinstance(node, nir.AvgPool2d | nir.SumPool2d):
        sizes = [_sizes(one, 2) for one in (node.kernel_size, node.stride, node.padding)]
        return layer.AvgPool2d(*sizes, divisor_override=1 if isinstance(node, nir.SumPool2d) else None)
    if isinstance(node, nir.Delay):
        return _delay(node, dt)
    raise ConversionError(f"is a {type(node).__name__}, which is not known here.")


def _linear(node: Any) -> nn.Module:
    if node.weight.ndim != 2:
        raise ConversionError(f"must have weights [outputs, inputs], got {list(node.weight.shape)}.")
    bias = getattr(node, "bias", None)
    made = layer.Linear(*node.weight.shape[::-1], bias=bias is not None)
    return _filled(made, node.weight, bias)


def _convolution(node: Any) -> nn.Module:
    dims = node.weight.ndim - 2
    made = (layer.Conv1d if dims == 1 else layer.Conv2d)(
        node.weight.shape[1] * int(node.groups),
        node.weight.shape[0],
        node.weight.shape[2:],
        stride=_sizes(node.stride, dims),
        padding=_text(node.padding) or _sizes(node.padding, dims),
        dilation=_sizes(node.dilation, dims),
        groups=int(node.groups),
        bias=node.bias is not None,
    )
    return _filled(made, node.weight, node.bias)


def _filled(made: Any, weight: Any, bias: Any) -> nn.Module:
    with torch.no_grad():
        made.weight.copy_(_tensor(weight))
        if bias is not None:
            made.bias.copy_(_tensor(bias))
    return made


def _delay(node: nir.Delay, dt: float) -> nn.Module:
    """A delay, the same for all or one for each channel, in time steps."""
    steps = np.asarray(node.delay, np.float64) / dt
    whole = np.rint(steps)
    if (steps < 0).any() or not np.allclose(steps, whole, rtol=0, atol=1e-3):
        raise ConversionError(
            f"must have delays of whole time steps, dt={dt:g} s. Give a `dt` that divides them."
        )
    if (whole == whole.flat[0]).all():
        return layer.Delay(int(whole.flat[0]))
    channels = whole.reshape(len(whole), -1)
    if (channels != channels[:, :1]).any():
        raise ConversionError("must have one delay for each channel, not one for each of its neurons.")
    return layer.LearnableDelay(len(whole), int(whole.max()), torch.from_numpy(channels[:, 0]))


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))


def _text(value: Any) -> str | None:
    value = value.decode() if isinstance(value, bytes) else value
    return value if isinstance(value, str) else None


def _sizes(value: Any, dims: int) -> tuple[int, ...]:
    return tuple(int(one) for one in np.broadcast_to(np.asarray(value), (dims,)))


def _shape(node: Any) -> tuple[int, ...]:
    (shape,) = node.output_type.values()
    return tuple(int(size) for size in shape)
