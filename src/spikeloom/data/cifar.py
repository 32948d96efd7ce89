"""CIFAR-10 in its binary version: records of a label byte and a 32 by 32 colour image."""

import gzip
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.download import NoMirrorError, download
from spikeloom.data.folder import data_folder, locate, missing
from spikeloom.data.known import DELETE, DamagedError, KnownFile, is_file, read_raw
from spikeloom.errors import DataError
from spikeloom.files import remove_unfinished, write_beside

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_RECORD = 1 + 3 * 32 * 32  # bytes
_BATCH = 10_000 * _RECORD  # bytes
_FILES = (
    KnownFile("data_batch_1.bin", _BATCH, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
    KnownFile("data_batch_2.bin", _BATCH, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
    KnownFile("data_batch_3.bin", _BATCH, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
    KnownFile("data_batch_4.bin", _BATCH, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
    KnownFile("data_batch_5.bin", _BATCH, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    KnownFile("test_batch.bin", _BATCH, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
)
_ARCHIVE = "cifar-10-binary.tar.gz"
_FOLDER, _PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "https://cave.cs.toronto.edu/kriz/cifar-10-binary.tar.gz",
    "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-10-binary.tar.gz",
)


def cifar10(data_dir: DataFolder = None) -> Dataset:
    """CIFAR-10: small colour photographs, 50,000 to train on and 10,000 to test, ten classes.

    Args:
        data_dir: see :func:`data_folder`. The six ``.bin`` files are looked for in its
            ``cifar10/cifar-10-batches-bin/``, ``cifar-10-batches-bin/``, ``cifar10/`` and in itself. Else
            they are unpacked to the first of these from ``cifar-10-binary.tar.gz``, which is found in
            ``cifar10/`` or in itself, or downloaded (162 MiB).
    Shape:
        samples ``uint8 [N, 3, 32, 32]``, channels red, green, blue.
    Raises:
        DataError: files are missing and cannot be downloaded, or are damaged.
    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    paths = _obtain(data_folder(data_dir))
    batches = [_parse(file.read(paths[file]), paths[file]) for file in _FILES]
    train_x, train_y = (torch.cat(parts) for parts in zip(*batches[:-1], strict=True))
    return Dataset("cifar10", CLASSES, train_x, train_y, *batches[-1])


def read_cifar10_batch(path: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    """Images and labels of a file in CIFAR-10's binary format, of any number of records.

    Shape:
        images ``uint8 [N, 3, 32, 32]``, labels ``int64 [N]`` in 0..9.
    Raises:
        DataError: the file cannot be read, does not consist of whole records, or has a label above 9.
    """
    return _parse(read_raw(Path(path)), Path(path))


def _parse(content: bytes, path: Path) -> tuple[Tensor, Tensor]:
    if not content or len(content) % _RECORD:
        raise DataError(
            f"{path} must consist of records of {_RECORD:,} bytes, got {len(content):,} bytes. "
            "Delete it and get it again."
        )
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(-1, _RECORD)  # [N, 1 + C*H*W]
    labels = records[:, 0].long()
    if int(labels.max()) >= len(CLASSES):
        raise DataError(
            f"{path}: labels must lie in 0..{len(CLASSES) - 1}, got {int(labels.max())}. "
            "It is damaged, or no CIFAR-10 batch (CIFAR-100 has two labels in each record)."
        )
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def _obtain(root: Path) -> dict[KnownFile, Path]:
    """Where the files are, after unpacking or downloading the archive if some are missing."""
    home = root / "cifar10"
    folders = [home / _FOLDER, root / _FOLDER, home, root]
    paths = locate(_FILES, folders)
    if len(paths) == len(_FILES):
        return paths
    archive = next((path for path in (home / _ARCHIVE, root / _ARCHIVE) if is_file(path)), None)
    if archive:
        _unpack_found(archive, folders[0])
    else:
        try:
            download(_ARCHIVE, _MIRRORS, home, lambda part: _unpack(part, folders[0]))
        except NoMirrorError as error:
            absent = [file for file in _FILES if file not in paths]
            places = [*folders, home / _ARCHIVE, root / _ARCHIVE]
            tried = list(error.tried)
            if other := next((path for path in (home / _PYTHON, root / _PYTHON) if path.is_dir()), None):
                tried.append(f"{other} is the version for Python; the binary one is needed")
            raise missing("cifar10", absent, places, tried) from None
    return locate(_FILES, folders)


def _unpack_found(archive: Path, folder: Path) -> None:
    remove_unfinished(folder, shared=True)
    try:
        _unpack(archive, folder)
    except DamagedError as error:
        raise DataError(
            f"{archive} is damaged: it must hold CIFAR-10's six .bin files, got {error}. {DELETE}"
        ) from None
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked to {folder}: {error.strerror or error}. "
            "Make room or get write permission there, or unpack it by hand."
        ) from error


def _unpack(archive: Path, folder: Path) -> None:
    """Write the six known members of the archive, each checked first; no path or link in it is followed."""
    wanted = {file.name: file for file in _FILES}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                file = wanted.get(PurePosixPath(member.name).name)
                if file is None or not member.isreg():
                    continue
                if member.size != file.size:
                    raise DamagedError(f"{file.name} of {member.size:,} bytes in it, not {file.size:,}")
                stream = tar.extractfile(member)
                assert stream is not None, "a regular member has content"
                folder.mkdir(parents=True, exist_ok=True)
                write_beside(folder / file.name, _member(file, stream.read()))
                del wanted[file.name]
                if not wanted:
                    return
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedError(f"a broken tar.gz archive ({error})") from None
    raise DamagedError(f"an archive without {', '.join(wanted)}")


def _member(file: KnownFile, content: bytes) -> bytes:
    try:
        return file.verified(content)
    except DamagedError as error:
        raise DamagedError(f"{file.name} in it with {error}") from None


DATASETS.register("cifar10")(lambda data_dir, seed: cifar10(data_dir))
