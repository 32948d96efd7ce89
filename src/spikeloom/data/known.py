"""Files whose content is known: by its SHA-256, whatever it was compressed with."""

import contextlib
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spikeloom.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
DELETE = "Delete it; it will be fetched again."
_ACCESS = "Make it readable, or name another data folder, by --data-dir or in SPIKELOOM_DATA."


class DamagedError(ValueError):
    """Content is not what it must be. The message says what was got; whoever knows the file says the rest."""


@dataclass(frozen=True)
class KnownFile:
    """What a file must hold.

    Args:
        name: file name without ``.gz``.
        size: number of bytes, unpacked.
        sha256: checksum of the unpacked bytes, in hexadecimal digits.
    """

    name: str
    size: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes (unpacked) with SHA-256 {self.sha256}"

    def verified(self, raw: bytes) -> bytes:
        """The unpacked content of ``raw``, which may be gzip; :class:`DamagedError` if it is not ours."""
        content = unzipped(raw, self.size)
        found = hashlib.sha256(content).hexdigest()
        if len(content) > self.size:
            raise DamagedError(f"more than {self.size:,} bytes{_kind(content)}")
        if found != self.sha256:
            raise DamagedError(f"{len(content):,} bytes with SHA-256 {found}{_kind(content)}")
        return content

    def read(self, path: Path) -> bytes:
        """The unpacked content of the file at ``path``.

        Raises:
            DataError: the file cannot be read, or holds something else.
        """
        raw = read_raw(path)
        try:
            return self.verified(raw)
        except DamagedError as error:
            raise DataError(f"{path} is damaged: it must hold {self}, got {error}. {DELETE}") from None


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """A block in which not being allowed to read, or even to look at ``path``, is a :class:`DataError`."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}. {_ACCESS}") from error


def read_raw(path: Path) -> bytes:
    """The bytes of a file as they are on disk."""
    with readable(path):
        return path.read_bytes()


def is_file(path: Path) -> bool:
    """Whether there is a file at ``path``."""
    with readable(path):
        return path.is_file()


def unzipped(raw: bytes, limit: int = -1) -> bytes:
    """``raw``, unpacked if it is gzip, to at most ``limit + 1`` bytes: no archive can fill the memory."""
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            return file.read(limit + 1 if limit >= 0 else -1)
    except (EOFError, OSError, zlib.error) as error:
        raise DamagedError(f"a broken gzip file of {len(raw):,} bytes ({error})") from None


def _kind(content: bytes) -> str:
    """What the content seems to be, for the usual accidents."""
    start = content[:256].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return ": a web page, such as an error or login page, instead of data"
    if start.startswith(b"version https://git-lfs"):
        return ": a Git LFS pointer instead of data"
    return ": an empty file" if not content else ""
