"""Frames that are kept: the same ones, read without the recordings' events, until something changes."""

import os

import numpy as np
import pytest
import torch

from data import test_gestures, test_neuromorphic_caltech, test_neuromorphic_cifar, test_nmnist
from data.recordings import atis
from spikeloom.data import (
    cifar10_dvs,
    dvs_gesture,
    gestures,
    n_caltech101,
    neuromorphic_caltech,
    neuromorphic_cifar,
    neuromorphic_mnist,
    nmnist,
    recordings,
)
from spikeloom.data.kept import keep_frames

SETS = {
    "nmnist": (nmnist, test_nmnist.put, neuromorphic_mnist, "read_atis", "nmnist"),
    "cifar10-dvs": (
        cifar10_dvs,
        test_neuromorphic_cifar.put,
        neuromorphic_cifar,
        "read_aedat",
        "cifar10-dvs",
    ),
    "n-caltech101": (
        n_caltech101,
        test_neuromorphic_caltech.put,
        neuromorphic_caltech,
        "read_atis",
        "Caltech101",
    ),
    "dvs-gesture": (dvs_gesture, test_gestures.put, gestures, "read_aedat", "DvsGesture"),
}


@pytest.fixture
def kept(monkeypatch):
    """Frames are kept however fast they were made."""
    monkeypatch.setattr(recordings, "SLOW", -1.0)


def refuse(_path, _sensor_size=None):
    raise AssertionError("a recording was read again")


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("clip", [False, True])
def test_the_next_time_no_recording_is_read(name, clip, kept, tmp_path, monkeypatch):
    loader, put, module, reader, folder = SETS[name]
    put(tmp_path / folder)
    first = loader(tmp_path, T=3, clip=clip)
    monkeypatch.setattr(module, reader, refuse)
    again = loader(tmp_path, T=3, clip=clip)
    for part in ("train_x", "train_y", "test_x", "test_y"):
        one, other = getattr(first, part), getattr(again, part)
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert first.train_x.any()
    for other in ({"T": 4}, {"T": 3, "split_by": "time"}, {"T": 3, "clip": not clip}):
        with pytest.raises(AssertionError, match="read again"):
            loader(tmp_path, **{"clip": clip, **other})


def test_what_took_no_time_is_not_kept(tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    nmnist(tmp_path)
    assert not (tmp_path / "nmnist" / "frames").exists()


def test_a_recording_that_changed_is_read_again(kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    nmnist(tmp_path, T=1)
    path = tmp_path / "nmnist" / "Train" / "0" / "00001.bin"
    path.write_bytes(atis((5, 6, 1, 0)))
    assert nmnist(tmp_path, T=1).train_x[0, 0, 1].nonzero().tolist() == [[6, 5]]
    path.write_bytes(atis((7, 8, 1, 0)))
    os.utime(path, (1, 1))  # of the same size, and older than before
    assert nmnist(tmp_path, T=1).train_x[0, 0, 1].nonzero().tolist() == [[8, 7]]


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"\x93NUMPY\1\0\3\0'''", b"of another program", b"PK\3\4", None]
)
def test_damaged_frames_are_made_anew(content, kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    first = nmnist(tmp_path, T=2)
    files = sorted((tmp_path / "nmnist" / "frames").iterdir())
    assert len(files) == 2
    for file in files:
        file.write_bytes(file.read_bytes()[:-1] if content is None else content)
    assert torch.equal(nmnist(tmp_path, T=2).train_x, first.train_x)
    assert all(np.load(file).any() for file in files)


def test_frames_of_objects_are_not_loaded(kept, tmp_path):
    """To load them would run what they say."""
    test_nmnist.put(tmp_path / "nmnist")
    first = nmnist(tmp_path, T=2)
    for file in (tmp_path / "nmnist" / "frames").iterdir():
        np.save(file, np.array([{}] * 50, dtype=object), allow_pickle=True)
    assert torch.equal(nmnist(tmp_path, T=2).train_x, first.train_x)


@pytest.mark.parametrize("other", [np.float32, np.uint8, ">i2", "U1", None])
def test_a_file_of_another_kind_is_not_taken(other, kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    first = nmnist(tmp_path, T=2).train_x
    for file in (tmp_path / "nmnist" / "frames").iterdir():
        frames = np.load(file)
        np.save(file, frames[:, :1] if other is None else frames.astype(other))
    again = nmnist(tmp_path, T=2).train_x
    assert again.dtype == first.dtype
    assert torch.equal(again, first)


def test_what_a_killed_process_left_is_removed_a_day_later(kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    old, new = (tmp_path / "nmnist" / "frames" / f".spikeloom-{age}-1.part" for age in ("old", "new"))
    old.parent.mkdir()
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    nmnist(tmp_path, T=2)
    assert new.exists()
    assert not old.exists()


def test_frames_that_another_process_has_kept_meanwhile_are_not_replaced(kept, tmp_path):
    """A third one may have mapped them: Windows forbids it then, and on a network's disk that one dies."""
    path, made, files = tmp_path / "frames" / "T2.npy", np.ones((1, 2, 3), np.int8), []

    def counts():
        keep_frames(path, made)
        files.append(path.stat().st_ino)
        yield made[0]

    recordings.stacked("one", counts(), (1, 2, 3), False, path)
    assert files == [path.stat().st_ino]


def test_numpys_numbers_are_the_same_settings(kept, tmp_path, monkeypatch):
    test_nmnist.put(tmp_path / "nmnist")
    first = nmnist(tmp_path, T=2)
    monkeypatch.setattr(neuromorphic_mnist, "read_atis", refuse)
    assert torch.equal(nmnist(tmp_path, T=np.uint8(2)).train_x, first.train_x)


def test_recordings_that_lie_elsewhere_can_be_listed(kept, tmp_path):
    test_gestures.put(tmp_path / "data" / "DvsGesture")
    first = dvs_gesture(tmp_path / "data", T=2)
    (tmp_path / "data" / "DvsGesture").rename(tmp_path / "elsewhere")
    folder = tmp_path / "data" / "DvsGesture"
    folder.mkdir()
    for part in ("train", "test"):
        names = (tmp_path / "elsewhere" / f"trials_to_{part}.txt").read_text().split()
        lines = "".join(f"{tmp_path / 'elsewhere' / name}\n" for name in names)
        (folder / f"trials_to_{part}.txt").write_text(lines)
    for _ in range(2):
        assert torch.equal(dvs_gesture(tmp_path / "data", T=2).train_x, first.train_x)


def test_the_frames_in_the_file_stay_as_they_are(kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    first = nmnist(tmp_path, T=2).train_x.clone()
    nmnist(tmp_path, T=2).train_x.zero_()
    assert torch.equal(nmnist(tmp_path, T=2).train_x, first)


def test_a_folder_that_cannot_be_written_is_none_that_cannot_be_read(kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    (tmp_path / "nmnist" / "frames").write_text("a file in its place")
    assert len(nmnist(tmp_path, T=2).train_x) == 50
