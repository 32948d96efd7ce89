"""The allocator's settings, each in a process of its own, since they last."""

import platform
import subprocess
import sys

import pytest

needs_glibc = pytest.mark.skipif(
    platform.system() != "Linux" or platform.libc_ver()[0] != "glibc", reason="needs Linux and glibc"
)
START = """
import resource
from pathlib import Path
import torch
from spikeloom.train.allocator import keep_freed_memory
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert keep_freed_memory()
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB: addresses only
"""


def said_by(script: str, start: str = START) -> str:
    command = [sys.executable, "-c", start + script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs_glibc
def test_freed_memory_is_used_again():
    """Its pages remain. Some are new, as the hole that a tensor leaves may be a bit too small for it."""
    faults = said_by("""
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first, second = faults(), faults()
print(first, second)
""")
    first, second = map(int, faults.split())
    assert second < 100
    assert first > second


@needs_glibc
def test_the_heap_asks_for_large_pages():
    flags = said_by("""
one, inside = torch.ones(50_000_000), False
pointer = one[25_000_000:].data_ptr()
for line in Path("/proc/self/smaps").read_text().splitlines():
    if "-" in line.split(" ")[0]:  # an area begins
        low, high = (int(bound, 16) for bound in line.split(" ")[0].split("-"))
        inside = low <= pointer < high
    elif inside and line.startswith("VmFlags:"):
        print(line)
""")
    assert "hg" in flags.split()


@needs_glibc
def test_limited_addresses_are_no_error():
    """Half of the machine's memory is more than 1 GiB, and cannot be had then."""
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))\n"
    said = said_by(
        """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
print(libc.malloc(1 << 31), torch.ones(1000).sum().item())
""",
        limit + START,
    )
    assert said.split() == ["None", "1000.0"]
