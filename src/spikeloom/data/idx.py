"""The idx format of MNIST and its kin: a big-endian header, then the bytes of an array."""

import math
import os
import struct
from pathlib import Path

import torch
from torch import Tensor

from spikeloom.data.known import DamagedError, read_raw, unzipped
from spikeloom.errors import DataError

_UNSIGNED_BYTES = 8
_CURE = "Delete it and get it again."


def read_idx(path: str | os.PathLike[str]) -> Tensor:
    """The array in an idx file of unsigned bytes, packed with gzip or not.

    Shape:
        ``uint8``, as the header says: ``[N]`` for labels, ``[N, H, W]`` for images.
    Raises:
        DataError: the file cannot be read, is no idx file, or is longer or shorter than its header says.
    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """
    path = Path(path)
    raw = read_raw(path)
    try:
        return parse_idx(unzipped(raw))
    except DamagedError as error:
        raise DataError(f"{path} must be an idx file of unsigned bytes, got {error}. {_CURE}") from None


def read_labelled_idx(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], num_classes: int
) -> tuple[Tensor, Tensor]:
    """Images and labels from a pair of idx files, for sets in MNIST's format.

    Shape:
        images ``uint8 [N, 1, H, W]``, labels ``int64 [N]``.
    Raises:
        DataError: a file is damaged, the two do not belong together, or a label is not below ``num_classes``.
    """
    return labelled(read_idx(images), read_idx(labels), num_classes, f"{images} and {labels}")


def parse_idx(content: bytes) -> Tensor:
    """The array in the content of an idx file; raises :class:`DamagedError` if it is none."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[3] == 0:
        raise DamagedError(
            f"{len(content):,} bytes that begin with {content[:4]!r}, not with idx's magic number"
        )
    if content[2] != _UNSIGNED_BYTES:
        raise DamagedError(f"an idx file of element type {content[2]:#04x}, not {_UNSIGNED_BYTES:#04x}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DamagedError(f"{len(content):,} bytes, which end within the header")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) != start + math.prod(shape):
        raise DamagedError(
            f"{len(content):,} bytes, while its header says {list(shape)}: {start + math.prod(shape):,} bytes"
        )
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[start:].reshape(shape)


def labelled(images: Tensor, labels: Tensor, num_classes: int, where: str) -> tuple[Tensor, Tensor]:
    """Images ``[N, 1, H, W]`` and labels of two idx files, after checking that they belong together."""
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise DataError(
            f"{where} must hold images [N, H, W] and as many labels [N], got {list(images.shape)} and "
            f"{list(labels.shape)}. Take both files from the same set."
        )
    if len(labels) and int(labels.max()) >= num_classes:
        raise DataError(
            f"{where}: labels must lie in 0..{num_classes - 1}, got {int(labels.max())}. "
            "Take both files from the same set, and check the number of classes."
        )
    return images[:, None], labels.long()
