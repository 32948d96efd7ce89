import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.recordings import random_events
from spikeloom.data import (
    POLARITIES,
    Events,
    event_histogram,
    frames_by_duration,
    frames_by_number,
    frames_by_time,
)

OFF, ON = POLARITIES.index("off"), POLARITIES.index("on")
SENSOR = (2, 3)
# Seven events of a sensor of 2 x 3 pixels: x, y, polarity, t.
ROWS = [
    (0, 0, 1, 10),
    (0, 0, 1, 11),
    (2, 1, 0, 30),
    (2, 0, 1, 30),
    (0, 0, 0, 31),
    (1, 1, 1, 60),
    (1, 1, 1, 70),
]
WORKED = Events(*map(list, zip(*ROWS, strict=True)), SENSOR)
EMPTY = Events([], [], [], [], SENSOR)
ONE = Events([1], [1], [1], [1000], SENSOR)


def frames_of(*frames):
    """Frames in which each entry (channel, y, x) counts one event."""
    result = torch.zeros(len(frames), 2, *SENSOR)
    for t, places in enumerate(frames):
        for channel, y, x in places:
            result[t, channel, y, x] += 1
    return result


def test_channel_1_is_on():
    assert POLARITIES == ("off", "on")
    assert (OFF, ON) == (0, 1)
    assert event_histogram(ONE).tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 1, 0]]]


def test_by_number_worked_by_hand():
    # 7 events in 3 frames: two, two, and the last two with the one left over
    expected = frames_of(
        [(ON, 0, 0), (ON, 0, 0)], [(OFF, 1, 2), (ON, 0, 2)], [(OFF, 0, 0), (ON, 1, 1), (ON, 1, 1)]
    )
    frames = frames_by_number(WORKED, 3)
    assert frames.dtype == torch.float32
    assert torch.equal(frames, expected)
    assert torch.equal(frames_by_number(WORKED, 3, clip=True), expected.clamp(max=1))


def test_by_time_worked_by_hand():
    # from 10 to 70 us in 3 frames of 20 us: 30 falls into the second one, 70 into the last one
    expected = frames_of(
        [(ON, 0, 0), (ON, 0, 0)], [(OFF, 1, 2), (ON, 0, 2), (OFF, 0, 0)], [(ON, 1, 1), (ON, 1, 1)]
    )
    assert torch.equal(frames_by_time(WORKED, 3), expected)
    assert torch.equal(frames_by_time(WORKED, 3, clip=True), expected.clamp(max=1))


def test_by_duration_worked_by_hand():
    # from 10 us on in frames of 20 us: 70 falls into a fourth one
    expected = frames_of(
        [(ON, 0, 0), (ON, 0, 0)], [(OFF, 1, 2), (ON, 0, 2), (OFF, 0, 0)], [(ON, 1, 1)], [(ON, 1, 1)]
    )
    assert torch.equal(frames_by_duration(WORKED, 20), expected)
    assert torch.equal(frames_by_duration(WORKED, 20, T=2, clip=True), expected[:2].clamp(max=1))
    padded = torch.cat([expected, torch.zeros(2, 2, *SENSOR)])
    assert torch.equal(frames_by_duration(WORKED, 20, T=6), padded)


def test_fewer_events_than_frames():
    frames = frames_by_number(WORKED, 9)
    assert frames.sum((1, 2, 3)).tolist() == [1] * 7 + [0, 0]
    assert torch.equal(frames[:7], frames_by_number(WORKED, 7))
    assert frames_by_time(ONE, 4).sum((1, 2, 3)).tolist() == [1, 0, 0, 0]
    assert frames_by_time(WORKED, 1000).sum() == 7


def test_an_empty_recording_has_empty_frames():
    for frames in (frames_by_number(EMPTY, 4), frames_by_time(EMPTY, 4), frames_by_duration(EMPTY, 10, T=4)):
        assert torch.equal(frames, torch.zeros(4, 2, *SENSOR))
    assert frames_by_duration(EMPTY, 10).shape == (0, 2, *SENSOR)
    assert torch.equal(event_histogram(EMPTY), torch.zeros(2, *SENSOR))


def counted(events, T, frame_of):
    """Frames, event by event; ``frame_of`` says where one goes, by its position and its time."""
    frames = torch.zeros(T, 2, *events.sensor_size)
    for i in range(len(events)):
        frames[frame_of(i, int(events.t[i])), int(events.polarity[i]), events.y[i], events.x[i]] += 1
    return frames


@given(
    num_events=st.integers(1, 300),
    T=st.integers(1, 40),
    most_time=st.sampled_from([0, 1, 30, 1000, 2**40]),
    seed=st.integers(0, 99),
)
def test_frames_are_those_of_a_plain_loop(num_events, T, most_time, seed):
    events = random_events(num_events, (5, 7), most_time, seed)
    first, last = int(events.t[0]), int(events.t[-1])

    def by_number(i, t):
        return i if num_events < T else min(i // (num_events // T), T - 1)

    def by_time(i, t):  # the last frame that begins at t or before; compared in integers
        return max(f for f in range(T) if (t - first) * T >= f * (last - first)) if last > first else 0

    duration = max((last - first) // T, 1)
    num_frames = (last - first) // duration + 1
    assert torch.equal(frames_by_number(events, T), counted(events, T, by_number))
    assert torch.equal(frames_by_time(events, T), counted(events, T, by_time))
    assert torch.equal(
        frames_by_duration(events, duration),
        counted(events, num_frames, lambda i, t: (t - first) // duration),
    )


@given(num_events=st.integers(0, 300), T=st.integers(1, 40), seed=st.integers(0, 99))
def test_no_event_is_lost(num_events, T, seed):
    events = random_events(num_events, (5, 7), 10_000, seed)
    histogram = event_histogram(events)
    assert histogram[ON].sum() == events.polarity.sum()
    for frames in (frames_by_number(events, T), frames_by_time(events, T), frames_by_duration(events, 77)):
        assert torch.equal(frames.sum(0), histogram)
        assert frames.dtype == torch.float32


def test_frames_of_one_length_hold_one_number_of_events():
    events = random_events(1000, (5, 7), 10_000)
    assert frames_by_number(events, 30).sum((1, 2, 3)).tolist() == [33] * 29 + [43]


@pytest.mark.parametrize("T", [0, -1, 2.0, True, None])
def test_the_number_of_frames_is_a_positive_integer(T):
    for split in (frames_by_number, frames_by_time):
        with pytest.raises((TypeError, ValueError), match=r"`T` must be (an integer|at least 1)"):
            split(WORKED, T)
    if T is not None:
        with pytest.raises((TypeError, ValueError), match=r"`T` must be (an integer|at least 1)"):
            frames_by_duration(WORKED, 10, T)


@pytest.mark.parametrize("duration", [0, -5, 0.001, np.nan])
def test_a_duration_is_whole_microseconds(duration):
    with pytest.raises((TypeError, ValueError), match=r"`duration` must be (an integer|at least 1)"):
        frames_by_duration(WORKED, duration)
