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


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"of another program", None])
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


def test_the_frames_in_the_file_stay_as_they_are(kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    first = nmnist(tmp_path, T=2).train_x.clone()
    nmnist(tmp_path, T=2).train_x.zero_()
    assert torch.equal(nmnist(tmp_path, T=2).train_x, first)


def test_a_folder_that_cannot_be_written_is_none_that_cannot_be_read(kept, tmp_path):
    test_nmnist.put(tmp_path / "nmnist")
    (tmp_path / "nmnist" / "frames").write_text("a file in its place")
    assert len(nmnist(tmp_path, T=2).train_x) == 50
