"""Checkpoints: one safetensors file with a checksum, which opens without running any code.

Tensors are stored by name; everything else (numbers, strings, lists, the optimiser's settings) is JSON in
the file's header. The checkpoint before the last one is kept, and is used when the last one turns out to be
damaged.
"""

import contextlib
import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from spikeloom.errors import CheckpointError
from spikeloom.files import write_beside

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
_NEW = "new.safetensors"  # is left by a kill between the renames of :func:`save_last`


def save(path: Path, state: Any) -> None:
    """Write ``state``, a tree of dicts, lists, tuples, tensors, numbers, strings and ``None``, to ``path``.

    Raises:
        TypeError: the tree holds something else.
        OSError: the file cannot be written; an older one at ``path`` is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(state, tensors, "state"))
    metadata = {"state": text, "sha256": _checksum(tensors, text)}
    write_beside(path, safetensors.torch.save(tensors, metadata))


def load(path: Path) -> Any:
    """Read what :func:`save` wrote; tensors arrive on the CPU.

    Raises:
        CheckpointError: the file is missing, truncated, damaged, or no checkpoint of ours.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint {path}.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged or truncated ({error}).") from None
    text = metadata.get("state")
    if text is None or "sha256" not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint of Spikeloom's.")
    if _checksum(tensors, text) != metadata["sha256"]:
        raise CheckpointError(f"The checkpoint {path} is damaged: its content does not match its SHA-256.")
    try:
        return _unpack(json.loads(text), tensors)
    except (ValueError, TypeError, KeyError):
        raise CheckpointError(f"The checkpoint {path} holds what this version cannot read.") from None


def save_last(folder: Path, state: Any) -> None:
    """Save ``state`` as the last checkpoint of ``folder``, and keep the one before it."""
    new = folder / _NEW
    save(new, state)
    if (folder / LAST).exists():
        (folder / LAST).replace(folder / PREVIOUS)
    new.replace(folder / LAST)


def stamp(folder: Path) -> list[tuple[int, int, int]]:
    """What tells the checkpoints of a folder, but for the best one, from those of another time."""
    found = (path.stat() for path in _found(folder))
    return sorted((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def _found(folder: Path) -> list[Path]:
    """The checkpoints of a folder, but for the best one, from the newest on."""
    return [folder / name for name in (LAST, _NEW, PREVIOUS) if (folder / name).exists()]


def settle(folder: Path) -> None:
    """Finish a :func:`save_last` that was killed between its renames."""
    if (folder / _NEW).exists() and not (folder / LAST).exists():
        (folder / _NEW).replace(folder / LAST)


def load_last(folder: Path) -> Any | None:
    """The last good checkpoint of ``folder``, or ``None`` if there was none yet.

    Warns:
        UserWarning: the last one is damaged, and the one before it is used.
    Raises:
        CheckpointError: all that are there are damaged.
    """
    problems = []
    for path in _found(folder):
        try:
            state = load(path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if problems:
            which = "before" if path.name == PREVIOUS else "after"
            warnings.warn(f"{' '.join(problems)} Using the one {which} it, {path.name}.", stacklevel=2)
        return state
    if problems:
        with contextlib.suppress(CheckpointError):
            load(folder / BEST)
            problems.append(f"The best one is whole: `spikeloom test {folder.parent} --checkpoint best`.")
        raise CheckpointError(f"{' '.join(problems)} Start the training again, in a new run folder.")
    return None


def _pack(value: Any, tensors: dict[str, Tensor], path: str) -> Any:
    """``value`` as JSON; tensors move to ``tensors`` and leave their name, containers are tagged lists."""
    if isinstance(value, Tensor):
        name = f"{len(tensors)}:{path}"  # "a/b" may be a key, or b in a
        tensors[name] = value.detach().cpu().contiguous().clone()
        return ["tensor", name]
    if isinstance(value, dict):
        pairs = value.items()
        return ["dict", [[_pack(a, tensors, path), _pack(b, tensors, f"{path}/{a}")] for a, b in pairs]]
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [kind, [_pack(item, tensors, f"{path}/{index}") for index, item in enumerate(value)]]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"A checkpoint holds tensors, numbers, strings, lists and dicts, not {type(value).__name__} at "
        f"{path}."
    )


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_unpack(key, tensors): _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
