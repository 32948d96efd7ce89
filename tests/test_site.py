"""The site builds: pages and docstrings are in order, and every public name is in its reference."""

import importlib
import importlib.util
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import spikeloom

ROOT = Path(__file__).parents[1]
NEEDED = ("sphinx", "myst_parser", "furo")
ABSENT = [name for name in NEEDED if not importlib.util.find_spec(name)]


@pytest.mark.slow
@pytest.mark.skipif(bool(ABSENT), reason=f"needs {', '.join(ABSENT)}: pip install -e '.[docs]'")
def test_the_site_builds_without_a_warning_and_knows_every_public_name(tmp_path):
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet", "docs", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (built.returncode, built.stderr) == (0, "")
    for module in map(importlib.import_module, (f"spikeloom.{name}" for name in spikeloom.__all__)):
        page = (tmp_path / "reference" / f"{module.__name__.partition('.')[2]}.html").read_text("utf-8")
        for name in getattr(module, "__all__", ()):
            if inspect.isclass(value := getattr(module, name)) or inspect.isroutine(value):
                assert f'id="{module.__name__}.{name}"' in page, name
