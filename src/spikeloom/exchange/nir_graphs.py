"""Networks to NIR graphs and back: the neuromorphic intermediate representation of simulators and chips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spikeloom import functional
from spikeloom.errors import ConversionError, MissingPackageError
from spikeloom.exchange.checking import check_dt, check_meaning, shape_of_step
from spikeloom.files import beside

if TYPE_CHECKING:
    import nir


def export_to_nir(
    net: nn.Module,
    example_input: Tensor | Sequence[int],
    save_path: str | Path | None = None,
    dt: float = 1e-4,
    soft_reset: bool = False,
) -> nir.NIRGraph:
    """A network as a NIR graph, which other simulators read, and compilers for neuromorphic chips.

    Written are linear layers and convolutions (groups as zeros between them), average pooling, votes,
    flattening, additions, multiplications by numbers, batch normalisation (as part of the weights before it),
    recurrent containers (as edges back), delays, and IF, LIF, parametric LIF, current-based LIF and
    integrating neurons. Dropout is left out. Surrogate gradients have no place in NIR.

    NIR's neurons fire above their threshold, ours at it: the one that is written is the next smaller number.

    Args:
        net: the network, in either step mode; it is not changed. Without its encoder.
        example_input: an input, ``[N, F]`` or ``[N, C, H, W]``, or a sequence of them with time first, of
            which only the shape matters; or the shape of one sample and time step, ``(F,)`` or ``(C, H, W)``.
        save_path: a file to write the graph to too.
        dt: seconds of a time step; time constants are written in seconds.
        soft_reset: write neurons that subtract their threshold (``v_reset=None``) as if they were reset to 0,
            with a note that :func:`import_from_nir` reads. Other software will not.
    Returns:
        the graph, of the package ``nir``
    Raises:
        ConversionError: NIR has no equivalent for a part of the network, or the graph does something else in
            six time steps of random input.
        MissingPackageError: the package ``nir`` is missing.
        ValueError: ``dt`` is not greater than 0.
    Source: Pedersen et al., Neuromorphic intermediate representation: a unified instruction set for
        interoperable brain-inspired computing, Nat. Commun. 15, 2024.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode(tau=2.0))
        >>> graph = export_to_nir(net, torch.zeros(1, 3))
        >>> list(graph.nodes), graph.nodes["1"].tau.tolist()
        (['input', '0', '1', 'output'], [0.0002, 0.0002])
    """
    check_dt(dt)
    nir = _package()
    from spikeloom.event.record import record
    from spikeloom.exchange.nir_writer import Writer

    shape = shape_of_step(example_input)
    graph = Writer(record(net, shape, torch.float64), dt, soft_reset).graph()
    check_meaning(net, import_from_nir(graph, dt, dtype=torch.float64), shape)
    for node in graph.nodes.values():
        for name in {"weight", "bias", "scale"} & vars(node).keys():
            setattr(node, name, getattr(node, name).astype("float32"))
    if save_path is not None:
        with beside(Path(save_path).expanduser()) as part:
            nir.write(part, graph)
    return graph


def import_from_nir(
    graph: nir.NIRGraph | str | Path,
    dt: float = 1e-4,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    step_mode: str = "s",
    surrogate_function: Callable[[Tensor], Tensor] | None = None,
    detach_reset: bool = False,
    fires_at_threshold: bool = False,
) -> nn.Module:
    """The network that a NIR graph describes, in steps of Euler's method.

    Neurons become :class:`~spikeloom.neuron.LIFNode` and its kin where these compute the same, else
    :class:`EulerNode` and :class:`EulerIntegrator`, in which each neuron has its own numbers. What stands in
    a row becomes an ``nn.Sequential``, other graphs a :class:`NIRNetwork`, and those with circles a
    :class:`RecurrentNIRNetwork`, in which what the last neuron of a circle gives arrives a time step later.
    Weights can be trained, and memories are reset as in any other network.

    Args:
        graph: a graph of the package ``nir``, or a file.
        dt: seconds of a time step.
        device, dtype: of the weights.
        step_mode: of the network.
        surrogate_function, detach_reset: of the neurons; default ``surrogate.Sigmoid()``.
        fires_at_threshold: the graph's neurons fire at their threshold, as those of SpikingJelly and Sinabs
            do; by NIR's rule they fire above it.
    Returns:
        a network in ``step_mode``
    Raises:
        ConversionError: a node has no equivalent, or a time step is longer than a time constant.
        FileNotFoundError: there is no such file.
        MissingPackageError: the package ``nir`` is missing.
        ValueError: ``dt`` is not greater than 0, or ``step_mode`` is unknown.
    Differs from: SpikingJelly 2.0's, whose network returns a pair of output and state.
    Source: as for :func:`export_to_nir`.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode(tau=2.0))
        >>> import_from_nir(export_to_nir(net, (3,)))
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True, step_mode=s)
          (1): LIFNode(
            tau=2.0, decay_input=True, ...
    """
    check_dt(dt)
    nir = _package()
    from spikeloom.exchange.nir_neurons import Reader
    from spikeloom.exchange.nir_reader import network

    if isinstance(graph, str | Path):
        graph = _read(nir, Path(graph).expanduser())
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"`dtype` must be a type of PyTorch's, such as torch.float32, got {dtype!r}.")
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"`graph` must be a graph of the package nir, or a file, got a {type(graph).__name__}."
        )
    settings = {"surrogate_function": surrogate_function, "detach_reset": detach_reset}
    net = network(graph, Reader(dt, fires_at_threshold, settings)).to(device, dtype)
    functional.set_step_mode(net, step_mode)
    return net


def _package() -> Any:
    try:
        import nir
    except ImportError as error:
        raise MissingPackageError(
            "NIR graphs need the package nir, which is not installed: pip install 'spikeloom[nir]', or pip "
            "install nir."
        ) from error
    return nir


def _read(nir: Any, path: Path) -> nir.NIRGraph:
    if not path.is_file():
        raise FileNotFoundError(f"`graph` must be a NIR graph or a file of one, but {path} is no file.")
    try:
        return nir.read(path)
    except Exception as error:  # whatever the package does with a damaged file
        raise ConversionError(
            f"`graph` must be a file of a NIR graph, but {path} is none: {error}"
        ) from error
