import errno
import gzip
import os

import pytest

from spikeloom.data import download as module
from spikeloom.data import mnist
from spikeloom.data.download import NoMirrorError, download
from spikeloom.data.known import DamagedError
from spikeloom.errors import DataError
from spikeloom.files import unfinished

CONTENT = b"what we want" * 1000


@pytest.fixture
def keep(tmp_path):
    """Takes a download if it is right, and stores it as ``file``."""

    def check(part):
        if part.read_bytes() != CONTENT:
            raise DamagedError("something else")
        os.replace(part, tmp_path / "file")

    return check


def only(folder, *names):
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_mirrors_are_tried_in_turn_until_one_delivers(tmp_path, site, keep):
    site.pages = {"/damaged": b"<html>", "/cut": CONTENT, "/good": CONTENT, "/unused": CONTENT}
    site.short.add("/cut")
    urls = [f"{site.address}/{page}" for page in ("absent", "damaged", "cut", "good", "unused")]
    download("file", urls, tmp_path, keep)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == ["/absent", "/damaged", "/cut", "/good"]
    assert only(tmp_path, "file")


def test_no_mirror_delivers(tmp_path, site, keep):
    site.pages = {"/damaged": b"<html>", "/cut": CONTENT}
    site.short.add("/cut")
    closed = "http://127.0.0.1:9/closed"
    urls = [*(f"{site.address}/{page}" for page in ("absent", "damaged", "cut")), closed, "nonsense"]
    with pytest.raises(NoMirrorError) as error:
        download("file", urls, tmp_path / "new" / "folder", keep)
    reasons = dict(zip(urls, error.value.tried, strict=True))
    assert all(reason.startswith(f"{url}: ") for url, reason in reasons.items())
    assert "HTTP 404 Not Found" in reasons[urls[0]]
    assert "got something else" in reasons[urls[1]]
    assert "refused" in reasons[closed]
    assert "MissingSchema" in reasons["nonsense"]
    assert only(tmp_path)  # a folder that was mistyped is not left behind


def test_a_full_disk_stops_at_once_and_leaves_nothing(tmp_path, keep, monkeypatch):
    tried = []

    def fill(url, path, name):
        tried.append(url)
        path.write_bytes(CONTENT[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(module, "_stream", fill)
    with pytest.raises(DataError, match=r"file cannot be written to .*: No space left on device\. Make room"):
        download("file", ["one", "two"], tmp_path, keep)
    assert tried == ["one"]
    assert only(tmp_path)


def test_an_interrupted_download_leaves_nothing(tmp_path, keep, monkeypatch):
    def interrupt(url, path, name):
        path.write_bytes(CONTENT[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_stream", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download("file", ["one"], tmp_path, keep)
    assert only(tmp_path)


def test_what_killed_downloads_have_left_is_removed_and_what_others_write_is_not(tmp_path, site, keep):
    old, new = unfinished(tmp_path / "data"), unfinished(tmp_path / "data")
    for path, hours in (old, 25), (new, 23):  # the other may be written to on another machine
        path.write_bytes(CONTENT[:10])
        os.utime(path, (path.stat().st_mtime - hours * 3600,) * 2)
    site.pages = {"/good": CONTENT}
    download("file", [f"{site.address}/good"], tmp_path, keep)
    assert only(tmp_path, "file", new.name)


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path, keep):
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(DataError, match=r"cannot be written to .*: (Not a directory|File exists)"):
        download("data", [], tmp_path / "file" / "folder", keep)
    with pytest.raises(DataError, match=r"cannot be written to .*: (Not a directory|File exists)"):
        download("data", [], tmp_path / "file", keep)


def test_what_a_server_packs_on_the_way_is_the_file_all_the_same(tmp_path, tiny_mnist, site):
    """Some servers unpack .gz files on delivery; then the content arrives bare under the packed name."""
    for name, content in tiny_mnist.items():
        site.pages[f"/_MNIST/first/{name}.gz"] = b"damaged"
        site.pages[f"/_MNIST/second/{name}.gz"] = content if "images" in name else gzip.compress(content)
    assert len(mnist(tmp_path).train_y) == 6
    assert len(mnist(tmp_path).train_y) == 6
    assert len(site.asked) == 8


def test_other_users_may_read_what_was_downloaded(tmp_path, site, keep):
    site.pages = {"/good": CONTENT}
    download("file", [f"{site.address}/good"], tmp_path, keep)
    ordinary = tmp_path / "ordinary"
    ordinary.write_bytes(b"")
    assert (tmp_path / "file").stat().st_mode == ordinary.stat().st_mode
