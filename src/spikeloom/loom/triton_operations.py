"""How a Triton kernel writes the operations of a plan, and what ATen computes otherwise on a CUDA device.

A template is an expression on blocks of values; those that Numba and Triton write alike are in operations.py.
``divide`` and its like are of triton_math.py.
"""

from dataclasses import replace

from spikeloom.loom.operations import OPERATIONS
from spikeloom.loom.plan import Argument, Instruction, Literal, Plan, Value
from spikeloom.loom.step import Step

_TEMPLATES = {
    "div": "divide({0}, {1})",
    "neg": "({0} * -1.0)",  # Triton writes -a as 0 - a, which makes the negative of 0 positive
    "reciprocal": "divide(one, {0})",
    "abs": "tl.abs({0})",
    "sign": "(tl.where({0} > zero, one, zero) - tl.where({0} < zero, one, zero))",
    # Conditions, because Triton's own minimum and maximum treat NaN otherwise than ATen's.
    "minimum": "tl.where(({0} <= {1}) | ({0} != {0}), {0}, {1})",
    "maximum": "tl.where(({0} >= {1}) | ({0} != {0}), {0}, {1})",
    "where": "tl.where({0}, {1}, {2})",
    "to_float": "tl.where({0}, one, zero)",
    "not": "({0} == 0)",
    "rsqrt": "rsqrt({0})",
    "pow": "power({0}, {1})",
}


_QUICK = {
    "div": "quick_divide({0}, {1})",
    "reciprocal": "quick_reciprocal({0})",
    "sigmoid": "quick_reciprocal(one + exp({0} * -1.0))",
}


def template(operation: str) -> str:
    """The expression of an operation, with ``{0}``, ``{1}``, ... for its arguments."""
    return _TEMPLATES.get(operation, OPERATIONS[operation].template)


def in_gradient(operation: str) -> str:
    """The expression of an operation where it makes a gradient, and no spike depends on its last bit."""
    return _QUICK.get(operation, template(operation))


def on_cuda(step: Step) -> Step:
    """The step with the operations that ATen carries out on a CUDA device.

    There it divides by a number as it multiplies by the number's reciprocal, itself rounded.
    """
    return replace(step, forward=_reciprocal(step.forward), backward=_reciprocal(step.backward))


def _reciprocal(plan: Plan) -> Plan:
    """The plan without divisions by literals."""
    instructions: list[Instruction] = []
    free = max([plan.num_inputs, *(one.result.number + 1 for one in plan.instructions)])
    for one in plan.instructions:
        if one.operation == "div" and isinstance(one.arguments[1], Literal):
            inverse = Value(free)
            free += 1
            instructions.append(Instruction(inverse, "reciprocal", one.arguments[1:]))
            factors: tuple[Argument, ...] = (one.arguments[0], inverse)
            one = Instruction(one.result, "mul", factors)
        instructions.append(one)
    return Plan(plan.num_inputs, tuple(instructions), plan.outputs)
