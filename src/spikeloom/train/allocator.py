"""glibc's allocator, told to keep the memory that is freed, in large pages; elsewhere this does nothing."""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MADV_HUGEPAGE = 14


def keep_freed_memory() -> bool:
    """Serve large tensors from the heap and never give the heap back, so that each step reuses warm pages.

    On virtual machines fresh pages are dear: with the default settings a training step can take several times
    as long (docs/training.md, Fast on a CPU). Pages are large where Linux gives such to those who ask, since
    a loop over time goes to another page at each step: a neuron's passes took 3 to 8 % less time. Acts on the
    whole process: of the library only :func:`spikeloom.train.launch.start` calls it.

    Returns:
        whether the settings were made: false where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    if not (libc.mallopt(_M_MMAP_MAX, 0) and libc.mallopt(_M_TRIM_THRESHOLD, -1)):
        return False
    _ask_for_large_pages(libc)
    return True


def _ask_for_large_pages(libc: ctypes.CDLL) -> None:
    """Ask for large pages in all that the heap will probably be: addresses only, no memory is taken yet."""
    page = os.sysconf("SC_PAGE_SIZE")
    size = os.sysconf("SC_PHYS_PAGES") * page // 2
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    start = libc.malloc(size)
    if start:  # else addresses are limited
        libc.madvise(-(-start // page) * page, size - page, _MADV_HUGEPAGE)
        libc.free(start)  # which leaves it to the heap, as that is never given back
