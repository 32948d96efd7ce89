"""What the datasets of recordings share: what is said of missing files, and of frames that cannot be."""

import pytest

from spikeloom.data import cifar10_dvs, dvs_gesture, n_caltech101, nmnist, shd, ssc
from spikeloom.errors import DataError

FROM = {
    nmnist: ("nmnist", "https://www.garrickorchard.com/datasets/n-mnist", "unzip both in", "N-MNIST/Train/0"),
    n_caltech101: (
        "n-caltech101",
        "https://www.garrickorchard.com/datasets/n-caltech101",
        "unzip it, so that its classes are in",
        "NCaltech101/extract/Caltech101/BACKGROUND_Google",
    ),
    cifar10_dvs: (
        "cifar10-dvs",
        "https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
        "unzip them in",
        "CIFAR10DVS/extract/airplane",
    ),
    dvs_gesture: (
        "dvs-gesture",
        "https://research.ibm.com/interactive/dvsgesture/",
        "in its folder DvsGesture to",
        "DVS128Gesture/extract/DvsGesture/trials_to_train.txt",
    ),
    shd: (
        "shd",
        "get shd_train.h5.gz and shd_test.h5.gz from https://zenkelab.org/datasets/",
        "unpack them in",
        "SHD/extract/shd_train.h5",
    ),
    ssc: (
        "ssc",
        "get ssc_train.h5.gz and ssc_test.h5.gz from https://zenkelab.org/datasets/",
        "unpack them in",
        "SSC/ssc_train.h5",
    ),
}
"""Of each set its name, where it is had, what to do with it, and one of the places that are searched."""


@pytest.mark.parametrize("loader", FROM, ids=lambda loader: loader.__name__)
def test_where_to_get_it_and_where_to_put_it(loader, tmp_path):
    name, source, what_to_do, place = FROM[loader]
    with pytest.raises(DataError) as error:
        loader(tmp_path)
    message = str(error.value)
    for part in (
        f"'{name}' is not in {tmp_path}",
        source,
        f"{what_to_do} {tmp_path / name}",
        "SPIKELOOM_DATA",
    ):
        assert part in message
    assert str(tmp_path / place) in message


@pytest.mark.parametrize(
    "loader", [nmnist, n_caltech101, cifar10_dvs, dvs_gesture], ids=lambda loader: loader.__name__
)
def test_arguments_are_checked_before_files(loader, tmp_path):
    with pytest.raises(ValueError, match="`T` must be at least 1, got 0"):
        loader(tmp_path, T=0)
    with pytest.raises(ValueError, match="`split_by` must be 'number' or 'time', got 'event'"):
        loader(tmp_path, split_by="event")
    with pytest.raises(ValueError, match=r"`split_by` must be 'number' or 'time', got \['time'\]"):
        loader(tmp_path, split_by=["time"])
