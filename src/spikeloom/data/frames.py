"""Events to frames: how many fell on each pixel in each of T time steps, OFF and ON apart."""

import numpy as np
import torch
from torch import Tensor

from spikeloom.checks import checked_count
from spikeloom.data.events import Events

POLARITIES = ("off", "on")
"""The channels of every frame: channel 0 counts OFF events, channel 1 ON events."""


def frames_by_number(events: Events, T: int, clip: bool = False) -> Tensor:
    """T frames of the same number of events.

    Of N events, each frame counts the next ``N // T``, and the last one also the ``N % T`` that are left
    over. With fewer events than frames, the first N frames count one each and the others stay empty. So all
    frames of an empty recording are empty.

    Args:
        events: the recording.
        T: number of frames, at least 1.
        clip: whether a frame says 1 where any event fell, a spike, instead of how many did.
    Shape:
        ``float32 [T, 2, H, W]``; channel 0 is OFF, channel 1 is ON.
    Raises:
        TypeError, ValueError: ``T`` is no positive integer.
    Differs from: SpikingJelly's ``split_by='number'`` only for N < T, where that puts all events into the
        last frame.
    Example:
        >>> events = Events(x=[0, 1, 1, 1, 0], y=[0] * 5, polarity=[1, 1, 1, 1, 0], t=[0, 1, 2, 80, 90],
        ...                 sensor_size=(1, 2))
        >>> frames_by_number(events, T=2)[:, :, 0].tolist()  # two events, and three
        [[[0.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 2.0]]]
    """
    return _as_frames(events, split_by_number(events, T), T, clip)


def frames_by_time(events: Events, T: int, clip: bool = False) -> Tensor:
    """T frames of the same length, which together last from the first event to the last.

    Each begins where the one before ends, and holds what falls on its begin but not on its end; the last
    one also holds the last event. Frames may be empty. Where all events share one moment, the first frame
    holds them; all frames of an empty recording are empty.

    Args:
        events: the recording.
        T: number of frames, at least 1.
        clip: whether a frame says 1 where any event fell, a spike, instead of how many did.
    Shape:
        ``float32 [T, 2, H, W]``; channel 0 is OFF, channel 1 is ON.
    Raises:
        TypeError, ValueError: ``T`` is no positive integer.
    Differs from: SpikingJelly's ``split_by='time'``, which rounds the length down to whole microseconds, so
        that its last frame lasts up to T - 1 us longer, and which fails if a frame is empty.
    Example:
        >>> events = Events(x=[0, 1, 1, 1, 0], y=[0] * 5, polarity=[1, 1, 1, 1, 0], t=[0, 1, 2, 80, 90],
        ...                 sensor_size=(1, 2))
        >>> frames_by_time(events, T=2)[:, :, 0].tolist()  # 0 to 45 us, 45 to 90 us
        [[[0.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]]
    """
    return _as_frames(events, split_by_time(events, T), T, clip)


def frames_by_duration(events: Events, duration: int, T: int | None = None, clip: bool = False) -> Tensor:
    """Frames of a given length, from the first event on.

    Frame i holds what happens from ``i * duration`` until before ``(i + 1) * duration`` microseconds after
    the first event. Frames may be empty.

    Args:
        events: the recording.
        duration: of a frame, in microseconds; a whole number, at least 1.
        T: number of frames: later events are left out, frames after the last event are empty. ``None`` takes
            as many as hold all events, the last of which may end after the recording; none if it is empty.
        clip: whether a frame says 1 where any event fell, a spike, instead of how many did.
    Shape:
        ``float32 [T, 2, H, W]``; channel 0 is OFF, channel 1 is ON.
    Raises:
        TypeError, ValueError: ``duration`` or ``T`` is no positive integer.
    Differs from: SpikingJelly's ``integrate_events_by_fixed_duration``, whose frames begin with the first
        event after the frame before, so that pauses are skipped.
    Example:
        >>> events = Events(x=[0, 1, 1], y=[0] * 3, polarity=[1, 1, 0], t=[7, 8, 36], sensor_size=(1, 2))
        >>> frames_by_duration(events, duration=10)[:, :, 0].tolist()  # from 7, 17 and 27 us on
        [[[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]]
    """
    checked_count("duration", duration)
    frame = (events.t - events.t[:1]) // duration  # [N]
    if T is None:
        T = int(frame[-1]) + 1 if len(frame) else 0
    else:
        checked_count("T", T)
    return _as_frames(events, frame, T, clip)


def event_histogram(events: Events) -> Tensor:
    """How many events each pixel saw in the whole recording.

    Shape:
        ``float32 [2, H, W]``; channel 0 is OFF, channel 1 is ON.
    Example:
        >>> events = Events(x=[0, 1, 1], y=[0] * 3, polarity=[1, 1, 1], t=[7, 8, 36], sensor_size=(1, 2))
        >>> event_histogram(events).tolist()
        [[[0.0, 0.0]], [[1.0, 2.0]]]
    """
    return frames_by_number(events, 1)[0]


def split_by_number(events: Events, T: int) -> np.ndarray:
    """The frame of each event, ``[N]``; see :func:`frames_by_number`."""
    checked_count("T", T)
    position = np.arange(len(events))
    return np.minimum(position // max(len(events) // T, 1), T - 1)


def split_by_time(events: Events, T: int) -> np.ndarray:
    """The frame of each event, ``[N]``; see :func:`frames_by_time`. In integers, so exact."""
    checked_count("T", T)
    return np.minimum((events.t - events.t[:1]) * T // max(events.duration, 1), T - 1)


def count_events(events: Events, frame: np.ndarray, T: int) -> np.ndarray:
    """Events of each frame, polarity and pixel, ``int64 [T, 2, H, W]``, without those whose frame is not
    below T."""
    height, width = events.sensor_size
    place = ((frame * 2 + events.polarity) * height + events.y) * width + events.x  # [N]
    shape = (T, 2, height, width)
    size = T * 2 * height * width
    return np.bincount(place[frame < T], minlength=size).reshape(shape)


def _as_frames(events: Events, frame: np.ndarray, T: int, clip: bool) -> Tensor:
    counts = count_events(events, frame, T)
    return torch.from_numpy(np.minimum(counts, 1) if clip else counts).float()
