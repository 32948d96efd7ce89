import time
from pathlib import Path

import pytest
import torch

from data.recordings import atis
from spikeloom.data import (
    as_float,
    frames_by_number,
    frames_by_time,
    load,
    mnist,
    neuromorphic_mnist,
    nmnist,
    read_atis,
    recordings,
)
from spikeloom.errors import DataError

LAYOUTS = ["nmnist", "N-MNIST", "NMNIST", "n-mnist", "NMNIST/extract", "."]


def put(folder, num_train=5, num_test=1):
    """Recordings of all digits: digit d touches the pixel x = d, and its file's number is y."""
    for part, count in (("Train", num_train), ("Test", num_test)):
        for number in range(10 * count):
            digit = number * 7 % 10
            path = folder / part / str(digit) / f"{number + 1:05}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            events = [(digit, number % 34, 1, t) for t in range(20)] + [(33, 33, 0, 1000)] * 10
            path.write_bytes(atis(*events))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_recordings_are_found_where_they_usually_lie(tmp_path, layout):
    put(tmp_path / layout)
    data = nmnist(tmp_path, T=3)
    assert repr(data) == (
        "Dataset('nmnist, 60 of 70000 recordings', 50 training and 10 test samples of shape (3, 2, 34, 34), "
        "10 classes)"
    )
    assert data.classes == tuple("0123456789")
    assert data.train_y.tolist() == [number * 7 % 10 for number in range(50)]  # MNIST's order
    touched = data.train_x[:, 0, 1].flatten(1).argmax(1)
    assert (touched % 34).tolist() == data.train_y.tolist()
    assert (touched // 34).tolist() == [number % 34 for number in range(50)]


def test_the_frames_are_those_of_the_functions(tmp_path):
    put(tmp_path / "nmnist")
    path = tmp_path / "nmnist" / "Train" / "7" / "00002.bin"
    events = read_atis(path)
    for split_by, function in (("number", frames_by_number), ("time", frames_by_time)):
        counts = nmnist(tmp_path, T=4, split_by=split_by).train_x
        spikes = nmnist(tmp_path, T=4, split_by=split_by, clip=True).train_x
        assert (counts.dtype, spikes.dtype) == (torch.int8, torch.bool)
        assert torch.equal(as_float(counts[1]), function(events, 4))
        assert torch.equal(as_float(spikes[1]), function(events, 4, clip=True))


def test_without_a_test_part_a_fifth_is_held_out(tmp_path):
    put(tmp_path / "nmnist", num_train=5, num_test=0)
    first, again, other = nmnist(tmp_path), load("nmnist", tmp_path, 0), load("nmnist", tmp_path, 1)
    assert first.name == "nmnist, 50 of 70000 recordings"
    assert torch.bincount(first.train_y).tolist() == [4] * 10
    assert torch.bincount(first.test_y).tolist() == [1] * 10
    assert torch.equal(first.train_x, again.train_x)
    assert not torch.equal(first.train_x, other.train_x)
    seen = torch.cat([first.train_x, first.test_x]).sum(0)
    assert torch.equal(seen, torch.cat([other.train_x, other.test_x]).sum(0))  # each once


@pytest.mark.parametrize("number", [3, 4, 7])
def test_every_class_is_held_out(tmp_path, number):
    put(tmp_path / "nmnist", num_train=number, num_test=0)
    held_out = torch.bincount(nmnist(tmp_path).test_y)
    assert held_out.min() >= 1
    assert held_out.sum() >= 0.2 * 10 * number


def test_the_official_split_does_not_depend_on_the_seed(tmp_path):
    put(tmp_path / "nmnist")
    assert torch.equal(nmnist(tmp_path, seed=0).train_x, nmnist(tmp_path, seed=1).train_x)


def test_only_the_full_set_is_called_by_its_name(tmp_path, monkeypatch):
    put(tmp_path / "nmnist", num_train=5, num_test=1)
    monkeypatch.setattr(neuromorphic_mnist, "_FULL", (50, 10))
    assert nmnist(tmp_path).name == "nmnist"


def test_other_files_are_passed_over(tmp_path):
    put(tmp_path / "nmnist")
    for name in ("._00001.bin", ".DS_Store", "readme.txt"):
        (tmp_path / "nmnist" / "Train" / "0" / name).write_bytes(b"nonsense")
    assert len(nmnist(tmp_path).train_y) == 50


def test_a_class_without_recordings_is_noticed(tmp_path):
    put(tmp_path / "nmnist", num_train=3, num_test=1)
    (tmp_path / "nmnist" / "Test" / "0" / "00001.bin").unlink()
    with pytest.raises(DataError, match=r"Test.0 must hold at least 1 recordings \(.bin\), got 0"):
        nmnist(tmp_path)


def test_too_few_recordings_to_hold_some_out_are_noticed(tmp_path):
    put(tmp_path / "nmnist", num_train=2, num_test=0)
    with pytest.raises(DataError, match=r"Train.0 must hold at least 3 recordings \(.bin\), got 2"):
        nmnist(tmp_path)


def test_a_damaged_recording_is_named(tmp_path):
    put(tmp_path / "nmnist")
    path = tmp_path / "nmnist" / "Train" / "0" / "00001.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"00001.bin must consist of events of 5 bytes"):
        nmnist(tmp_path)


def test_counts_that_one_byte_cannot_hold_take_two(tmp_path):
    put(tmp_path / "nmnist")
    path = tmp_path / "nmnist" / "Train" / "0" / "00001.bin"
    path.write_bytes(atis(*[(1, 2, 1, 5)] * 127))
    assert nmnist(tmp_path, T=1).train_x.max() == 127
    assert nmnist(tmp_path, T=1).train_x.dtype == torch.int8
    path.write_bytes(atis(*[(1, 2, 1, 5)] * 128))
    assert nmnist(tmp_path, T=1).train_x.max() == 128
    assert nmnist(tmp_path, T=1).train_x.dtype == nmnist(tmp_path, T=1).test_x.dtype == torch.int16
    assert nmnist(tmp_path, T=1, clip=True).train_x[0].sum() == 1
    assert nmnist(tmp_path, T=2).train_x.max() == 64


def test_what_may_not_be_looked_at_is_a_data_error(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    put(tmp_path / "nmnist")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"cannot be read: Permission denied. Make it readable"):
        nmnist(tmp_path)
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        nmnist(tmp_path)


@pytest.fixture(scope="module")
def real():
    folder = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (folder / "nmnist" / "Train").is_dir():
        pytest.skip(f"needs N-MNIST's recordings in {folder / 'nmnist'}")
    started = time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recordings, "SLOW", float("inf"))  # the folder is not ours
        return folder, nmnist(folder), time.perf_counter() - started


