"""Emitted modules in a private folder, so that the next process need not compile.

Loading compiled code runs it, so the folder belongs to the user alone (mode 0700, owner checked); where that
cannot be had, a folder that lives as long as the process takes its place. A damaged entry is compiled anew;
on a full disk nothing is kept.
"""

import atexit
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from spikeloom.files import write_beside

VARIABLE = "SPIKELOOM_CACHE"
_LOCK = threading.Lock()
_temporary: list[Path] = []


def cache_folder() -> Path:
    """The folder for emitted modules: ``$SPIKELOOM_CACHE``, else the user's cache; else a temporary one."""
    configured = os.environ.get(VARIABLE)
    folder = Path(configured) if configured else _user_cache() / "spikeloom" / "loom"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_private(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError:
        pass
    if not _temporary or not _temporary[0].is_dir():
        _temporary[:] = [Path(tempfile.mkdtemp(prefix="spikeloom-"))]
        atexit.register(_remove, _temporary[0], os.getpid())
    return _temporary[0]


def _remove(folder: Path, owner: int) -> None:
    """Remove a temporary folder, but not from a child process that was forked."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def load_module(source: str, helpers: Sequence[ModuleType] | None = None) -> ModuleType:
    """The module with this source, from the cache if it is there.

    Args:
        source: of the module.
        helpers: the modules whose functions are compiled into it; default: those of Numba's loops.
    """
    if helpers is None:
        from spikeloom.loom import numba_job, numba_math

        helpers = (numba_job, numba_math)
    called = b"".join(Path(str(module.__file__)).read_bytes() for module in helpers)
    name = f"loom_{hashlib.sha256(source.encode() + called).hexdigest()[:24]}"
    with _LOCK:
        full_name = f"spikeloom_emitted.{name}"
        if full_name in sys.modules:
            return sys.modules[full_name]
        path = cache_folder() / f"{name}.py"
        _remove_foreign(path)
        if not path.is_file() or path.read_bytes() != source.encode():
            try:
                write_beside(path, source.encode())  # as they are on Windows too
            except OSError:  # the disk is full
                return _made(full_name, source, f"<{name}>")
        return _made(full_name, source, str(path))


def reload_module(module: ModuleType) -> ModuleType:
    """The same module without what was compiled for it, after that turned out to be damaged."""
    from numba import config

    path = Path(str(module.__file__))
    if not path.is_file():
        return module
    found = [*path.parent.glob(f"__pycache__/{path.stem}*")]
    if config.CACHE_DIR:  # pyright: ignore[reportAttributeAccessIssue]
        found += Path(config.CACHE_DIR).glob(f"*/{path.stem}*")  # pyright: ignore[reportAttributeAccessIssue]
    for compiled in found:
        compiled.unlink(missing_ok=True)
    with _LOCK:
        return _made(module.__name__, path.read_text("utf-8"), str(path))


def _remove_foreign(path: Path) -> None:
    """Remove what another user left for this module, while the folder was open to others perhaps."""
    if sys.platform != "win32":
        for file in (path, *path.parent.glob(f"__pycache__/{path.stem}*")):
            if file.exists() and file.stat().st_uid != os.getuid():
                file.unlink()


def _made(name: str, source: str, file: str) -> ModuleType:
    """A module; where its file does not exist, nothing of it can be kept."""
    module = ModuleType(name)
    module.__file__ = file
    sys.modules[name] = module  # Numba looks the module up while it compiles
    exec(compile(source, file, "exec"), vars(module))
    return module


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _is_private(folder: Path) -> bool:
    """Whether nobody else could have written to the folder."""
    if sys.platform == "win32":  # the user's profile is private by default
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
