"""Small stand-ins for the downloaded sets, and a web server to get them from."""

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from spikeloom.data import cifar, mnist_family
from spikeloom.data.known import KnownFile

SHARED = Path(__file__).resolve().parents[3] / "shared"


def idx(array, counts=None):
    """The idx file of a uint8 array; ``counts`` replaces what its header says."""
    counts = array.shape if counts is None else counts
    return struct.pack(f">BBBB{len(counts)}I", 0, 0, 8, len(counts), *counts) + array.tobytes()


def known(name, content):
    return KnownFile(name, len(content), hashlib.sha256(content).hexdigest())


class Site:
    """A web site on this machine: ``pages`` maps a path to its bytes; everything else is not found."""

    def __init__(self):
        self.pages, self.short, self.asked = {}, set(), []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                site.asked.append(self.path)
                page = site.pages.get(self.path)
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(page or b"")))
                self.end_headers()
                self.wfile.write((page or b"")[: 10 if self.path in site.short else None])

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site():
    with Site() as running:
        yield running


def _images_and_labels(seed, num_train=6, num_test=4, side=3):
    generator = np.random.default_rng(seed)
    parts = {}
    for name, count in (("train", num_train), ("t10k", num_test)):
        parts[f"{name}-images-idx3-ubyte"] = idx(
            generator.integers(0, 256, (count, side, side), dtype=np.uint8)
        )
        parts[f"{name}-labels-idx1-ubyte"] = idx(generator.integers(0, 10, count, dtype=np.uint8))
    return parts


@pytest.fixture
def tiny_mnist(monkeypatch, site):
    """Contents of four small files that ``mnist()`` takes for the real ones; no mirror has any."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    contents = {}
    for attribute, seed in (("_MNIST", 0), ("_FASHION", 1)):
        contents[attribute] = _images_and_labels(seed)
        files = tuple(known(name, content) for name, content in contents[attribute].items())
        mirrors = (f"{site.address}/{attribute}/first/", f"{site.address}/{attribute}/second/")
        source = replace(getattr(mnist_family, attribute), files=files, mirrors=mirrors, installed=())
        monkeypatch.setattr(mnist_family, attribute, source)
    return contents["_MNIST"]


@pytest.fixture
def tiny_fashion(tiny_mnist):
    """Contents of the four files of the tiny Fashion-MNIST that goes with ``tiny_mnist``."""
    return _images_and_labels(1)


@pytest.fixture
def tiny_cifar(monkeypatch, site):
    """Contents of CIFAR-10's six files with two records each; the one mirror has nothing yet."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    generator = np.random.default_rng(2)
    contents = {}
    for file in cifar._FILES:
        records = generator.integers(0, 256, (2, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        contents[file.name] = records.tobytes()
    monkeypatch.setattr(cifar, "_FILES", tuple(known(name, content) for name, content in contents.items()))
    monkeypatch.setattr(cifar, "_MIRRORS", (f"{site.address}/cifar.tar.gz",))
    return contents


def archive(members, folder="cifar-10-batches-bin/", extra=()):
    """A tar.gz of ``members`` (name to content) in ``folder``, after ``extra`` (TarInfo, content)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, content in extra:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, content in members.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def helpers():
    """The functions above, for tests that need more than the fixtures."""

    class Helpers:
        pass

    Helpers.idx, Helpers.known = staticmethod(idx), staticmethod(known)
    Helpers.archive, Helpers.gzip = staticmethod(archive), staticmethod(lambda raw: gzip.compress(raw, 1))
    return Helpers


@pytest.fixture
def shared():
    """The folder with the original data that lies beside the checkout on some machines."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the original data in {SHARED / 'data'}")
    return SHARED
