import sys

import numpy as np
import pytest
import torch

from spikeloom.data import as_float, heidelberg, load, recordings, shd, ssc
from spikeloom.errors import DataError

h5py = pytest.importorskip("h5py")
KEYS = ("zero", "one", "null")


def put(path, recordings, keys=KEYS):
    """A file of recordings (times in s, units, label)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for entry, kind in (("times", np.float16), ("units", np.uint16)):
            data = file.create_dataset(f"spikes/{entry}", len(recordings), h5py.vlen_dtype(kind))
            for index, recording in enumerate(recordings):
                data[index] = np.array(recording[entry == "units"], kind)
        file["labels"] = np.array([label for *_, label in recordings], np.uint16)
        file["extra/keys"] = np.array(keys, "S")


TRAIN = [([0.0, 0.125, 0.5, 0.9, 3.0], [0, 1, 699, 350, 5], 2), ([], [], 0)]
TEST = [([0.25], [10], 1)]


@pytest.fixture
def folder(tmp_path):
    put(tmp_path / "shd" / "shd_train.h5", TRAIN)
    put(tmp_path / "shd" / "shd_test.h5", TEST)
    return tmp_path


def spikes(x):
    """The (step, channel, count) of a sample ``[T, channels]``."""
    return [(*map(int, place), int(x[tuple(place)])) for place in x.nonzero()]


def test_spikes_fall_in_their_step_and_channel(folder):
    data = shd(folder, T=4, duration=1.0)
    assert repr(data) == "Dataset('shd', 2 training and 1 test samples of shape (4, 700), 3 classes)"
    assert data.classes == KEYS
    assert data.train_x.dtype == torch.int8
    assert (data.train_y.tolist(), data.test_y.tolist()) == ([2, 0], [1])
    assert spikes(data.train_x[0]) == [(0, 0, 1), (0, 1, 1), (2, 699, 1), (3, 350, 1)]  # not that of 3 s
    assert spikes(data.train_x[1]) == []
    assert spikes(data.test_x[0]) == [(1, 10, 1)]


def test_neighbouring_fibres_are_counted_together(folder):
    assert spikes(shd(folder, 4, 1.0, channels=350).train_x[0]) == [(0, 0, 2), (2, 349, 1), (3, 175, 1)]
    clipped = shd(folder, 4, 1.0, channels=1, clip=True)
    assert clipped.train_x.dtype == torch.bool
    assert clipped.train_x[0].flatten().tolist() == [True, False, True, True]


def test_the_defaults(folder):
    data = load("shd", folder)
    assert data.sample_shape == (100, 700)
    assert spikes(data.train_x[0]) == [(0, 0, 1), (8, 1, 1), (35, 699, 1), (64, 350, 1)]  # of 14 ms


def test_times_of_half_precision_are_not_scaled_in_it(tmp_path):
    times = np.arange(0, 1.4, 2**-10).astype(np.float16).astype(np.float64)
    put(tmp_path / "shd_train.h5", [(times, [0] * len(times), 0)])
    put(tmp_path / "shd_test.h5", TEST)
    counts = shd(tmp_path, T=1400, channels=100).train_x[0, :, 0]
    expected = np.bincount((times * 1000).astype(int), minlength=1400)[:1400]
    assert np.abs(counts.numpy() - expected).sum() <= 2  # the quotient may round to the next step


def test_a_network_takes_time_first(folder):
    data = shd(folder, 4, 1.0)
    assert as_float(data.train_x).transpose(0, 1).shape == (4, 2, 700)
    x, y = data.train[0]
    assert (x.shape, x.dtype, int(y)) == ((4, 700), torch.float32, 2)


def test_speech_commands_have_a_part_to_choose_settings_by(tmp_path):
    put(tmp_path / "SSC" / "ssc_train.h5", TRAIN)
    put(tmp_path / "SSC" / "ssc_valid.h5", TEST * 2)
    with pytest.raises(
        DataError, match=r"ssc_test.h5 is missing. Get it from https://zenkelab.org/datasets/"
    ):
        load("ssc", tmp_path)
    assert len(ssc(tmp_path, validation=True).test_y) == 2
    put(tmp_path / "SSC" / "ssc_test.h5", TEST)
    assert repr(ssc(tmp_path)) == (
        "Dataset('ssc', 2 training and 1 test samples of shape (100, 700), 3 classes)"
    )


def test_files_that_are_none_are_named(folder):
    path = folder / "shd" / "shd_test.h5"
    path.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"shd_test.h5 must be a readable HDF5 file, got: .*\. Get it again"):
        shd(folder)
    with h5py.File(path, "w") as file:
        file["labels"] = [1]
    with pytest.raises(DataError, match=r"shd_test.h5 must hold 'spikes/times', got \['labels'\]"):
        shd(folder)


@pytest.mark.parametrize("wrong", [([0.1], [700], 0), ([-0.1], [1], 0), ([float("nan")], [1], 0)])
def test_spikes_out_of_range_are_refused(folder, wrong):
    put(folder / "shd" / "shd_test.h5", [wrong])
    with pytest.raises(DataError, match=r"shd_test.h5 must hold times of at least 0 and units below 700"):
        shd(folder)


def test_spikes_later_than_an_integer_can_say_are_left_out(folder):
    put(folder / "shd" / "shd_test.h5", [([0.25, 3.0, np.inf], [10, 11, 12], 1)])
    assert spikes(shd(folder, 4, 1.0).test_x[0]) == [(1, 10, 1)]
    assert spikes(shd(folder, 4, 1e-30).train_x[0]) == [(0, 0, 1)]  # that of time 0 alone


def replaced(path, entry, value):
    with h5py.File(path, "a") as file:
        del file[entry]
        if value is not None:
            file[entry] = value


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("labels", np.array([2, 3]), "must hold labels from 0 to 2, got 2 to 3"),
        ("labels", np.array([-1, 0]), "must hold labels from 0 to 2, got -1 to 0"),
        ("labels", np.array([[0], [1]]), "must hold labels from 0 to 2"),
        ("labels", np.array([1]), "got 1 labels, and times of 2 and units of 2 recordings"),
        ("labels", np.array([], int), "got 0 labels"),
        ("labels", 1, "is damaged: "),
        ("labels", np.array(["a", "b"], "S"), "is damaged: "),
        ("extra/keys", b"zero", "is damaged: "),
        ("spikes/times", np.zeros((2, 3)), "is damaged: "),
        ("spikes/units", np.full((2, 5), -1), "must hold times of at least 0 and units below 700"),
    ],
)
def test_a_file_of_other_content_is_named(folder, entry, value, message):
    path = folder / "shd" / "shd_train.h5"
    replaced(path, entry, value)
    with pytest.raises(DataError, match=message) as error:
        shd(folder, T=4)
    assert str(path) in str(error.value)


def test_a_damaged_file_is_named(folder):
    path = folder / "shd" / "shd_train.h5"
    content = bytearray(path.read_bytes())
    content[700:760] = b"\xff" * 60  # what h5py tells as a RuntimeError
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shd_train.h5 is damaged: .*Get it again"):
        shd(folder)


def test_names_of_classes_in_another_encoding_are_no_error(folder):
    for part in ("train", "test"):
        replaced(folder / "shd" / f"shd_{part}.h5", "extra/keys", np.array([b"one", b"f\xfcnf", b"two"]))
    assert shd(folder).classes == ("one", "f\ufffdnf", "two")


def test_files_of_different_classes_are_refused(folder):
    put(folder / "shd" / "shd_test.h5", TEST, keys=("zero", "one", "zwei"))
    with pytest.raises(DataError, match="the files must have the same classes"):
        shd(folder)


def test_samples_that_took_long_are_kept(folder, monkeypatch):
    monkeypatch.setattr(recordings, "SLOW", -1.0)
    first = shd(folder, 4, 1.0)
    monkeypatch.setattr(heidelberg, "_counts", lambda *_: iter(()))  # what is made anew is empty
    for settings in ((4, 1.0), (np.uint8(4), 1), (4, np.float64(1.0), np.int64(700))):
        assert torch.equal(shd(folder, *settings).train_x, first.train_x)


def test_without_h5py_the_cure_is_said(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'spikeloom\[hdf5\]'"):
        shd(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"T": 0}, "`T` must be at least 1, got 0"),
        ({"duration": 0.0}, "`duration` must be a finite number greater than 0, got 0.0"),
        ({"duration": float("inf")}, "`duration` must be a finite number greater than 0, got inf"),
        ({"channels": 300}, "`channels` must divide 700, got 300. Take 350, 140, 100 or 70"),
        ({"channels": 0}, "`channels` must be at least 1, got 0"),
    ],
)
def test_arguments_are_checked_before_files(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        shd(tmp_path, **settings)
