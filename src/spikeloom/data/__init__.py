"""Datasets in memory: built-in ones that need no files, small image sets that are found or downloaded, and
recordings of event cameras and of an artificial inner ear."""

from spikeloom.data.aedat import read_aedat
from spikeloom.data.atis import read_atis
from spikeloom.data.builtin import breast_cancer, digits, iris
from spikeloom.data.catalogue import DATASETS, load, names
from spikeloom.data.cifar import cifar10, read_cifar10_batch
from spikeloom.data.cues import evidence, evidence_spikes
from spikeloom.data.dataset import Dataset, as_float
from spikeloom.data.events import Events
from spikeloom.data.folder import data_folder
from spikeloom.data.frames import (
    POLARITIES,
    event_histogram,
    frames_by_duration,
    frames_by_number,
    frames_by_time,
)
from spikeloom.data.gestures import dvs_gesture
from spikeloom.data.heidelberg import shd, ssc
from spikeloom.data.idx import read_idx, read_labelled_idx
from spikeloom.data.mnist_family import fashion_mnist, mnist
from spikeloom.data.neuromorphic_caltech import n_caltech101
from spikeloom.data.neuromorphic_cifar import cifar10_dvs
from spikeloom.data.neuromorphic_mnist import nmnist
from spikeloom.data.points import blobs, yin_yang
from spikeloom.data.split import stratified_split
from spikeloom.data.uci import landsat

__all__ = [
    "DATASETS",
    "POLARITIES",
    "Dataset",
    "Events",
    "as_float",
    "blobs",
    "breast_cancer",
    "cifar10",
    "cifar10_dvs",
    "data_folder",
    "digits",
    "dvs_gesture",
    "event_histogram",
    "evidence",
    "evidence_spikes",
    "fashion_mnist",
    "frames_by_duration",
    "frames_by_number",
    "frames_by_time",
    "iris",
    "landsat",
    "load",
    "mnist",
    "n_caltech101",
    "names",
    "nmnist",
    "read_aedat",
    "read_atis",
    "read_cifar10_batch",
    "read_idx",
    "read_labelled_idx",
    "shd",
    "ssc",
    "stratified_split",
    "yin_yang",
]
