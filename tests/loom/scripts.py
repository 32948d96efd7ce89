"""Scripts in processes of their own: for forks, caches and settings of a whole process."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PREAMBLE = """
import os, sys, warnings
warnings.simplefilter("error")
import torch
from spikeloom import loom, neuron
from spikeloom.neuron import LIFNode, IFNode, ParametricLIFNode


def result(node, x):
    node.reset()
    node.zero_grad()
    leaf = x.clone().requires_grad_()
    output = node(leaf)
    (output * torch.arange(1.0, x.numel() + 1).reshape(x.shape)).sum().backward()
    gradients = [parameter.grad for parameter in node.parameters()]
    return [output.detach(), leaf.grad, *gradients]


@torch.no_grad()
def spikes(node, x):
    node.reset()
    return [node(x)]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def close(first, second):
    pairs = zip(first, second, strict=True)
    return all(torch.allclose(a, b, rtol=1e-5, atol=1e-5 * b.abs().max().item()) for a, b in pairs)


# PyTorch's own operations hang in a forked child once they are large enough for OpenMP (32,768 values, torch
# 2.13): so sequences are small here, and what the loom takes for enough work for a second thread is lowered.
from spikeloom.loom import loops
loops.SERIAL = 1000
torch.manual_seed(0)
x = torch.randn(4, 2, 2000) + 0.3
"""


def start(script: str, cache: Path | None = None, **environment: str) -> subprocess.Popen:
    """A Python process that runs ``script`` after the preamble; ``cache`` is its cache folder."""
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "2"} | environment
    if cache is not None:
        variables["SPIKELOOM_CACHE"] = str(cache)
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        start_new_session=True,  # so that children that hang can be ended with it
    )


def finish(process: subprocess.Popen, limit: float = 100) -> str:
    """What it printed, after it ended well."""
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"hung for {limit} s:\n{out}\n{err}") from None
    assert process.returncode == 0, f"exit status {process.returncode}:\n{out}\n{err}"
    return out.strip()


def script(text: str, cache: Path | None = None, **environment: str) -> str:
    """Run a script and give back what it printed."""
    return finish(start(text, cache, **environment))
