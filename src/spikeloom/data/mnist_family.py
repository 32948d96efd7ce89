"""MNIST and Fashion-MNIST: 70,000 grey images of 28 by 28 pixels each, in the same four files."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from spikeloom.data.catalogue import DATASETS, DataFolder
from spikeloom.data.dataset import Dataset
from spikeloom.data.folder import data_folder, obtain
from spikeloom.data.idx import labelled, parse_idx
from spikeloom.data.known import KnownFile


@dataclass(frozen=True)
class _Source:
    """A set in MNIST's four files: training images and labels, test images and labels, in this order."""

    name: str
    classes: tuple[str, ...]
    files: tuple[KnownFile, ...]
    mirrors: tuple[str, ...]
    torchvision: str
    installed: tuple[Path, ...] = ()


def _files(*sha256: str) -> tuple[KnownFile, ...]:
    named = (
        ("train-images-idx3-ubyte", 16 + 60_000 * 28 * 28),
        ("train-labels-idx1-ubyte", 8 + 60_000),
        ("t10k-images-idx3-ubyte", 16 + 10_000 * 28 * 28),
        ("t10k-labels-idx1-ubyte", 8 + 10_000),
    )
    return tuple(KnownFile(name, size, sha) for (name, size), sha in zip(named, sha256, strict=True))


# SHA-256 of the content of the original gz files, whose MD5 are the published ones. Fashion-MNIST's were
# rebuilt from Debian's package, which holds the same compressed data without file name and date.
_MNIST = _Source(
    name="mnist",
    classes=tuple("0123456789"),
    files=_files(
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    torchvision="MNIST",
)
_CLOTHES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
_FASHION = _Source(
    name="fashion-mnist",
    classes=tuple(_CLOTHES.split(", ")),
    files=_files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    torchvision="FashionMNIST",
    installed=(Path("/usr/share/datasets/fashion-mnist"),),  # Debian's package dataset-fashion-mnist
)


def mnist(data_dir: DataFolder = None) -> Dataset:
    """MNIST: handwritten digits, 60,000 images to train on and 10,000 to test, ten classes.

    Args:
        data_dir: see :func:`data_folder`. Files are looked for in its ``mnist/``, in ``MNIST/raw/`` (the
            place of torchvision) and in itself; missing ones are downloaded to ``mnist/``.
    Shape:
        samples ``uint8 [N, 1, 28, 28]``.
    Raises:
        DataError: a file is missing and cannot be downloaded, or is damaged.
    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998.
    """
    return _load(_MNIST, data_dir)


def fashion_mnist(data_dir: DataFolder = None) -> Dataset:
    """Fashion-MNIST: pieces of clothing, 60,000 images to train on and 10,000 to test, ten classes.

    Args:
        data_dir: see :func:`data_folder`. Files are looked for in its ``fashion-mnist/``, in
            ``FashionMNIST/raw/`` (the place of torchvision), where Debian's package ``dataset-fashion-mnist``
            puts them, and in itself; missing ones are downloaded to ``fashion-mnist/``.
    Shape:
        samples ``uint8 [N, 1, 28, 28]``.
    Raises:
        DataError: a file is missing and cannot be downloaded, or is damaged.
    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017. MIT licence.
    """
    return _load(_FASHION, data_dir)


def _load(source: _Source, data_dir: DataFolder) -> Dataset:
    root = data_folder(data_dir)
    folders = [root / source.name, root / source.torchvision / "raw", *source.installed, root]
    # Both sets use the same file names, so what lies in the data folder itself may be the other set.
    others = {file.sha256 for other in (_MNIST, _FASHION) if other is not source for file in other.files}
    paths = obtain(source.name, source.files, folders, source.mirrors, others, ".gz")
    arrays = [parse_idx(file.read(paths[file])) for file in source.files]

    def part(first: int) -> tuple[Tensor, Tensor]:
        where = " and ".join(str(paths[file]) for file in source.files[first : first + 2])
        return labelled(arrays[first], arrays[first + 1], len(source.classes), where)

    return Dataset(source.name, source.classes, *part(0), *part(2))


DATASETS.register("mnist")(lambda data_dir, seed: mnist(data_dir))
DATASETS.register("fashion-mnist")(lambda data_dir, seed: fashion_mnist(data_dir))
