"""Training in several processes: what is left of them."""

import subprocess
import sys
from pathlib import Path

import pytest

THREADS_THAT_EXCHANGE_TENSORS = """
import tempfile
from pathlib import Path
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from spikeloom.train.launch import _leave_group

def exchanging():
    return [path for path in Path("/proc/self/task").glob("*/comm") if "gloo" in path.read_text()]

with tempfile.TemporaryDirectory() as folder:
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", world_size=1, rank=0)
    net = DistributedDataParallel(nn.Linear(2, 2))
    net(torch.ones(1, 2)).sum().backward()
    net.module.itself = [net]  # a cycle, which only the garbage collector ends
    assert exchanging()
    del net
    _leave_group()
    assert not exchanging()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads")
def test_no_thread_outlives_a_training():
    """One that frees a tensor while Python ends aborts the process: about one run in ten, on one core."""
    done = subprocess.run(
        [sys.executable, "-c", THREADS_THAT_EXCHANGE_TENSORS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
