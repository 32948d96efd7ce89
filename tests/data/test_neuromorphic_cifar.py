import pytest
import torch

from data.recordings import aedat_2
from spikeloom.data import as_float, cifar10_dvs, frames_by_number, load, neuromorphic_cifar, read_aedat
from spikeloom.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def put(folder, count=11):
    """Recordings of all classes: number n of class c touches the pixel x = n, y = c in its file."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            content = aedat_2(*[(number, label, 1, t) for t in range(20)])
            (folder / name / f"cifar10_{name}_{number}.aedat").write_bytes(content)


@pytest.mark.parametrize("layout", ["cifar10-dvs", "CIFAR10DVS/extract", "."])
def test_the_first_nine_tenths_by_number_are_trained_on(tmp_path, layout):
    put(tmp_path / layout)
    data = cifar10_dvs(tmp_path, T=2)
    assert repr(data) == (
        "Dataset('cifar10-dvs, 110 of 10000 recordings', 90 training and 20 test samples of shape "
        "(2, 2, 128, 128), 10 classes)"
    )
    assert data.classes == CLASSES
    for x, y, numbers in ((data.train_x, data.train_y, range(9)), (data.test_x, data.test_y, [9, 10])):
        place = x[:, 0, 1].flatten(1).argmax(1)
        assert (place % 128).tolist() == y.tolist()  # the rows of the file are columns
        assert sorted((place // 128).tolist()) == sorted([*numbers] * 10)  # 10 comes after 9


def test_the_frames_are_those_of_the_functions(tmp_path):
    put(tmp_path, count=2)
    events = read_aedat(tmp_path / "deer" / "cifar10_deer_1.aedat")
    data = load("cifar10-dvs", tmp_path)
    assert data.sample_shape == (10, 2, 128, 128)
    assert torch.equal(as_float(data.test_x[4]), frames_by_number(events, 10).mT)
    assert cifar10_dvs(tmp_path, clip=True).test_x.dtype == torch.bool


def test_only_the_full_set_is_called_by_its_name(tmp_path, monkeypatch):
    put(tmp_path, count=2)
    monkeypatch.setattr(neuromorphic_cifar, "_FULL", 20)
    assert cifar10_dvs(tmp_path).name == "cifar10-dvs"


def test_a_class_with_too_few_recordings_is_noticed(tmp_path):
    put(tmp_path, count=2)
    (tmp_path / "frog" / "cifar10_frog_1.aedat").unlink()
    with pytest.raises(DataError, match=r"frog must hold at least 2 recordings \(.aedat\), got 1"):
        cifar10_dvs(tmp_path)


def test_a_recording_without_events_is_named(tmp_path):
    put(tmp_path, count=2)
    (tmp_path / "frog" / "cifar10_frog_1.aedat").write_bytes(aedat_2())
    with pytest.raises(DataError, match=r"cifar10_frog_1.aedat must hold events, got none"):
        cifar10_dvs(tmp_path, T=1)


def test_frames_that_no_memory_holds_are_refused_with_the_cure(tmp_path):
    put(tmp_path, count=2)
    with pytest.raises(DataError, match=r"10 recordings of cifar10-dvs do not fit into memory: .* Lower `T`"):
        cifar10_dvs(tmp_path, T=10**12)
