import subprocess
import sys
from pathlib import Path

import pytest

from spikeloom.data import DATASETS, data_folder, load, names
from spikeloom.errors import UnknownNameError


def test_unknown_names_raise_with_close_matches():
    with pytest.raises(UnknownNameError, match=r"no dataset 'fashon-mnist'\. Did you mean 'fashion-mnist'"):
        load("fashon-mnist")


def test_every_name_has_a_loader():
    assert names() == [
        "blobs", "breast-cancer", "cifar10", "cifar10-dvs", "digits", "dvs-gesture", "evidence",
        "fashion-mnist", "iris", "landsat", "mnist", "n-caltech101", "nmnist", "shd", "ssc", "yin-yang",
    ]  # fmt: skip
    for name in names():
        assert callable(DATASETS[name])


@pytest.mark.parametrize("name", ["blobs", "breast-cancer", "digits", "evidence", "iris", "yin-yang"])
def test_built_in_sets_carry_their_name(name):
    assert load(name).name == name


def test_where_the_data_folder_is(monkeypatch):
    monkeypatch.setenv("SPIKELOOM_DATA", "~/from/environment")
    assert data_folder("given") == Path("given")
    assert data_folder() == Path.home() / "from" / "environment"
    for unset in ("", None):
        monkeypatch.setenv("SPIKELOOM_DATA", "") if unset == "" else monkeypatch.delenv("SPIKELOOM_DATA")
        assert data_folder().name == "spikeloom"


def test_importing_brings_in_no_download_library():
    code = (
        "import sys, spikeloom.data as data; data.load('digits'); data.load('blobs');"
        "print([name for name in ('pooch', 'requests', 'matplotlib', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
