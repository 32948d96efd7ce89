"""The house's order: imports only go down."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import spikeloom

ROOT = Path(spikeloom.__file__).parent
# From the front door to the ground; what stands on one line may not import each other.
ORDER = [
    ("__main__",),
    ("cli",),
    ("recipe",),
    ("train",),
    ("model",),
    ("ann2snn", "nir_exchange"),
    ("exchange",),
    ("event",),
    ("timing",),
    ("learning",),
    ("profile",),
    ("diagnose", "monitor", "plot"),
    ("data",),
    ("rnn",),
    ("layer",),
    ("encoding",),
    ("functional",),
    ("neuron",),
    ("loom",),
    ("base",),
    ("memory",),
    ("surrogate", "steps"),
    ("registry", "checks", "files"),
    ("errors",),
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """The parts of the package that a file imports, also inside functions and for type checking."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names = (
                [node.module]
                if node.module != "spikeloom"
                else [f"spikeloom.{alias.name}" for alias in node.names]
            )
        parts |= {name.split(".")[1] for name in names if name.startswith("spikeloom.")}
    return parts


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path):
    part = part_of(path)
    assert part in RANK, f"{part} has no place in the house"
    for imported in imported_parts(path) - {part}:
        assert RANK[imported] > RANK[part], f"{path} imports {imported}, which is not below {part}"


def test_there_are_files_to_check():
    assert len(FILES) > 20


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("spikeloom", ["torch", "numpy"]),
        ("spikeloom.cli", ["torch", "numpy", "lightning_fabric", "matplotlib"]),
        ("spikeloom.neuron", ["lightning_fabric", "matplotlib", "numba", "tensorboard"]),
        ("spikeloom.plot", ["matplotlib"]),
        ("spikeloom.data", ["pooch"]),
    ],
)
def test_heavy_imports_wait_until_they_are_needed(module, forbidden):
    code = f"import {module}, sys; print([name for name in {forbidden} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_module_is_an_attribute_of_the_package():
    parts = {part_of(path) for path in FILES} - {
        "__main__",
        "cli",
        "registry",
        "checks",
        "files",
        "nir_exchange",
    }
    assert parts == set(spikeloom.__all__)
    for name in parts:
        assert getattr(spikeloom, name).__name__ == f"spikeloom.{name}"
