from pathlib import Path

import pytest
import torch

from data.recordings import atis
from spikeloom.data import as_float, frames_by_number, load, n_caltech101, neuromorphic_caltech, read_atis
from spikeloom.errors import DataError

CLASSES = ("BACKGROUND_Google", "Faces_easy", "accordion", "yin_yang")


def put(folder, count=11):
    """Recordings of four classes: number n of class c touches the pixel x = 200 + n, y = 170 + c."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            content = atis(*[(200 + number, 170 + label, 1, t) for t in range(20)])
            (folder / name / f"image_{number:04}.bin").write_bytes(content)


@pytest.mark.parametrize(
    "layout", ["n-caltech101", "NCaltech101/extract/Caltech101", "N-Caltech101/Caltech101", "Caltech101", "."]
)
def test_the_first_nine_tenths_by_number_are_trained_on(tmp_path, layout):
    put(tmp_path / layout)
    (tmp_path / layout / "frames").mkdir()  # holds no recordings
    data = n_caltech101(tmp_path, T=2)
    assert repr(data) == (
        "Dataset('n-caltech101, 44 of 8709 recordings', 36 training and 8 test samples of shape "
        "(2, 2, 180, 240), 4 classes)"
    )
    assert data.classes == CLASSES
    for x, y, numbers in ((data.train_x, data.train_y, range(1, 10)), (data.test_x, data.test_y, [10, 11])):
        place = x[:, 0, 1].flatten(1).argmax(1)
        assert (place // 240 - 170).tolist() == y.tolist()
        assert sorted((place % 240 - 200).tolist()) == sorted([*numbers] * 4)


def test_the_frames_are_those_of_the_functions(tmp_path):
    put(tmp_path, count=2)
    events = read_atis(tmp_path / "accordion" / "image_0002.bin", sensor_size=(180, 240))
    data = load("n-caltech101", tmp_path)
    assert data.sample_shape == (10, 2, 180, 240)
    assert torch.equal(as_float(data.test_x[2]), frames_by_number(events, 10))
    assert n_caltech101(tmp_path, clip=True).test_x.dtype == torch.bool


def test_only_the_full_set_is_called_by_its_name(tmp_path, monkeypatch):
    put(tmp_path, count=2)
    monkeypatch.setattr(neuromorphic_caltech, "_FULL", 8)
    assert n_caltech101(tmp_path).name == "n-caltech101"


def test_a_class_with_too_few_recordings_is_noticed(tmp_path):
    put(tmp_path, count=2)
    (tmp_path / "yin_yang" / "image_0001.bin").unlink()
    with pytest.raises(DataError, match=r"yin_yang must hold at least 2 recordings \(.bin\), got 1"):
        n_caltech101(tmp_path)


def test_photographs_are_no_recordings(tmp_path):
    """Caltech101 itself has the same folders."""
    (tmp_path / "Caltech101" / "accordion").mkdir(parents=True)
    (tmp_path / "Caltech101" / "accordion" / "image_0001.jpg").touch()
    with pytest.raises(DataError, match=r"Caltech101 must hold recordings \(CLASS/image_\*.bin\), got none"):
        n_caltech101(tmp_path)


def test_a_class_that_may_not_be_read_is_not_left_out(tmp_path, monkeypatch):
    put(tmp_path, count=2)
    within = Path.iterdir

    def refuse(path):
        if path.name == "accordion":
            raise PermissionError(13, "Permission denied", str(path))
        return within(path)

    monkeypatch.setattr(Path, "iterdir", refuse)  # as a folder does; `glob` passes over it
    monkeypatch.setattr(Path, "glob", lambda path, _: iter(()) if path.name == "accordion" else within(path))
    with pytest.raises(DataError, match="accordion cannot be read: Permission denied"):
        n_caltech101(tmp_path)
