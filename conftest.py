"""What pytest leaves out of the source, files whose library is not installed; and how its processes share the
cores."""

import importlib.util
import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads that spin while they wait for work take the cores from those that have some.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

NEED_TRITON = [
    *(f"src/spikeloom/loom/triton_{part}.py" for part in ("math", "memory", "run")),
    "src/spikeloom/encoding/philox_triton.py",
]
collect_ignore = [] if importlib.util.find_spec("triton") else NEED_TRITON
