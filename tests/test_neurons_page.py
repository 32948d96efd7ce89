"""docs/neurons.md has every neuron and every surrogate, with its defaults and its step or slope."""

import ast
import cmath
import inspect
import math
import re
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from torch import nn

from spikeloom import loom, neuron, surrogate

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "neurons.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if re.match(r"\| `\w+\(", line)
]
CALLS = {call.func.id: call for call in (ast.parse(row[0].strip("`"), mode="eval").body for row in ROWS)}
CELLS = dict(zip(CALLS, ROWS, strict=True))
NEURONS = [name for name in CALLS if hasattr(neuron, name)]
SURROGATES = [name for name in CALLS if hasattr(surrogate, name)]
OTHERS = re.compile(r"MultiStep|Simple|.*Base|SurrogateFunction|FunctionSurrogate")
REQUIRED = {  # of what has no default
    "HomeostaticLIFNode": [1],
    "PSN": [40],
    "MaskedPSN": [3, 40, 0.25],
    "SlidingPSN": [3],
    "MultiLevelSpikeCount": [4],
}
CHANGED = {  # where the default hides a part of the step, or lets the potential run away (a < 0)
    "KLIFNode": {"k": 1.1},
    "HomeostaticLIFNode": {"tau_theta": 50.0, "theta_plus": 0.5},
    "AdaptiveLIFNode": {"a": 0.5},
    "IzhikevichNode": {"a": 0.3, "b": 0.5},
}
INPUTS = {  # mean and spread; of others, 1 and 4
    "ALIFNode": (8.0, 8.0),
    "HomeostaticLIFNode": (10.0, 10.0),
    "AdaptiveLIFNode": (0.0, 10.0),
    "SEAdLIFNode": (20.0, 20.0),
    "BiologicalIzhikevichNode": (30.0, 30.0),
    "BalancedResonateAndFireNode": (0.0, 200.0),
}
FUNCTIONS = {
    "exp": lambda value: cmath.exp(value) if isinstance(value, complex) else math.exp(value),
    "sigmoid": lambda value: 1 / (1 + math.exp(-value)),
    **{name: getattr(math, name) for name in ("log", "sqrt", "tanh", "cos", "pi")},
}


def classes(module):
    found = {name for name in module.__all__ if inspect.isclass(getattr(module, name))}
    return {name for name in found if not OTHERS.match(name)}


def made(name):
    return getattr(neuron if name in NEURONS else surrogate, name)(*REQUIRED.get(name, []))


def defaults(name):
    """What the first cell of a row says."""
    return {keyword.arg: eval(ast.unparse(keyword.value)) for keyword in CALLS[name].keywords}


def test_every_neuron_and_every_surrogate_has_one_row():
    assert len(ROWS) == len(CALLS)
    assert set(NEURONS) == classes(neuron)
    assert set(SURROGATES) == classes(surrogate)
    assert f"| `neuron` | {len(NEURONS)} neurons" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CALLS)
def test_a_row_has_the_defaults(name):
    parameters = inspect.signature(type(made(name))).parameters.values()
    known = {one.name: one.default for one in parameters if one.kind is not one.VAR_KEYWORD}
    printed = defaults(name)
    required = [argument.id for argument in CALLS[name].args]
    assert {key: known[key] for key in printed} == printed
    assert [key for key, default in known.items() if default is inspect.Parameter.empty] == required
    if name in NEURONS:
        for key, default in {"v_threshold": 1.0, "v_reset": 0.0}.items():
            assert key in printed or known.get(key, default) == default
    else:
        assert {*known} - {"spiking", "grad_window"} == {*printed, *required}


def statements(name):
    """The assignments of a row; if it is as another row, that one's, with its own instead or behind."""
    codes = re.findall("`([^`]+)`", CELLS[name][1])
    if not CELLS[name][1].startswith("as "):
        return codes
    own = {code.split(" = ")[0]: code for code in codes[1:]}
    return [own.pop(code.split(" = ")[0], code) for code in statements(codes[0])] + list(own.values())


def whole_step(name, node):
    """The assignments of a row and what the page says that it leaves out."""
    codes = statements(name)
    assigned = [code.split(" = ")[0] for code in codes]
    reset = "v = h - v_threshold * s" if getattr(node, "v_reset", 0) is None else "v = v_reset if s else h"
    end = [reset] if "h" in assigned and "v" not in assigned else []
    if "h" in assigned and "s" not in assigned:
        codes.insert(assigned.index("h") + 1, "s = h >= v_threshold")
    return codes + end


def number(node, name):
    """A setting, parameter or memory of a neuron, before its first step."""
    value = node.value(name) if hasattr(node, f"w_{name}") else getattr(node, name)
    return value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value


@pytest.mark.parametrize("name", NEURONS)
def test_a_row_computes_the_step(name):
    torch.manual_seed(0)
    node = made(name).double()
    node.step_mode, node.store_v_seq = "m", True
    for one, value in CHANGED.get(name, {}).items():
        is_learned = isinstance(getattr(node, one), nn.Parameter)
        setattr(node, one, nn.Parameter(torch.tensor(value).double()) if is_learned else value)
    mean, spread = INPUTS.get(name, (1.0, 4.0))
    sequence = mean + spread * torch.randn(getattr(node, "T", 200), dtype=torch.float64)
    codes = whole_step(name, node)
    used = {one.id for code in codes for one in ast.walk(ast.parse(code)) if isinstance(one, ast.Name)}
    known = {one for one in used if hasattr(node, one) or hasattr(node, f"w_{one}")}
    values = FUNCTIONS | defaults(name) | {one: number(node, one) for one in known}
    with torch.no_grad(), loom.backend("torch"):
        output = node(sequence[:, None]).flatten()
    parallel = "h[t]" in codes[0]
    if parallel:
        values |= {"x": defaultdict(float, enumerate(sequence.tolist())), "h": {}, "s": {}}
    for t, x in enumerate(sequence.tolist()):
        values |= {"t": t} if parallel else {"x": x}
        for code in codes:
            exec(code, values)
        assert output[t].item() == pytest.approx(float(values["s"][t] if parallel else values["s"]))
        assert parallel or node.v_seq[t].item() == pytest.approx(values["v"], abs=1e-9)
    assert output.count_nonzero() >= 5
    assert len(output.unique()) > 1


@pytest.mark.parametrize("name", SURROGATES)
def test_a_row_has_the_slope_and_its_largest_value(name):
    curve = made(name)
    settings = [getattr(curve, one) for one in curve.parameter_names]
    values = FUNCTIONS | dict(zip(curve.parameter_names, settings, strict=True))
    _, slope, largest, _ = CELLS[name]
    grid = torch.linspace(-6, 6, 481, dtype=torch.float64)  # with all kinks: multiples of 1/40
    expected = curve.derivative(grid, *settings)
    printed = [eval(slope.strip("`"), values | {"x": x}) for x in grid.tolist()]
    torch.testing.assert_close(torch.tensor(printed, dtype=torch.float64), expected)
    formula, number = re.fullmatch(r"(?:`(.+)` = )?([\d.]+)", largest).groups()
    assert float(number) == pytest.approx(expected.max().item(), abs=5e-4)
    assert formula is None or eval(formula, values) == pytest.approx(expected.max().item())
