"""Where data files are looked for."""

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path

from spikeloom.data.catalogue import DataFolder
from spikeloom.data.download import NoMirrorError, download
from spikeloom.data.known import DamagedError, KnownFile, is_file, read_raw, unzipped
from spikeloom.errors import DataError


def data_folder(data_dir: DataFolder = None) -> Path:
    """The folder that datasets are found in and downloaded to.

    It is ``data_dir`` if given, else what the environment variable ``SPIKELOOM_DATA`` names, else a folder of
    the user (``~/.cache/spikeloom`` on Linux). It need not exist yet.

    Example:
        >>> data_folder("datasets").name
        'datasets'
    """
    chosen = data_dir if data_dir is not None else os.environ.get("SPIKELOOM_DATA")
    if not chosen:
        import pooch  # takes 0.1 s to import

        chosen = pooch.os_cache("spikeloom")
    try:
        return Path(chosen).expanduser()
    except (TypeError, ValueError, RuntimeError) as error:  # no path, or of a user that is not there
        raise DataError(f"`data_dir` must be the path of a folder, got {chosen!r}: {error}") from None


def locate(
    files: Iterable[KnownFile], folders: Sequence[Path], others: Collection[str] = ()
) -> dict[KnownFile, Path]:
    """Where each file is, unpacked or as ``.gz``; files that are nowhere are left out.

    Args:
        files: what to look for.
        folders: where to look, in this order; the last may hold another set's files under the same names.
        others: SHA-256 of those files, which are passed over there.
    """
    found = {}
    for file in files:
        names = (file.name, f"{file.name}.gz", file.name.replace("-idx", ".idx"))  # the last is usual, too
        candidates = (folder / name for folder in folders for name in names)
        for path in candidates:
            is_shared = bool(others) and path.parent == folders[-1]
            if is_file(path) and not (is_shared and _sha256(path, file.size) in others):
                found[file] = path
                break
    return found


def missing(
    dataset: str, files: Iterable[KnownFile], folders: Iterable[Path], tried: Iterable[str]
) -> DataError:
    """The error for files that are neither there nor to be had; ``tried`` says what the mirrors answered."""
    folders = list(folders)
    cure = "put its files there, or name the folder that has them with --data-dir or SPIKELOOM_DATA."
    return DataError(
        "\n  ".join(
            [
                f"The dataset '{dataset}' is not in {folders[0]}, and could not be downloaded: {cure}",
                "missing:",
                *(f"{file.name} or {file.name}.gz: {file}" for file in files),
                "looked in:",
                *map(str, folders),
                "tried:",
                *tried,
            ]
        )
    )


def _sha256(path: Path, size: int) -> str:
    try:
        return hashlib.sha256(unzipped(read_raw(path), size)).hexdigest()
    except DamagedError:
        return ""


def obtain(
    dataset: str,
    files: Sequence[KnownFile],
    folders: Sequence[Path],
    mirrors: Iterable[str],
    others: Collection[str] = (),
    suffix: str = "",
) -> dict[KnownFile, Path]:
    """Where the files of a dataset are, after downloading those that are missing to the first folder.

    Args:
        dataset: its name.
        files, folders, others: as for :func:`locate`.
        mirrors: addresses that the name of a file follows.
        suffix: of the names under which the files are got and kept.
    Raises:
        DataError: a file is missing and cannot be downloaded, or is damaged.
    """
    paths = locate(files, folders, others)
    for file in files:
        if file in paths:
            continue
        name = file.name + suffix
        path = folders[0] / name
        try:
            download(name, [mirror + name for mirror in mirrors], folders[0], partial(_keep, file, path))
        except NoMirrorError as error:
            absent = [file for file in files if file not in paths]
            raise missing(dataset, absent, folders, error.tried) from None
        paths[file] = path
    return paths


def _keep(file: KnownFile, path: Path, part: Path) -> None:
    file.verified(part.read_bytes())
    os.replace(part, path)
