"""One time step of a network as an ONNX model, with memories as inputs and outputs."""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom import base, functional
from spikeloom.checks import checked_count
from spikeloom.errors import ConversionError, MissingPackageError
from spikeloom.event.record import in_single_steps, starts_of
from spikeloom.exchange.checking import shape_of_step
from spikeloom.files import beside
from spikeloom.memory import recomputing

NEXT = ".next"
MEMORIES = "spikeloom.memories"
"""The entry of the file's metadata that says what memories start from, as JSON."""
Start = float | list[Any]


def export_to_onnx(
    net: nn.Module,
    example_input: Tensor | Sequence[int],
    save_path: str | Path,
    opset_version: int | None = None,
) -> dict[str, Start]:
    """One time step of a network as an ONNX model.

    The model's inputs are ``input`` and each memory, by the path of its module and its own name, as in
    ``2.v``; its outputs are ``output`` and what has become of each memory, ``2.v.next``. Whoever runs it
    gives these back with the next time step. The batch can have any size; numbers are ``float32``.

    Args:
        net: the network, in either step mode; it is not changed. Without its encoder.
        example_input: an input ``[N, F]`` or ``[N, C, H, W]``, or a sequence of them with time first, of
            which only the shape matters; or the shape of one sample and time step, of any dimensions.
        save_path: the file to write; weights of 2 GiB and more go into a second one beside it.
        opset_version: of ONNX; default: PyTorch's.
    Returns:
        what each memory starts from: a number for all of its elements, or a list of one sample's; it is in
        the file too, as JSON in its metadata ``spikeloom.memories``
    Raises:
        ConversionError: the network has no single-step mode, is random, remembers more than its memories, or
            does what ONNX does not have.
        MissingPackageError: a package that PyTorch needs for it is missing.
    Example:
        >>> from spikeloom import layer, neuron
        >>> net = nn.Sequential(layer.Linear(3, 2), neuron.LIFNode(tau=2.0))
        >>> export_to_onnx(net, (3,), "net.onnx")  # doctest: +SKIP
        {'1.v': 0.0}
    """
    _check_packages()
    if opset_version is not None:
        checked_count("opset_version", opset_version)
    shape, given = shape_of_step(example_input), net
    net, generator = in_single_steps(given, torch.float32), torch.Generator().manual_seed(0)
    x = [torch.rand(size, *shape, generator=generator) for size in (2, 3)]
    names, starts, states, batch = _memories(net, x)
    step = _Step(net, names).eval()
    _check_step(in_single_steps(given, torch.float32), step, names, x[0], states)
    size = torch.export.Dim("N")
    dims = ({0: size}, *([tuple({one: size} for one in batch)] if names else []))
    with _quiet():
        try:
            program: Any = torch.onnx.export(
                step,
                (x[0], *states),
                dynamo=True,
                verbose=False,
                opset_version=opset_version,
                input_names=["input", *names],
                output_names=["output", *(name + NEXT for name in names)],
                dynamic_shapes=dims,
            )
        except (torch.onnx.errors.OnnxExporterError, ValueError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            raise ConversionError(
                f"`net` must be a network that PyTorch can export, got: {reason}"
            ) from error
    _check_model(program.model, opset_version)
    program.model.metadata_props[MEMORIES] = json.dumps(starts)
    path = Path(save_path).expanduser()
    if _is_large(net):
        program.save(path, external_data=True)  # weights in a second file, whose name stands in the first
    else:
        with beside(path) as temporary:
            program.save(temporary, external_data=False)
    return starts


class _Step(nn.Module):
    """A network as a function of its input and of those of its memories that it uses."""

    def __init__(self, net: nn.Module, names: list[str]):
        super().__init__()
        self.net = net
        self.step = base.to_functional_forward(net)
        self.used = [name in names for name, _ in base.named_memories(net)]

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        given = iter(states)
        with recomputing():
            outputs, after = self.step((x,), tuple(next(given) if used else None for used in self.used))
        return (*outputs, *(one for one, used in zip(after, self.used, strict=True) if used))


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingPackageError(
            "ONNX models need the packages onnx and onnxscript, which are not installed: pip install "
            "'spikeloom[onnx]', or pip install onnx onnxscript."
        ) from error


def _memories(net: nn.Module, x: list[Tensor]) -> tuple[list[str], dict[str, Start], list[Tensor], list[int]]:
    """Names of the memories; what they start from, for all and for each element of a batch of 2; which of
    their dimensions is the batch."""
    after = []
    for one in x:
        with torch.no_grad(), functional.fresh_state(net):
            net(one)
            after.append(dict(base.named_memories(net)))
    before = starts_of(net)
    unused = [
        name for name, one in before.items() if one is None and after[0][name] is after[1][name] is None
    ]
    names = [name for name in before if name not in unused]  # as the mask of dropout in evaluation
    starts: dict[str, Start] = {}
    states, batch = [], []
    for name in names:
        two, three = after[0][name], after[1][name]
        if not isinstance(two, Tensor):
            raise ConversionError(f"`net` must remember tensors, not {two!r} in its memory '{name}'.")
        differing = [
            dim for dim, sizes in enumerate(zip(two.shape, three.shape, strict=True)) if len({*sizes}) > 1
        ]
        if len(differing) != 1:
            raise ConversionError(f"`net` must remember something of each sample in its memory '{name}'.")
        start = 0.0 if before[name] is None else before[name]  # 0 is checked below, by what the network gives
        states.append(torch.as_tensor(start, dtype=two.dtype).expand_as(two).clone())
        one_for_each = isinstance(start, Tensor) and start.dim() > 0
        starts[name] = states[-1].select(differing[0], 0).tolist() if one_for_each else float(start)
        batch += differing
    return names, starts, states, batch


def _check_model(model: Any, opset_version: int | None) -> None:
    """Refuse a model that takes batches of one size only, or of another version than was asked for."""
    if isinstance(model.graph.inputs[0].shape[0], int):
        raise ConversionError(
            "`net` must take batches of any size, but works with the size that it was exported with. Write "
            "x.shape[0] for len(x), and no loop over samples."
        )
    if opset_version not in (None, found := model.opset_imports.get("")):
        raise ConversionError(
            f"`opset_version` must be one that the network can be written in, got {opset_version}. Try "
            f"{found}."
        )


def _check_step(net: nn.Module, step: _Step, names: list[str], x: Tensor, states: list[Tensor]) -> None:
    """Refuse a network that does something else when its memories are given to it."""
    with torch.no_grad():
        for one in (x, 2 * x, x):
            wanted = net(one)
            if not isinstance(wanted, Tensor):
                raise ConversionError(f"`net` must return one tensor, got a {type(wanted).__name__}.")
            got, *states = step(one, *states)
            if not torch.allclose(got, wanted, rtol=0, atol=0, equal_nan=True):
                raise ConversionError(
                    "`net` must depend on nothing but its input and its memories, but gives something else "
                    f"with the memories ({', '.join(names) or 'none'}) given to it. Look for random numbers, "
                    "as in an encoder, and for attributes that change with time."
                )


@contextmanager
def _quiet() -> Iterator[None]:
    """A block without PyTorch's notes on packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _is_large(net: nn.Module) -> bool:
    """Whether the weights do not fit into a file of 2 GiB, the most that one can have."""
    return sum(one.numel() * one.element_size() for one in net.parameters()) > 2**31 - 2**27
