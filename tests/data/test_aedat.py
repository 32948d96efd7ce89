import numpy as np
import pytest

from data.recordings import aedat_2, aedat_3, packet
from spikeloom.data import read_aedat
from spikeloom.errors import DataError

EVENTS = [(0, 0, 1, 5), (127, 0, 0, 5), (3, 100, 1, 90), (64, 127, 0, 2**31 - 1)]  # x, y, polarity, t


def read(tmp_path, content, **settings):
    path = tmp_path / "recording.aedat"
    path.write_bytes(content)
    events = read_aedat(path, **settings)
    columns = (events.x, events.y, events.polarity, events.t)
    return [tuple(map(int, event)) for event in zip(*columns, strict=True)]


def test_events_of_both_versions_come_back(tmp_path):
    assert read(tmp_path, aedat_2(*EVENTS)) == EVENTS
    assert read(tmp_path, aedat_3(packet(*EVENTS[:1]), packet(*EVENTS[1:]))) == EVENTS


def test_the_bits_of_version_2():
    """As jAER reads an address of a DVS128: columns from the right, rows from below, 0 is ON."""
    address = np.frombuffer(aedat_2((127, 127, 1, 7), (126, 125, 0, 8), header=b""), ">u4")
    assert address.tolist() == [0, 7, 2 << 8 | 1 << 1 | 1, 8]


def test_the_bits_of_version_3():
    words = np.frombuffer(packet((1, 2, 1, 7)), "<u4")
    assert words.tolist() == [1, 8, 4, 0, 1, 1, 1, 1 << 17 | 2 << 2 | 1 << 1 | 1, 7]


def test_what_is_no_change_of_brightness_is_left_out(tmp_path):
    signal = np.array([[1 << 15, 6], [-(2**31), 7]], ">i4").tobytes()
    assert read(tmp_path, aedat_2(*EVENTS[:1]) + signal) == EVENTS[:1]
    motion, invalid = packet((9, 9, 1, 1), kind=3), packet((9, 9, 1, 1), valid=0)
    assert read(tmp_path, aedat_3(motion, packet(*EVENTS), invalid)) == EVENTS


def test_the_clock_of_version_3_overflows(tmp_path):
    content = aedat_3(packet((1, 1, 1, 2**31 - 1)), packet((1, 1, 1, 3), overflow=1))
    assert [t for *_, t in read(tmp_path, content)] == [2**31 - 1, 2**31 + 3]


def test_the_clock_of_version_2_has_no_sign(tmp_path):
    content = aedat_2((1, 1, 1, 2**31 - 1)) + np.array([0, 2**31], ">u4").tobytes()
    assert read(tmp_path, content, sensor_size=[128, 128]) == [(1, 1, 1, 2**31 - 1), (127, 127, 1, 2**31)]


def test_events_out_of_order_are_sorted(tmp_path):
    late = [(1, 1, 1, 9), (2, 2, 0, 4), (3, 3, 1, 9), (4, 4, 1, 4)]
    in_order = [late[1], late[3], late[0], late[2]]  # those of one moment as they came
    assert read(tmp_path, aedat_2(*late)) == in_order
    assert read(tmp_path, aedat_3(packet(*late[:2]), packet(*late[2:]))) == in_order


def test_recordings_without_events(tmp_path):
    assert read(tmp_path, aedat_2()) == []
    assert read(tmp_path, aedat_3()) == []


def test_another_sensor(tmp_path):
    wide = [(345, 259, 1, 1)]
    assert read(tmp_path, aedat_3(packet(*wide)), sensor_size=(260, 346)) == wide
    with pytest.raises(
        DataError, match=r"no recording of a 128 x 128 sensor: `x` must lie in 0..127, got 345"
    ):
        read(tmp_path, aedat_3(packet(*wide)))
    with pytest.raises(
        ValueError, match=r"`sensor_size` must be \(128, 128\) for AEDAT 2.0, got \(260, 346\)"
    ):
        read(tmp_path, aedat_2(), sensor_size=(260, 346))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got no line #!AER-DAT at its begin"),
        (b"#", "got no line #!AER-DAT at its begin"),
        (b"# a text without end", "got no line #!AER-DAT at its begin"),
        (b"#!AER-DAT4.0\r\n", "must be AEDAT 2.0 or 3.1, got AEDAT 4.0. Convert it"),
        (aedat_2(*EVENTS)[:-1], "must consist of events of 8 bytes after its header, got 31 bytes"),
        (aedat_3(packet(*EVENTS))[:-1], "breaks off in a packet of events"),
        (aedat_3(packet(*EVENTS))[:-33], "breaks off in a packet of events"),
        (aedat_3(packet(*EVENTS, size=-8)), "breaks off in a packet of events"),
        (aedat_3(packet(*EVENTS, size=4)), "breaks off in a packet of events"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, content)
    assert "recording.aedat" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.aedat cannot be read: No such file"):
        read_aedat(tmp_path / "nowhere.aedat")
