"""Downloads from several mirrors: to a temporary file beside the target, checked, then renamed. What a killed
one has left is removed a day later, by the next."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from spikeloom.data.known import DamagedError
from spikeloom.errors import DataError
from spikeloom.files import remove_unfinished, unfinished

_TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of data
_PIECE = 1 << 16  # bytes


class NoMirrorError(Exception):
    """No mirror delivered the file.

    Args:
        tried: one line for each mirror, its address and what went wrong.
    """

    def __init__(self, tried: list[str]):
        super().__init__(*tried)
        self.tried = tried


def download(name: str, urls: Iterable[str], folder: Path, keep: Callable[[Path], object]) -> None:
    """Fetch a file from the first of ``urls`` that delivers it undamaged.

    Args:
        name: what the progress bar calls the file.
        urls: mirrors, tried in this order.
        folder: where the temporary file goes; made if need be.
        keep: checks the temporary file, raises :class:`DamagedError` if it is wrong, and stores its content.
    Raises:
        NoMirrorError: no mirror delivered it.
        DataError: the folder cannot be written to, or the disk is full.
    """
    import requests  # pooch brings it; both take 0.15 s to import, and only downloads need them

    part = unfinished(folder / name)
    tried, missing = [], []
    try:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder, shared=True)
        for url in urls:
            try:
                _stream(url, part, name)
                keep(part)
                return
            except requests.RequestException as error:  # an OSError, so it comes first
                tried.append(f"{url}: {_reason(error)}")
            except DamagedError as error:
                tried.append(f"{url}: got {error}")
    except OSError as error:
        raise DataError(
            f"{name} cannot be written to {folder}: {error.strerror or error}. "
            "Make room or get write permission there, or name another data folder, by --data-dir or in "
            "SPIKELOOM_DATA."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    with contextlib.suppress(OSError):  # the path may have been mistyped
        for one in missing:
            one.rmdir()
    raise NoMirrorError(tried)


def _stream(url: str, path: Path, name: str) -> None:
    import pooch
    from tqdm import tqdm

    # `identity` keeps servers from packing or unpacking on the way; `disable=None` is for terminals only.
    with tqdm(total=1, desc=name, unit="B", unit_scale=True, disable=None, leave=False) as progress:
        fetch = pooch.HTTPDownloader(
            progressbar=progress,  # pyright: ignore[reportArgumentType] (typed bool, but documented to take bars)
            chunk_size=_PIECE,
            timeout=_TIMEOUT,
            headers={"Accept-Encoding": "identity"},
        )
        fetch(url, str(path), None)


def _reason(error: Exception) -> str:
    """A short text for what ``requests`` raised."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    cause = error.args[0] if error.args else error
    return f"{type(error).__name__}: {getattr(cause, 'reason', cause)}"
