"""How many instructions the Triton kernels of a LIF neuron need for each number, by their machine code.

    python benchmarks/triton_instructions.py

Compiles for compute capability 9.0 (H100, H200), which takes Triton and no GPU, and counts what stands in the
loop over chunks, for each number of a sequence. Integers and addresses count too; what is in a function that
is called, as in the slow path of a division, does not.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import measure
import torch

CHUNK, WARPS, WIDTH = 4, 4, 4
INPUTS, KINDS = ("x", "out", "go", "gx"), {"float32": "*fp32", "bfloat16": "*bf16"}


def compiled(loop: str, kind: str) -> bytes:
    """The machine code of a kernel, as a training launches it: from a fresh state, with notes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spikeloom import neuron, surrogate
    from spikeloom.loom.cache import load_module
    from spikeloom.loom.triton_loop import emit
    from spikeloom.loom.triton_operations import on_cuda
    from spikeloom.loom.triton_run import HELPERS
    from spikeloom.loom.weave import plans

    woven = plans(neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan()), (7, 7), torch.float32)
    source = emit(woven._replace(step=on_cuda(woven.step)), torch.float32, CHUNK)
    kernel = getattr(load_module(source, HELPERS), f"{loop}_loop")
    constants: dict[str, Any] = {"BLOCK": 32 * WARPS * WIDTH}
    types, aligned = {}, {}
    for place, name in enumerate(kernel.arg_names):
        if name.startswith("each_"):
            constants[name] = False
        elif name.startswith(("seq_", "start_g")):
            constants[name] = None
        elif name in ("num_steps", "num_neurons"):
            types[name] = "i32"
        elif name in INPUTS:
            types[name] = KINDS[kind]
        else:
            types[name] = "*fp32" if name.startswith(("final_m", "note_")) else "fp32"
        if name in constants:
            types[name] = "constexpr"
        elif types[name].startswith("*") or name == "num_neurons":
            aligned[place,] = [["tt.divisibility", 16]]
    made = ASTSource(fn=kernel, signature=types, constexprs=constants, attrs=aligned)
    options = {"num_warps": WARPS, "enable_fp_fusion": False}
    return triton.compile(made, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"]


def in_the_loop(machine_code: bytes) -> int:
    """Instructions from the target of the longest jump back to that jump."""
    import triton

    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "nvdisasm"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(machine_code)
        file.flush()
        text = subprocess.run([program, "-c", file.name], capture_output=True, text=True, check=True).stdout
    number, longest, places = 0, 0, {}
    for line in text.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            places[label[1]] = number
        elif instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*?);", line):
            number += 1
            if jump := re.search(r"BRA.*?`\((\.L_x_\d+)\)", instruction[1]):
                longest = max(longest, number - places.get(jump[1], number))
    return longest


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    print(measure.versions("torch", "triton"))
    for kind in KINDS:
        for loop in ("forward", "backward"):
            count = in_the_loop(compiled(loop, kind)) / (CHUNK * WIDTH)
            print(f"LIF, {kind}, {loop}: {count:.1f} instructions for each number")


if __name__ == "__main__":
    main()
