"""AEDAT: the files of iniVation's event cameras, of versions 2.0 (jAER) and 3.1 (cAER)."""

import os
from pathlib import Path

import numpy as np

from spikeloom.data.events import Events
from spikeloom.data.known import read_raw
from spikeloom.errors import DataError

DVS128 = (128, 128)  # height and width in pixels
_EVENT = 8  # bytes of an event, in both versions
_HEADER = np.dtype(
    [
        ("type", "<i2"),
        ("source", "<i2"),
        ("size", "<i4"),  # bytes of an event
        ("time_offset", "<i4"),
        ("overflow", "<i4"),  # times that the clock of 31 bits overflowed before
        ("capacity", "<i4"),  # events that there is room for
        ("number", "<i4"),
        ("valid", "<i4"),
    ]
)  # of a packet of version 3.1
_POLARITY = 1  # the type of the packets that hold a change of brightness
_Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # x, y, polarity, t


def read_aedat(path: str | os.PathLike[str], sensor_size: tuple[int, int] = DVS128) -> Events:
    """The events of an AEDAT file, version 2.0 of a DVS128 camera, or version 3.1.

    DVS-Gesture is of version 3.1, CIFAR10-DVS of 2.0. Frames, measurements of motion, external signals and
    events that the camera marked as invalid are left out. Row 0 is the uppermost: version 2.0 counts rows
    from below and columns from the right, and 0 means ON there; its times have 32 bits and no sign. Events
    out of the order of time are sorted.

    Args:
        path: the file.
        sensor_size: ``(height, width)`` in pixels; of version 2.0 only (128, 128).
    Raises:
        DataError: the file cannot be read, is of another version or of none, breaks off in an event or a
            packet, or has an event outside the sensor.
        ValueError: ``sensor_size`` is another for a file of version 2.0.
    Source: iniVation, AEDAT file formats, docs.inivation.com; the orientation of version 2.0 is jAER's.
    """
    content = read_raw(Path(path))
    version, start = _header(content)
    if version == b"2.0":
        if tuple(sensor_size) != DVS128:
            raise ValueError(f"`sensor_size` must be {DVS128} for AEDAT 2.0, got {sensor_size}.")
        x, y, polarity, t = _events_2(content[start:], path)
    elif version == b"3.1":
        x, y, polarity, t = _events_3(content[start:], path)
    else:
        found = f"AEDAT {version.decode(errors='replace')}" if version else "no line #!AER-DAT at its begin"
        raise DataError(f"{path} must be AEDAT 2.0 or 3.1, got {found}. Convert it, or get it again.")
    if (t[1:] < t[:-1]).any():
        order = t.argsort(kind="stable")
        x, y, polarity, t = x[order], y[order], polarity[order], t[order]
    try:
        return Events(x, y, polarity, t, sensor_size)
    except ValueError as error:
        height, width = sensor_size
        raise DataError(
            f"{path} is no recording of a {height} x {width} sensor: {error} "
            "It is damaged, or of another camera."
        ) from None


def _header(content: bytes) -> tuple[bytes, int]:
    """The version of the format, empty if there is none, and where the events begin."""
    version, start = b"", 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start) + 1
        if not end:
            break
        line = content[start:end].strip()
        start = end
        if line.startswith(b"#!AER-DAT"):
            version = line[len(b"#!AER-DAT") :]
        elif line == b"#!END-HEADER":
            break
    return version, start


def _events_2(content: bytes, path: object) -> _Columns:
    """Pairs of an address and a time, big-endian: the DVS128 has the polarity in bit 0 of an address, the
    column in bits 1 to 7, the row in bits 8 to 14; a higher bit marks something else."""
    if len(content) % _EVENT:
        raise DataError(
            f"{path} must consist of events of {_EVENT} bytes after its header, got {len(content):,} bytes. "
            "It is damaged; get it again."
        )
    address, t = np.frombuffer(content, ">u4").reshape(-1, 2).T.astype(np.int64)
    kept = address >> 15 == 0
    address, t = address[kept], t[kept]
    last = DVS128[0] - 1
    return last - (address >> 1 & last), last - (address >> 8 & last), 1 - (address & 1), t


def _events_3(content: bytes, path: object) -> _Columns:
    """Packets, little-endian: a header, and as many events as its capacity says. A change of brightness has
    its validity in bit 0, the polarity in bit 1, the row in bits 2 to 16, the column in bits 17 to 31, then
    the lower 31 bits of its time."""
    data, t = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    start = 0
    while start < len(content):
        events = start + _HEADER.itemsize
        packet = np.frombuffer(content[start:events].ljust(_HEADER.itemsize, b"\0"), _HEADER)[0]
        start = events + int(packet["size"]) * int(packet["capacity"])
        is_polarity = packet["type"] == _POLARITY
        if not events <= start <= len(content) or (is_polarity and packet["size"] != _EVENT):
            raise DataError(f"{path} breaks off in a packet of events. It is damaged; get it again.")
        if is_polarity:
            words = np.frombuffer(content[events:start], "<u4").reshape(-1, 2)[: packet["number"]]
            data.append(words[:, 0].astype(np.int64))
            t.append(words[:, 1].astype(np.int64) + (int(packet["overflow"]) << 31))
    word, time = np.concatenate(data), np.concatenate(t)
    kept = word & 1 == 1
    word, time = word[kept], time[kept]
    return word >> 17, word >> 2 & 0x7FFF, word >> 1 & 1, time
