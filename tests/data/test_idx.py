import gzip
import re
import struct

import numpy as np
import pytest
import torch

from spikeloom.data import read_idx, read_labelled_idx
from spikeloom.errors import DataError


@pytest.fixture
def pair(tmp_path, helpers):
    """Paths of an images file and a labels file that belong together."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(helpers.idx(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)))
    labels.write_bytes(helpers.idx(np.array([1, 9], np.uint8)))
    return images, labels


def test_arrays_come_back_packed_or_not(pair):
    images, labels = pair
    assert torch.equal(read_idx(images), torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4))
    images.write_bytes(gzip.compress(images.read_bytes()))
    x, y = read_labelled_idx(str(images), labels, num_classes=10)
    assert (x.dtype, tuple(x.shape)) == (torch.uint8, (2, 1, 3, 4))
    assert (y.dtype, y.tolist()) == (torch.int64, [1, 9])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes that begin with b''"),
        (b"<!DOCTYPE html><html>", "not with idx's magic number"),
        (b"\0\0\x0d\1" + struct.pack(">I", 1) + b"\0" * 4, "element type 0x0d, not 0x08"),
        (b"\0\0\x08\3" + struct.pack(">I", 2), "8 bytes, which end within the header"),
        (b"\0\0\x08\1" + struct.pack(">I", 3) + b"ab", r"10 bytes, while its header says [3]: 11 bytes"),
        (b"\0\0\x08\1" + struct.pack(">I", 1) + b"ab", r"10 bytes, while its header says [1]: 9 bytes"),
        (b"\0\0\x08\2" + b"\xff" * 8, "while its header says [4294967295, 4294967295]"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "a broken gzip file"),
        (b"\x1f\x8b\x08 and then nonsense, and more of it", "a broken gzip file"),
    ],
)
def test_what_is_no_idx_file_is_named_with_its_path(tmp_path, content, message):
    path = tmp_path / "wrong-idx1-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        read_idx(path)
    assert str(path) in str(error.value)
    assert "Delete it" in str(error.value)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="nowhere cannot be read: No such file"):
        read_idx(tmp_path / "nowhere")


def test_images_and_labels_must_belong_together(pair, helpers):
    images, labels = pair
    with pytest.raises(DataError, match=r"labels must lie in 0..8, got 9"):
        read_labelled_idx(images, labels, num_classes=9)
    with pytest.raises(DataError, match=r"must hold images \[N, H, W\] and as many labels"):
        read_labelled_idx(labels, images, num_classes=10)
    labels.write_bytes(helpers.idx(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match=r"got \[2, 3, 4\] and \[3\]"):
        read_labelled_idx(images, labels, num_classes=10)
