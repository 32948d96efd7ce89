"""glibc's allocator, told to keep the memory that is freed; elsewhere this does nothing."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Serve large tensors from the heap and never give the heap back, so that each step reuses warm pages.

    On virtual machines fresh pages are dear: one training step of a convolutional SNN took 1255 ms with the
    default settings and 414 ms with these (2 cores, see DESIGN.md). Acts on the whole process:
    of the library only :func:`spikeloom.train.launch.start` calls it.

    Returns:
        whether the settings were made: false where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
