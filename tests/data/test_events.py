import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.recordings import atis, random_events
from spikeloom.data import Events, read_atis
from spikeloom.errors import DataError

GOOD = {"x": [0, 2, 1], "y": [1, 0, 0], "polarity": [1, 0, 1], "t": [5, 5, 90], "sensor_size": (2, 3)}


def test_arrays_are_copies_of_one_type():
    x = np.array([0, 2, 1], np.uint8)
    events = Events(**(GOOD | {"x": x, "polarity": np.array([True, False, True])}))
    x[:] = 99
    assert events.x.tolist() == [0, 2, 1]
    assert [array.dtype for array in (events.x, events.y, events.polarity, events.t)] == [
        np.int64, np.int64, bool, np.int64,
    ]  # fmt: skip
    assert (len(events), events.duration) == (3, 85)


def test_a_recording_may_be_empty():
    events = Events([], [], [], [], (2, 3))
    assert (len(events), events.duration) == (0, 0)
    assert repr(events) == "Events(0 events of a 2 x 3 sensor within 0 us, 0 ON and 0 OFF)"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": [0, 3, 1]}, "`x` must lie in 0..2, got 3 at event 1"),
        ({"x": [0, -1, 1]}, "`x` must lie in 0..2, got -1 at event 1"),
        ({"y": [0, 0, 2]}, "`y` must lie in 0..1, got 2 at event 2"),
        ({"polarity": [-1, 1, 1]}, "`polarity` must lie in 0..1, got -1 at event 0"),
        ({"t": [0, 9, 5]}, "`t` must not decrease, got 5 us after 9 us at event 2"),
        ({"t": [-1, 9, 9]}, "`t` must be at least 0, got -1 at event 0"),
        ({"t": [0.0, 0.1, 0.2]}, "`t` must be integers [N], got float64 [3]"),
        ({"t": [[0, 1, 2]]}, "`t` must be integers [N], got int64 [1, 3]"),
        ({"t": [0, 1]}, "must have one length, got [3, 3, 3, 2]"),
        ({"sensor_size": (0, 3)}, "`sensor_size` must be (height, width) of at least 1, got (0, 3)"),
    ],
)
def test_events_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Events(**(GOOD | changed))


def test_the_five_bytes_of_an_event(tmp_path):
    path = tmp_path / "one.bin"
    # x 33, y 2, then 1 0000001 00000010 00000011: ON, at 65536 + 512 + 3 us
    path.write_bytes(bytes([7, 0, 0b0000_0001, 2, 2]) + bytes([33, 2, 0b1000_0001, 2, 3]))
    events = read_atis(path)
    assert events.x.tolist() == [7, 33]
    assert events.y.tolist() == [0, 2]
    assert events.polarity.tolist() == [False, True]
    assert events.t.tolist() == [66050, 66051]
    assert events.sensor_size == (34, 34)


def test_the_largest_time_and_sensor(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(atis((255, 239, 1, 2**23 - 1)))
    events = read_atis(str(path), sensor_size=(240, 256))
    assert (events.x[0], events.y[0], events.t[0]) == (255, 239, 8_388_607)
    for size in ((241, 256), (240, 257), (0, 1)):
        with pytest.raises(ValueError, match=r"`sensor_size` must be \(height, width\) up to \(240, 256\)"):
            read_atis(path, sensor_size=size)


def test_overflows_of_the_clock_move_what_follows(tmp_path):
    path = tmp_path / "overflow.bin"
    path.write_bytes(
        atis((1, 1, 0, 8000), (0, 240, 0, 0), (2, 2, 1, 10), (0, 240, 1, 0), (0, 240, 0, 0), (3, 3, 1, 0))
    )
    events = read_atis(path)
    assert events.t.tolist() == [8000, 10 + 8192, 3 * 8192]
    assert events.x.tolist() == [1, 2, 3]


def read_one_by_one(content):
    """The format, event by event."""
    events, late = [], 0
    for start in range(0, len(content), 5):
        x, y, high, middle, low = content[start : start + 5]
        if y == 240:
            late += 2**13
        else:
            events.append((x, y, high >= 128, (high % 128) * 65536 + middle * 256 + low + late))
    return events


@given(num_events=st.integers(1, 200), num_overflows=st.integers(0, 5), seed=st.integers(0, 99))
def test_it_reads_as_a_plain_loop_does(tmp_path_factory, num_events, num_overflows, seed):
    events = random_events(num_events, (34, 34), 300_000, seed)
    rows = list(zip(events.x, events.y, events.polarity, events.t, strict=True))
    for place in np.random.default_rng(seed).integers(num_events, size=num_overflows):
        rows.insert(place, (0, 240, 0, 0))
    content = atis(*((int(x), int(y), int(p), int(t)) for x, y, p, t in rows))
    path = tmp_path_factory.mktemp("atis") / "random.bin"
    path.write_bytes(content)
    got = read_atis(path)
    assert list(zip(got.x, got.y, got.polarity, got.t, strict=True)) == read_one_by_one(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must consist of events of 5 bytes, got 0 bytes. It is damaged"),
        (atis((1, 1, 1, 1)) + b"abc", "must consist of events of 5 bytes, got 8 bytes"),
        (atis((1, 1, 1, 1), (34, 1, 1, 2)), "34 x 34 sensor: `x` must lie in 0..33, got 34 at event 1"),
        (atis((1, 1, 1, 1), (1, 239, 1, 2)), "34 x 34 sensor: `y` must lie in 0..33, got 239 at event 1"),
        (atis((1, 1, 1, 9), (1, 1, 1, 2)), "`t` must not decrease, got 2 us after 9 us at event 1. It is"),
        (atis((1, 240, 1, 9)), "must hold events, got only 1 overflows"),
        (b"<!DOCTYPE html><html>....", "`x` must lie in 0..33, got 60 at event 0"),
    ],
)
def test_what_is_no_recording_is_named_with_its_path(tmp_path, content, message):
    path = tmp_path / "wrong.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_atis(path)
    assert str(path) in str(error.value)


def test_what_cannot_be_read_is_a_data_error(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"nowhere.bin cannot be read: No such file"):
        read_atis(tmp_path / "nowhere.bin")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied. Make it readable"):
        read_atis(tmp_path / "closed.bin")


def test_a_part_of_a_recording():
    events = Events([0, 1, 2, 3], [0] * 4, [0, 1, 0, 1], [10, 20, 20, 30], (1, 4))
    part = events.between(20, 30)
    assert (part.x.tolist(), part.polarity.tolist(), part.t.tolist()) == ([1, 2], [True, False], [20, 20])
    assert part.sensor_size == (1, 4)
    assert [len(events.between(*cut)) for cut in ((0, 99), (10, 10), (31, 99), (30, 10))] == [4, 0, 0, 0]
    with pytest.raises(TypeError, match="`end` must be a number, got '30'"):
        events.between(20, "30")
