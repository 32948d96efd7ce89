import pytest
import torch

from data.recordings import aedat_3, packet
from spikeloom.data import as_float, dvs_gesture, frames_by_number, frames_by_time, load, read_aedat
from spikeloom.errors import DataError

LAYOUTS = ["dvs-gesture", "DVS128Gesture/extract/DvsGesture", "DVSGesture/DvsGesture", "DvsGesture", "."]


def put(folder, train=("user01_led", "user02_lab"), test=("user24_led",)):
    """Recordings of three gestures: gesture g, from 100 g us on, touches the pixel x = g once in a us."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, names in (("train", train), ("test", test)):
        (folder / f"trials_to_{part}.txt").write_text("".join(f"{name}.aedat\n" for name in names))
        for number, name in enumerate(names):
            events = [(t // 100, number, t % 2, t) for t in range(100, 400)]
            (folder / f"{name}.aedat").write_bytes(aedat_3(packet(*events)))
            lines = ["class,startTime_usec,endTime_usec", "1,100,200", "11,200,290", "3,300,400", ""]
            (folder / f"{name}_labels.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gestures_are_cut_from_recordings_wherever_they_lie(tmp_path, layout):
    put(tmp_path / layout)
    data = dvs_gesture(tmp_path, T=2)
    assert repr(data) == (
        "Dataset('dvs-gesture', 6 training and 3 test samples of shape (2, 2, 128, 128), 11 classes)"
    )
    assert data.train_y.tolist() == [0, 10, 2, 0, 10, 2]
    assert [data.classes[label] for label in (0, 10, 2)] == [
        "hand clapping",
        "other gestures",
        "left hand wave",
    ]
    assert data.train_x.sum((1, 2, 3, 4)).tolist() == [100, 90, 100] * 2
    assert data.train_x[:, 0, 1].flatten(1).argmax(1).tolist() == [1, 2, 3, 129, 130, 131]


def test_the_frames_are_those_of_the_functions(tmp_path):
    put(tmp_path)
    events = read_aedat(tmp_path / "user02_lab.aedat").between(200, 290)
    for split_by, function in (("number", frames_by_number), ("time", frames_by_time)):
        counts = dvs_gesture(tmp_path, 4, split_by).train_x
        spikes = dvs_gesture(tmp_path, 4, split_by, clip=True).train_x
        assert (counts.dtype, spikes.dtype) == (torch.int8, torch.bool)
        assert torch.equal(as_float(counts[4]), function(events, 4))
        assert torch.equal(as_float(spikes[4]), function(events, 4, clip=True))


def test_the_usual_number_of_frames(tmp_path):
    put(tmp_path)
    assert load("dvs-gesture", tmp_path).sample_shape == (16, 2, 128, 128)


def test_counts_that_one_byte_cannot_hold_take_two_in_both_parts(tmp_path):
    put(tmp_path)
    flash = aedat_3(packet((5, 6, 1, 100), (5, 6, 1, 200), *[(5, 6, 1, 300)] * 128))
    (tmp_path / "user24_led.aedat").write_bytes(flash)
    data = dvs_gesture(tmp_path, T=1)
    assert data.train_x.dtype == data.test_x.dtype == torch.int16
    assert data.test_x.amax((1, 2, 3, 4)).tolist() == [1, 1, 128]
    assert as_float(data.test_x).max() == 128
    assert dvs_gesture(tmp_path, T=2).train_x.dtype == torch.int8


def test_counts_that_two_bytes_cannot_hold_are_refused(tmp_path):
    put(tmp_path)
    flash = aedat_3(packet((5, 6, 1, 100), (5, 6, 1, 200), *[(5, 6, 1, 300)] * 32_768))
    (tmp_path / "user24_led.aedat").write_bytes(flash)
    with pytest.raises(
        DataError, match=r"got 32,768 in recording 2 of dvs-gesture\. Set `clip`, or raise `T`"
    ):
        dvs_gesture(tmp_path, T=1)
    assert dvs_gesture(tmp_path, T=1, clip=True).test_x.sum() == 3


@pytest.mark.parametrize("name", ["trials_to_test.txt", "user02_lab.aedat", "user02_lab_labels.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    put(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DataError, match=f"{name} cannot be read: No such file"):
        dvs_gesture(tmp_path)


TITLE = "class,startTime_usec,endTime_usec"


@pytest.mark.parametrize(
    "content",
    [
        f"{TITLE}\r\n1,100,200\r\n11,200,290\r\n\r\n",
        f"\ufeff{TITLE}\n1, 100, 200\n11, 200, 290",
        f"\n{TITLE}\n\n1,100,200\n11,200,290\n \n",
        f"{TITLE}\r1,100,200\r11,200,290\r",
        "1,100,200\n11,200,290\n",
    ],
)
def test_lists_of_any_system_are_read(tmp_path, content):
    put(tmp_path)
    (tmp_path / "user24_led_labels.csv").write_bytes(content.encode())
    (tmp_path / "trials_to_test.txt").write_bytes("\ufeffuser24_led.aedat\r\n\r\n".encode())
    data = dvs_gesture(tmp_path, T=2)
    assert data.test_y.tolist() == [0, 10]
    assert data.test_x.sum((1, 2, 3, 4)).tolist() == [100, 90]


@pytest.mark.parametrize("content", ["", TITLE, "<!doctype html>"])
def test_a_list_without_gestures_is_named(tmp_path, content):
    put(tmp_path)
    (tmp_path / "user01_led_labels.csv").write_text(content)
    with pytest.raises(DataError, match=r"user01_led_labels.csv must have lines of a class"):
        dvs_gesture(tmp_path)


def test_a_recording_without_its_gestures_is_named(tmp_path):
    put(tmp_path)
    table = tmp_path / "user24_led_labels.csv"
    table.write_text(f"{TITLE}\n1,100,200\n2,400,500\n3,300,300\n")
    assert dvs_gesture(tmp_path, T=2).test_x.sum((1, 2, 3, 4)).tolist() == [100, 0, 0]  # the count of the set
    table.write_text(f"{TITLE}\n1,400,500\n2,500,600\n")
    with pytest.raises(
        DataError,
        match=r"user24_led.aedat must have events where user24_led_labels.csv lists gestures, got none",
    ):
        dvs_gesture(tmp_path)


@pytest.mark.parametrize("line", ["0,1,2", "12,1,2", "1,2", "one,1,2", "1;2;3", "1,1,2,3"])
def test_a_damaged_list_is_named(tmp_path, line):
    put(tmp_path)
    (tmp_path / "user01_led_labels.csv").write_text(f"class,startTime_usec,endTime_usec\n1,1,2\n{line}\n")
    with pytest.raises(DataError, match=f"user01_led_labels.csv must have lines of a class .*, got '{line}'"):
        dvs_gesture(tmp_path)


def test_a_list_of_nothing_is_named(tmp_path):
    put(tmp_path, test=())
    with pytest.raises(DataError, match=r"trials_to_test.txt must name recordings \(.aedat\), got none"):
        dvs_gesture(tmp_path)
    (tmp_path / "trials_to_test.txt").write_text("<!doctype html>\n")
    with pytest.raises(DataError, match=r"must name recordings \(.aedat\), got '<!doctype html>'"):
        dvs_gesture(tmp_path)
