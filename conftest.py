"""What pytest leaves out of the source: files whose library is not installed."""

import importlib.util

NEED_TRITON = [
    *(f"src/spikeloom/loom/triton_{part}.py" for part in ("math", "memory", "run")),
    "src/spikeloom/encoding/philox_triton.py",
]
collect_ignore = [] if importlib.util.find_spec("triton") else NEED_TRITON
