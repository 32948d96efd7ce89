"""Recordings of an event camera, written by hand."""

import numpy as np

from spikeloom.data import Events


def atis(*events):
    """The content of an ATIS file of events (x, y, polarity, t); t in microseconds, below 2^23."""
    return b"".join(
        bytes([x, y, polarity << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF]) for x, y, polarity, t in events
    )


def random_events(num_events, sensor_size, most_time, seed=0):
    """Events at random places and times."""
    generator = np.random.default_rng(seed)
    height, width = sensor_size
    return Events(
        generator.integers(width, size=num_events),
        generator.integers(height, size=num_events),
        generator.integers(2, size=num_events),
        np.sort(generator.integers(most_time + 1, size=num_events)),
        sensor_size,
    )


def aedat_2(*events, header=b"#!AER-DAT2.0\r\n# made by hand\r\n"):
    """An AEDAT 2.0 file of a DVS128, of events (x, y, polarity, t) as their frame has them."""
    words = [((127 - y) << 8 | (127 - x) << 1 | (1 - polarity), t) for x, y, polarity, t in events]
    return header + np.array(words, ">i4").reshape(-1, 2).tobytes()


def aedat_3(*packets, header=b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"):
    """An AEDAT 3.1 file of packets, as of :func:`packet`."""
    return header + b"".join(packets)


def packet(*events, kind=1, overflow=0, valid=1, size=8):
    """A packet of events (x, y, polarity, t)."""
    head = np.array([kind, 0], "<i2").tobytes()
    head += np.array([size, 4, overflow, len(events), len(events), len(events)], "<i4").tobytes()
    words = [(x << 17 | y << 2 | polarity << 1 | valid, t) for x, y, polarity, t in events]
    return head + np.array(words, "<u4").reshape(-1, 2).tobytes()
