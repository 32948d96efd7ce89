import dataclasses
import gzip
import hashlib
from pathlib import Path

import pytest
import torch

from spikeloom.data import fashion_mnist, load, mnist, mnist_family
from spikeloom.data.idx import parse_idx
from spikeloom.errors import DataError

TRAIN_IMAGES = "train-images-idx3-ubyte"
LAYOUTS = ["mnist", "MNIST/raw", "."]


def put(contents, folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_are_found_where_they_usually_lie(tmp_path, tiny_mnist, site, layout, packed):
    put(tiny_mnist, tmp_path / layout, packed)
    data = mnist(tmp_path)
    assert torch.equal(data.train_x[:, 0], parse_idx(tiny_mnist[TRAIN_IMAGES]))
    assert torch.equal(data.test_y, parse_idx(tiny_mnist["t10k-labels-idx1-ubyte"]).long())
    assert (data.train_x.dtype, data.sample_shape) == (torch.uint8, (1, 3, 3))
    assert not site.asked


def test_the_environment_names_the_data_folder(tmp_path, tiny_mnist, monkeypatch):
    put(tiny_mnist, tmp_path / "mnist")
    monkeypatch.setenv("SPIKELOOM_DATA", str(tmp_path))
    assert len(load("mnist").train_y) == 6
    with pytest.raises(DataError, match="could not be downloaded"):
        load("mnist", tmp_path / "elsewhere")


def test_the_two_sets_are_told_apart_though_their_files_have_the_same_names(
    tmp_path, tiny_mnist, tiny_fashion, site
):
    put(tiny_mnist, tmp_path)
    site.pages = {
        f"/_FASHION/first/{name}.gz": gzip.compress(content) for name, content in tiny_fashion.items()
    }
    assert torch.equal(fashion_mnist(tmp_path).train_x[:, 0], parse_idx(tiny_fashion[TRAIN_IMAGES]))
    assert torch.equal(mnist(tmp_path).train_x[:, 0], parse_idx(tiny_mnist[TRAIN_IMAGES]))
    assert sorted(path.name for path in (tmp_path / "fashion-mnist").iterdir()) == sorted(
        f"{name}.gz" for name in tiny_fashion
    )


def test_only_missing_files_are_downloaded_and_only_once(tmp_path, tiny_mnist, site):
    put(tiny_mnist, tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST" / "raw" / TRAIN_IMAGES).unlink()
    site.pages[f"/_MNIST/first/{TRAIN_IMAGES}.gz"] = gzip.compress(tiny_mnist[TRAIN_IMAGES])
    first, second = mnist(tmp_path), mnist(tmp_path)
    assert torch.equal(first.train_x, second.train_x)
    assert site.asked == [f"/_MNIST/first/{TRAIN_IMAGES}.gz"]


def damages(content):
    packed = gzip.compress(content)
    return {
        "truncated": (packed[:-20], "a broken gzip file"),
        "wrong gzip checksum": (packed[:-8] + b"\0" * 8, "a broken gzip file"),
        "another content": (content[:-1] + b"\0", f"{len(content)} bytes with SHA-256"),
        "too long": (content + b"x", f"more than {len(content)} bytes"),
        "huge when unpacked": (gzip.compress(b"\0" * 10**6), f"more than {len(content)} bytes"),
        "empty": (b"", "an empty file"),
        "a web page": (b"\n<!DOCTYPE html><html>Not here</html>", "a web page"),
        "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
    }


@pytest.mark.parametrize("kind", damages(b""))
def test_a_damaged_file_is_never_used_and_says_what_is_wrong(tmp_path, tiny_mnist, site, kind):
    put(tiny_mnist, tmp_path / "mnist", packed=True)
    content = tiny_mnist[TRAIN_IMAGES]
    path = tmp_path / "mnist" / f"{TRAIN_IMAGES}.gz"
    damaged, message = damages(content)[kind]
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="is damaged") as error:
        mnist(tmp_path)
    for part in (path, message, len(content), hashlib.sha256(content).hexdigest(), "Delete it; it will be"):
        assert str(part) in str(error.value)
    path.unlink()  # the cure
    site.pages[f"/_MNIST/second/{path.name}"] = gzip.compress(content)
    assert len(mnist(tmp_path).train_y) == 6


def test_without_a_mirror_one_error_says_everything(tmp_path, tiny_mnist):
    put(tiny_mnist, tmp_path / "mnist")
    for name in (TRAIN_IMAGES, "t10k-labels-idx1-ubyte"):
        (tmp_path / "mnist" / name).unlink()
    with pytest.raises(DataError) as error:
        mnist(tmp_path)
    message = str(error.value)
    for name in (TRAIN_IMAGES, "t10k-labels-idx1-ubyte"):
        assert f"{name} or {name}.gz" in message
        assert hashlib.sha256(tiny_mnist[name]).hexdigest() in message
    assert "train-labels" not in message
    for part in (*LAYOUTS[:2], "/_MNIST/first/", "/_MNIST/second/", "HTTP 404", "SPIKELOOM_DATA"):
        assert part in message


def test_what_may_not_be_read_is_a_data_error(tmp_path, tiny_mnist, monkeypatch):
    put(tiny_mnist, tmp_path / "mnist")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        DataError, match=f"{TRAIN_IMAGES} cannot be read: Permission denied. Make it readable"
    ):
        mnist(tmp_path)
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES} cannot be read: Permission denied"):
        mnist(tmp_path)


def test_files_that_do_not_belong_together_are_refused(tmp_path, tiny_mnist, monkeypatch, helpers):
    contents = tiny_mnist | {"train-labels-idx1-ubyte": tiny_mnist["t10k-labels-idx1-ubyte"]}
    files = tuple(helpers.known(name, content) for name, content in contents.items())
    monkeypatch.setattr(mnist_family, "_MNIST", dataclasses.replace(mnist_family._MNIST, files=files))
    put(contents, tmp_path / "mnist")
    with pytest.raises(DataError, match=r"as many labels \[N\], got \[6, 3, 3\] and \[4\]"):
        mnist(tmp_path)


def test_the_real_mnist(shared):
    data = mnist(shared / "data")
    assert repr(data) == (
        "Dataset('mnist', 60000 training and 10000 test samples of shape (1, 28, 28), 10 classes)"
    )
    assert torch.bincount(data.train_y).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    mean = data.train_x.double().mean() / 255
    assert mean.item() == pytest.approx(0.1307, abs=5e-5)  # the constant that tutorials subtract


def test_the_real_fashion_mnist(tmp_path):
    if not all(folder.is_dir() for folder in mnist_family._FASHION.installed):
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    data = fashion_mnist(tmp_path)
    assert torch.bincount(data.train_y).tolist() == [6000] * 10
    assert torch.bincount(data.test_y).tolist() == [1000] * 10
    assert (data.train_x.double().mean() / 255).item() == pytest.approx(0.2860, abs=5e-5)
