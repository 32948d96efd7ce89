"""What pytest leaves out of the source, files whose library is not installed; how its processes share the
cores; that each test draws the same random numbers in whichever of them it runs, and has no deadline."""

import importlib.util
import os
import random

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # the machine may be busy
settings.load_profile("no deadline")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads that spin while they wait for work take the cores from those that have some.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

NEED_TRITON = [
    *(f"src/spikeloom/loom/triton_{part}.py" for part in ("math", "memory", "run")),
    "src/spikeloom/encoding/philox_triton.py",
]
collect_ignore = [] if importlib.util.find_spec("triton") else NEED_TRITON


@pytest.hookimpl(tryfirst=True)  # before the fixtures
def pytest_runtest_setup(item):
    import numpy
    import torch

    random.seed(0)
    numpy.random.seed(0)  # noqa: NPY002 - the old generator is that of tests that name none
    torch.manual_seed(0)
