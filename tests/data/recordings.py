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