def test_the_real_recordings(real):
    _, data, seconds = real
    assert repr(data) == (
        "Dataset('nmnist, 1000 of 70000 recordings', 800 training and 200 test samples of shape "
        "(10, 2, 34, 34), 10 classes)"
    )
    per_class = torch.bincount(data.train_y) + torch.bincount(data.test_y)
    assert per_class.tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]  # MNIST's first 1,000
    events = data.train_x.sum((1, 2, 3, 4)).sum() + data.test_x.sum((1, 2, 3, 4)).sum()
    assert events == 4_133_231  # 20,666,155 bytes in all
    assert seconds < 5


def test_the_real_recordings_are_of_the_digits_of_mnist(real):
    folder, _, _ = real
    if not (folder / "mnist").is_dir():
        pytest.skip(f"needs MNIST in {folder / 'mnist'}")
    labels = mnist(folder).train_y
    paths = sorted((folder / "nmnist" / "Train").glob("*/*.bin"))
    assert all(labels[int(path.stem) - 1] == int(path.parent.name) for path in paths)


def test_a_digit_stands_upright(real):
    """The events of a recording lie where its MNIST digit has ink; mirrored or turned, they do not."""
    folder, _, _ = real
    if not (folder / "mnist").is_dir():
        pytest.skip(f"needs MNIST in {folder / 'mnist'}")
    images = as_float(mnist(folder).train_x[:100, 0])
    seen = torch.zeros(100, 34, 34)
    for path in (folder / "nmnist" / "Train").glob("*/00[01]??.bin"):
        if int(path.stem) <= 100:
            seen[int(path.stem) - 1] = frames_by_number(read_atis(path), 1)[0].sum(0)
    ink = torch.nn.functional.pad(images, (3, 3, 3, 3))
    ways = {"as it is": ink, "turned": ink.mT, "upside down": ink.flip(1), "mirrored": ink.flip(2)}
    overlap = {name: (picture * seen).sum().item() for name, picture in ways.items()}
    assert max(overlap, key=overlap.get) == "as it is"
