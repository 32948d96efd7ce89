"""Datasets in memory: built-in ones that need no files, and small image sets that are found or downloaded."""

from spikeloom.data.builtin import breast_cancer, digits, iris
from spikeloom.data.catalogue import DATASETS, load, names
from spikeloom.data.cifar import cifar10, read_cifar10_batch
from spikeloom.data.dataset import Dataset, as_float
from spikeloom.data.folder import data_folder
from spikeloom.data.idx import read_idx, read_labelled_idx
from spikeloom.data.mnist_family import fashion_mnist, mnist
from spikeloom.data.points import blobs
from spikeloom.data.split import stratified_split

__all__ = [
    "DATASETS",
    "Dataset",
    "as_float",
    "blobs",
    "breast_cancer",
    "cifar10",
    "data_folder",
    "digits",
    "fashion_mnist",
    "iris",
    "load",
    "mnist",
    "names",
    "read_cifar10_batch",
    "read_idx",
    "read_labelled_idx",
    "stratified_split",
]
