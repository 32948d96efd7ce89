"""Runs a function in several processes that exchange tensors.

They are forked from a process that has imported everything, which takes half a second, and not five. They
meet at a file: there is no port that another program could hold.
"""

import multiprocessing
import os
import pickle
import tempfile
import traceback
import warnings
from pathlib import Path

import pytest

SECONDS = 300


def in_processes(size, function, *arguments):
    """What ``function(rank, *arguments)`` returns in each of ``size`` processes."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes cannot be forked here")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numba", "pytest", "spikeloom.train.launch"])
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_run, args=(rank, size, folder, function, arguments))
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
            process.kill()
        files = [Path(folder) / f"{rank}" for rank in range(size)]
        results = [pickle.loads(file.read_bytes()) if file.exists() else "nothing came" for file in files]
    failures = [result for result in results if isinstance(result, str)]
    assert not failures, "\n".join(failures)
    return results


def _run(rank, size, folder, function, arguments):
    import torch

    os.environ["LOCAL_RANK"] = str(rank)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=size)
    try:
        result = function(rank, *arguments)
    except BaseException:
        result = traceback.format_exc()
    (Path(folder) / f"{rank}").write_bytes(pickle.dumps(result))
    torch.distributed.destroy_process_group()
