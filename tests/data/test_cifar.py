import bz2
import importlib.util
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from spikeloom.data import cifar, cifar10, read_cifar10_batch
from spikeloom.errors import DataError

BATCHES = "cifar-10-batches-bin"


def put(contents, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def check(data, contents):
    records = np.frombuffer(b"".join(contents.values()), np.uint8).reshape(12, 3073)
    assert (data.train_x.dtype, tuple(data.train_x.shape)) == (torch.uint8, (10, 3, 32, 32))
    assert torch.equal(data.train_y, torch.tensor(records[:10, 0].astype(np.int64)))
    assert torch.equal(data.test_x.flatten(1), torch.tensor(records[10:, 1:]))


@pytest.mark.parametrize("layout", [f"cifar10/{BATCHES}", BATCHES, "cifar10", "."])
def test_files_are_found_where_they_usually_lie(tmp_path, tiny_cifar, site, layout):
    put(tiny_cifar, tmp_path / layout)
    check(cifar10(tmp_path), tiny_cifar)
    assert not site.asked


def test_the_first_bytes_of_a_record_are_the_label_and_the_red_channel(tmp_path):
    record = bytes([7]) + b"\1" * 1024 + b"\2" * 1024 + bytes(range(32)) * 32
    (tmp_path / "batch.bin").write_bytes(record)
    images, labels = read_cifar10_batch(tmp_path / "batch.bin")
    assert labels.tolist() == [7]
    assert images[0, 0].unique().tolist() == [1]
    assert images[0, 1].unique().tolist() == [2]
    assert images[0, 2, 5].tolist() == list(range(32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "records of 3,073 bytes, got 0 bytes"),
        (b"\0" * 3074, "records of 3,073 bytes, got 3,074 bytes"),
        (b"\x0a" * 3073, r"labels must lie in 0..9, got 10"),
    ],
)
def test_what_is_no_batch_is_refused(tmp_path, content, message):
    (tmp_path / "batch.bin").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_cifar10_batch(tmp_path / "batch.bin")
    assert str(tmp_path / "batch.bin") in str(error.value)


def test_the_archive_is_downloaded_unpacked_and_removed(tmp_path, tiny_cifar, site, helpers):
    site.pages["/cifar.tar.gz"] = helpers.archive(tiny_cifar | {"batches.meta.txt": b"airplane\n"})
    check(cifar10(tmp_path), tiny_cifar)
    check(cifar10(tmp_path), tiny_cifar)
    assert site.asked == ["/cifar.tar.gz"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in files} == {tmp_path / "cifar10" / BATCHES}
    assert {path.name for path in files} == set(tiny_cifar)


@pytest.mark.parametrize("place", ["cifar10", "."])
def test_an_archive_that_is_there_is_unpacked_and_kept(tmp_path, tiny_cifar, site, helpers, place):
    put({"cifar-10-binary.tar.gz": helpers.archive(tiny_cifar)}, tmp_path / place)
    check(cifar10(tmp_path), tiny_cifar)
    assert (tmp_path / place / "cifar-10-binary.tar.gz").exists()
    assert not site.asked


def test_an_archive_writes_nothing_but_the_six_files(tmp_path, tiny_cifar, helpers):
    outside = tmp_path / "outside"
    link = tarfile.TarInfo("data_batch_1.bin")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    extra = [
        (tarfile.TarInfo("../../evil"), b"evil"),
        (tarfile.TarInfo(str(tmp_path / "absolute")), b"evil"),
        (link, b""),
    ]
    home = tmp_path / "data"
    packed = helpers.archive(tiny_cifar, folder="../../somewhere/", extra=extra)
    put({"cifar-10-binary.tar.gz": packed}, home)
    check(cifar10(home), tiny_cifar)
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if not path.is_dir()}
    expected = {f"data/cifar10/{BATCHES}/{name}" for name in tiny_cifar}
    assert written == expected | {"data/cifar-10-binary.tar.gz"}


def broken_archives(contents, helpers):
    first = next(iter(contents))
    return {
        "truncated": (helpers.archive(contents)[:-2000], "a broken tar.gz archive"),
        "a web page": (b"<html>Not here</html>", "a broken tar.gz archive"),
        "no tar": (helpers.gzip(b"hello"), "a broken tar.gz archive"),
        "incomplete": (
            helpers.archive({name: contents[name] for name in list(contents)[1:]}),
            f"an archive without {first}",
        ),
        "another size": (
            helpers.archive(contents | {first: b"short"}),
            f"{first} of 5 bytes in it, not 6,146",
        ),
        "another content": (helpers.archive(contents | {first: bytes(6146)}), f"{first} in it with 6,146"),
    }


@pytest.mark.parametrize(
    "kind", ["truncated", "a web page", "no tar", "incomplete", "another size", "another content"]
)
def test_a_damaged_archive_says_what_is_wrong(tmp_path, tiny_cifar, helpers, site, kind):
    damaged, message = broken_archives(tiny_cifar, helpers)[kind]
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="is damaged") as error:
        cifar10(tmp_path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    path.unlink()
    site.pages["/cifar.tar.gz"] = damaged
    with pytest.raises(DataError, match="could not be downloaded") as error:
        cifar10(tmp_path)
    assert message in str(error.value)
    assert not list(tmp_path.rglob("*.part"))


def test_a_damaged_batch_is_never_used(tmp_path, tiny_cifar):
    put(tiny_cifar | {"test_batch.bin": bytes(6146)}, tmp_path)
    with pytest.raises(DataError, match=r"test_batch.bin is damaged: it must hold 6,146 bytes"):
        cifar10(tmp_path)


def test_an_archive_that_cannot_be_unpacked_for_want_of_space(tmp_path, tiny_cifar, helpers, monkeypatch):
    put({"cifar-10-binary.tar.gz": helpers.archive(tiny_cifar)}, tmp_path)

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cifar, "write_beside", full)
    with pytest.raises(DataError, match=r"cannot be unpacked to .*: No space left on device"):
        cifar10(tmp_path)


def test_the_real_test_batch(tmp_path, shared):
    """The original bytes, restored by the tool that lies beside the data, have our checksum."""
    spec = importlib.util.spec_from_file_location("unpack_cifar10", shared / "tools" / "unpack_cifar10.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    packed = bz2.decompress((shared / "data/cifar10/cifar10_test_batch.loco.bz2").read_bytes())
    labels, residual = packed[:10000], np.frombuffer(packed[10000:], np.uint8)
    images = tool.undo_prediction(residual.reshape(3, 10000, 32, 32).transpose(0, 2, 3, 1))
    records = np.concatenate([np.frombuffer(labels, np.uint8)[:, None], images.reshape(10000, -1)], axis=1)
    path = tmp_path / "test_batch.bin"
    path.write_bytes(records.tobytes())
    assert cifar._FILES[-1].read(path) == records.tobytes()
    x, y = read_cifar10_batch(path)
    assert torch.bincount(y).tolist() == [1000] * 10
    assert torch.equal(x, torch.from_numpy(images))


def test_the_real_cifar10():
    home = Path(os.environ.get("SPIKELOOM_DATA") or "nowhere")
    if not any((home / folder / "data_batch_1.bin").is_file() for folder in (f"cifar10/{BATCHES}", BATCHES)):
        pytest.skip("needs CIFAR-10's binary version in the folder that SPIKELOOM_DATA names")
    data = cifar10()
    assert torch.bincount(data.train_y).tolist() == [5000] * 10
    assert torch.bincount(data.test_y).tolist() == [1000] * 10
