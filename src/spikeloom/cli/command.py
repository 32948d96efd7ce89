"""One command: its name, its errors as one message, its exit code."""

import io
import os
import re
import sys
import warnings
from collections.abc import Callable
from importlib import metadata

from spikeloom.cli import trained
from spikeloom.cli.bench import bench
from spikeloom.cli.failing import fail, shown
from spikeloom.cli.listing import list_recipes
from spikeloom.cli.train import train
from spikeloom.errors import SpikeloomError, UnknownNameError, suggest

HELP = """\
usage: spikeloom COMMAND [options]

Train spiking neural networks by recipes that say what they reach.

commands
  list [PATTERN]           the recipes, with what they claim and what they cost
  train RECIPE [options]   train; `spikeloom train RECIPE --help` lists the options
  train --resume RUN       continue a training that was stopped or killed
  test RUN [options]       the accuracy of a run's network on the test samples
  plot RUN [options]       figures: learning curves, rasters, membrane potentials
  profile RUN [options]    what a run's network costs: operations, energy, memory
  export RUN [options]     a run's network as a NIR graph or an ONNX model
  bench [NEURON]           how fast a neuron runs here, one of yours too

examples
  spikeloom train lif-fc
  spikeloom train lif-fc --dataset mnist --data-dir ~/data --epochs 20
  spikeloom train --resume runs/lif-fc-digits-20261122-120000
  spikeloom plot runs/lif-fc-digits-20261122-120000 --sample 3
  spikeloom profile runs/lif-fc-digits-20261122-120000
  spikeloom bench my_neurons.py:MyNode

exit codes: 0 done, 1 failed, 2 wrong arguments, 130 stopped by Ctrl-C
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments; default: those of the process.
    Returns:
        the exit code: 0 done, 1 failed, 2 wrong arguments, 130 stopped by Ctrl-C
    """
    arguments = sys.argv[1:] if argv is None else argv
    streams = [one for one in (sys.stdout, sys.stderr) if isinstance(one, io.TextIOWrapper)]
    errors_before = [stream.errors for stream in streams]
    for stream in streams:  # paths may hold what they cannot show
        stream.reconfigure(errors="backslashreplace")
    format_before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_: f"spikeloom: {message}\n"
    try:
        return _run(arguments)
    finally:
        warnings.formatwarning = format_before
        for stream, errors in zip(streams, errors_before, strict=True):
            stream.reconfigure(errors=errors)


def _run(arguments: list[str]) -> int:
    """The command that ``arguments`` name, with errors as one message and an exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(f"spikeloom {metadata.version('spikeloom')}")
        return 0
    if "" in arguments or any(one.startswith("--") and one.endswith("=") for one in arguments):
        return fail("One of the arguments is empty. Perhaps a variable is not set?", 2)
    commands: dict[str, Callable[[list[str]], None]] = {
        "list": list_recipes, "train": train, "test": trained.test, "plot": trained.plot,
        "profile": trained.profile, "export": trained.export, "bench": bench,
    }  # fmt: skip
    try:
        if arguments[0] not in commands:
            raise UnknownNameError(f"There is no command '{arguments[0]}'. {suggest(arguments[0], commands)}")
        commands[arguments[0]](arguments[1:])
    except UnknownNameError as error:
        return fail(str(error), 2)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SpikeloomError, OSError) as error:
        return fail(shown(error), 1)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not re.search("allocate memory|out of memory", str(error)):
            raise
        return fail("There is too little memory for these sizes. Make the largest of them smaller.", 1)
    except Warning as warning:
        return fail(f"{warning} (PYTHONWARNINGS makes warnings errors.)", 1)
    except KeyboardInterrupt:
        return fail("stopped.", 130)
    except SystemExit as exit_:  # tyro: 0 after --help, 2 after wrong arguments
        return exit_.code if isinstance(exit_.code, int) else 1
    return 0
