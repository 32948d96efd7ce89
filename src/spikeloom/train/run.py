"""A run: the folder that a training writes. Everything in it can be read without Spikeloom.

::

    config.json         the recipe and every setting
    environment.json    command, versions, machine, time
    metrics.jsonl       one line per epoch; metrics-before.jsonl, if it lost its checkpoints and began again
    profile.json        what ``spikeloom profile`` counted, if it was run
    conversion.json     of ann2snn: accuracies of the converted network
    checkpoints/        last, previous (the one before), best: safetensors
    tensorboard/        events
    figures/            curves, rasters, membrane potentials
    lock                locked while a process trains; left behind it does no harm
"""

import contextlib
import json
import math
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from spikeloom.errors import RunError
from spikeloom.files import remove_unfinished, write_beside
from spikeloom.train import lock

_PACKAGES = ("spikeloom", "torch", "numpy", "lightning-fabric", "safetensors")


class Run:
    """A run folder.

    Args:
        folder: its path; :meth:`create` makes a new one, :meth:`open` takes one that exists.
    """

    def __init__(self, folder: Path):
        self.folder = folder = Path(folder)
        self.config_file = folder / "config.json"
        self.environment = folder / "environment.json"
        self.metrics = folder / "metrics.jsonl"
        self.checkpoints = folder / "checkpoints"
        self.tensorboard = folder / "tensorboard"
        self.figures = folder / "figures"
        self._is_locked = False
        self._made: list[Path] = []  # what is this run's own, and may be removed if it does not start

    @classmethod
    def create(cls, folder: Path, recipe: str, settings: dict[str, Any]) -> "Run":
        """Make the folder and write config and environment.

        Raises:
            RunError: the folder already holds a run.
            OSError: it cannot be written.
        """
        run = cls(folder)
        run._refuse_to_overwrite()
        files = (run.config_file, run.environment, run.folder / lock.NAME)
        own = (*files, run.tensorboard, run.checkpoints, run.figures)
        run._made = [path for path in own if not path.exists()]
        run.folder.mkdir(parents=True, exist_ok=True)
        with run.locked():
            run._refuse_to_overwrite()  # another process may have made it in the meantime
            write_beside(run.environment, json.dumps(_environment(), indent=2) + "\n")
            config = json.dumps({"recipe": recipe, "settings": settings}, indent=2)
            write_beside(run.config_file, config + "\n")
        return run

    def _refuse_to_overwrite(self) -> None:
        if self.config_file.exists():
            raise RunError(
                f"{self.folder} already holds a run. Continue it with `spikeloom train --resume "
                f"{self.folder}`, or choose another --run-dir."
            )
        if self.has_checkpoint:
            raise RunError(
                f"{self.folder} has checkpoints but no config.json: a new training would go on with them. "
                "Move them away, or choose another --run-dir."
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise RunError(f"{self.folder} is a file. Choose another --run-dir.")
        others = (self.metrics, *self.figures.glob("*.png"))
        if not self.environment.exists() and (found := next((one for one in others if one.exists()), None)):
            raise RunError(f"{found} is no run's, and could be lost. Choose another --run-dir.")
        if not _is_ours(self.environment):
            raise RunError(
                f"{self.folder} holds an environment.json that is no run's, and would be lost. Choose "
                "another --run-dir."
            )

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Take a folder that holds a run.

        Raises:
            RunError: it does not.
        """
        run = cls(folder)
        if not run.config_file.is_file():
            raise RunError(
                f"{run.folder} is not a run folder: it has no config.json. Runs are usually in ./runs."
            )
        return run

    @property
    def has_checkpoint(self) -> bool:
        """Whether the training has written one that is still there."""
        return any(self.checkpoints.glob("*.safetensors"))

    def begin_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write the rows of a training that goes on, as a crash may have left some that are ahead; set those
        of one that begins again aside, and remove what was told of its network."""
        if history:
            self.write_metrics(history)
        elif self.metrics.exists():
            before = self.folder / "metrics-before.jsonl"
            earlier = before.read_text() if before.exists() else ""
            write_beside(before, earlier + self.metrics.read_text())
            self.metrics.unlink()
            (self.folder / "conversion.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """A block in which no other process trains into the folder, rid of files that were never finished.

        Raises:
            RunError: another process does.
        """
        if self._is_locked:
            yield
            return
        with lock.locked(self.folder):
            self._is_locked = True
            try:
                remove_unfinished(self.folder)
                yield
            finally:
                self._is_locked = False

    def discard_unstarted(self) -> None:
        """Remove what :meth:`create` has made, if there is no checkpoint yet and nobody trains into it; what
        was there before, or was opened, stays."""
        if not self._made or not self.folder.is_dir():
            return
        try:
            with self.locked():
                if self.has_checkpoint:
                    return
                for path in self._made:
                    if path.is_dir():
                        shutil.rmtree(path, ignore_errors=True)
                    elif path.name != lock.NAME or sys.platform != "win32":  # where it is open now
                        path.unlink(missing_ok=True)
        except (RunError, OSError):  # it is another process's; or it cannot be written, let alone removed
            return
        if sys.platform == "win32" and self.folder / lock.NAME in self._made:
            (self.folder / lock.NAME).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else of the user's is in it
            self.folder.rmdir()

    def config(self) -> tuple[str, dict[str, Any]]:
        """The recipe's name and its settings.

        Raises:
            RunError: config.json is damaged.
        """
        try:
            config = json.loads(self.config_file.read_text())
            recipe, settings = config["recipe"], config["settings"]
            if not isinstance(recipe, str) or not isinstance(settings, dict):
                raise ValueError("recipe must be a name, and settings a table")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{self.config_file} is damaged ({error!r}). Restore it, or start a new run."
            ) from None
        return recipe, settings

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write one line per epoch to metrics.jsonl."""
        write_beside(self.metrics, "".join(json.dumps(_finite(row)) + "\n" for row in history))


def _is_ours(environment: Path) -> bool:
    """Whether the file is not there, or left by a run that was killed before it had a config.json."""
    try:
        return "packages" in json.loads(environment.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (ValueError, OSError):
        return False


def _environment() -> dict[str, Any]:
    import torch

    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name; Linux says it in /proc only."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row, with null for numbers that JSON does not have."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
