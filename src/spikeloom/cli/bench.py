"""``spikeloom bench``."""

import ast
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from spikeloom.cli.options import Bench, parsed
from spikeloom.errors import UnknownNameError, suggest


def bench(arguments: list[str]) -> None:
    """``spikeloom bench [NEURON]``"""
    options = parsed(Bench, "spikeloom bench", arguments)
    import torch

    from spikeloom import profile

    name, opened, inside = options.neuron.partition("(")
    cls, settings = _class(name.strip()), _settings(inside if opened else ")")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UnknownNameError("`device` must be there, but PyTorch finds no CUDA device. Give --device cpu.")
    try:
        print(profile.speed(cls(**settings), (options.neurons,), options.T, options.device))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UnknownNameError(f"{options.neuron} cannot be measured: {error}") from error


def _settings(inside: str) -> dict[str, Any]:
    """The arguments of ``(tau=3.0, v_reset=None)``, without the first parenthesis."""
    try:
        call = ast.parse(f"f({inside}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("it has more than settings")
        return {str(one.arg): ast.literal_eval(one.value) for one in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UnknownNameError(
            f'`neuron` must be a name, or one with settings as in "LIFNode(tau=3.0)", got ({inside}.'
        ) from error


def _class(name: str) -> Any:
    """The class of that name: of the package, of a file or of a module."""
    from spikeloom import neuron

    where, found, what = name.rpartition(":")
    if not found:
        if what not in neuron.__all__:
            raise UnknownNameError(f"There is no neuron '{what}'. {suggest(what, neuron.__all__)}")
        return getattr(neuron, what)
    if not where:
        raise UnknownNameError(f"`neuron` must have a file or a module before its colon, got '{name}'.")
    module = _module(where, what)
    if not hasattr(module, what):
        classes = [one for one, value in vars(module).items() if isinstance(value, type)]
        raise UnknownNameError(f"{where} has no class '{what}'. {suggest(what, classes)}")
    return getattr(module, what)


def _module(where: str, what: str) -> Any:
    if not where.endswith(".py"):
        sys.path.insert(0, "")  # the folder that the user is in
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise UnknownNameError(
                f"There is no module {error.name}. For a file, write {where}.py:{what}."
            ) from error
    path = Path(where).expanduser()
    name = f"spikeloom bench {path.stem}"  # a file may be called like a library
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnknownNameError(f"There is no file {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
