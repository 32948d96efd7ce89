"""The binary format of N-MNIST and N-Caltech101, as their ATIS camera was recorded: five bytes an event."""

import os
from pathlib import Path

import numpy as np

from spikeloom.data.events import Events
from spikeloom.data.known import read_raw
from spikeloom.errors import DataError

NMNIST_SENSOR = (34, 34)  # height and width in pixels
_EVENT = 5  # bytes
_OVERFLOW_ROW = 240  # the ATIS has rows 0..239; this one marks that the clock overflowed
_OVERFLOW = 1 << 13  # microseconds that an overflow adds


def read_atis(path: str | os.PathLike[str], sensor_size: tuple[int, int] = NMNIST_SENSOR) -> Events:
    """The events of a recording in the binary format of N-MNIST and N-Caltech101.

    An event is a byte x, a byte y, one bit polarity (1 is ON) and 23 bits time in microseconds, the highest
    first. One with y = 240 is no event but says that the clock overflowed: it is left out, and all that
    follow are 8,192 us later. So the authors' Python reader has it; their MATLAB reader knows no overflow.
    The two agree on N-MNIST as far as we saw: none of 1,000 recordings has one.

    Args:
        path: the ``.bin`` file.
        sensor_size: ``(height, width)`` in pixels, at most (240, 256); by default N-MNIST's.
    Raises:
        DataError: the file cannot be read, is empty, does not consist of whole events, has an event outside
            the sensor, or its time runs backwards.
        ValueError: ``sensor_size`` is more than the format can hold.
    Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, Converting static image datasets to spiking
        neuromorphic datasets using saccades, Front. Neurosci. 9:437, 2015.
    """
    if not (1 <= sensor_size[0] <= _OVERFLOW_ROW and 1 <= sensor_size[1] <= 256):
        raise ValueError(f"`sensor_size` must be (height, width) up to (240, 256), got {sensor_size}.")
    content = read_raw(Path(path))
    if not content or len(content) % _EVENT:
        raise DataError(
            f"{path} must consist of events of {_EVENT} bytes, got {len(content):,} bytes. "
            "It is damaged or no such recording; get it again."
        )
    raw = np.frombuffer(content, np.uint8).reshape(-1, _EVENT).astype(np.int64)  # [N, bytes]
    x, y, high, middle, low = raw.T
    overflow = y == _OVERFLOW_ROW
    t = ((high & 0x7F) << 16 | middle << 8 | low) + _OVERFLOW * overflow.cumsum()
    kept = ~overflow
    if not kept.any():
        raise DataError(f"{path} must hold events, got only {len(raw)} overflows of the clock. Get it again.")
    try:
        return Events(x[kept], y[kept], high[kept] >> 7, t[kept], sensor_size)
    except ValueError as error:
        height, width = sensor_size
        raise DataError(
            f"{path} is no recording of a {height} x {width} sensor: {error} "
            "It is damaged, or `sensor_size` is another."
        ) from None
