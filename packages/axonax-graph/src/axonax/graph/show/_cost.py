"""Operations and bytes of a step, counted on shapes alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from axonax.graph.program._infer import UNKNOWN, Abstract
from axonax.graph.program._plan import Step
from axonax.graph.program._run import Call, execute, struct

# One operation for each element of the result; what only moves or compares numbers counts nothing.
_ARITHMETIC = frozenset(
    {"add", "add_any", "sub", "mul", "div", "rem", "neg", "max", "min", "pow", "integer_pow", "square", "abs"}
    | {"exp", "exp2", "expm1", "log", "log1p", "tanh", "sinh", "cosh", "logistic", "sin", "cos", "tan"}
    | {"asin", "acos", "atan", "atan2", "erf", "erfc", "erf_inv", "rsqrt", "sqrt", "cbrt", "sign"}
    | {"floor", "ceil", "round", "nextafter", "lgamma", "digamma"}
)
# One operation for each element of the operand: of the result, times the sizes that are reduced.
_REDUCING = frozenset(
    {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "argmax", "argmin"}
    | {"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"}
)


def flops(step: Step, inputs: Sequence[Any], leaves: Mapping[str, Any]) -> int | None:
    """The floating-point operations of a step when predicting; ``None`` if a size is open.

    A multiplication and an addition are two, a function such as ``exp`` is one; a scan counts as often as it
    runs, of a choice the dearer branch counts, and a loop of unknown length once.

    Args:
        step: of a plan.
        inputs: its inputs as `Abstract` trees.
        leaves: parameters and buffers by path, as ``jax.ShapeDtypeStruct``; ``None`` for one of open size.
    """
    specs = [_specs(value) for value in inputs]
    computation = step.layer.computation
    params = {step.ties[name].path if name in step.ties else step.leaf(name) for name in computation.params}
    buffers = {step.leaf(name) for name in computation.buffers}
    known = [leaves.get(path) for path in params | buffers]
    if UNKNOWN in specs or any(each is None for each in known):
        return None

    def run(inputs: Any, params: Any, buffers: Any) -> Any:
        return execute(step, inputs, Call(variables=params, buffers=buffers))

    parts = ({path: leaves[path] for path in paths} for paths in (params, buffers))
    return _counted(jax.make_jaxpr(run)(specs, *parts).jaxpr)


def nbytes(value: Any) -> int | None:
    """The bytes of a value; ``None`` if a size is open."""
    specs = _specs(value)
    if specs is UNKNOWN:
        return None
    sizes: list[int] = [math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(specs)]
    return sum(sizes)


def _specs(value: Any) -> Any:
    """A value as ``jax.ShapeDtypeStruct``; ``UNKNOWN`` if a size is open."""
    leaves: list[Abstract] = [] if value is UNKNOWN else jax.tree.leaves(value)
    if value is UNKNOWN or any(leaf.dtype is None or None in leaf.shape for leaf in leaves):
        return UNKNOWN
    return jax.tree.map(lambda leaf: struct(leaf.shape, leaf.dtype), value)


def _counted(jaxpr: Any) -> int:
    """The operations of a jaxpr."""
    counts: list[int] = [_equation(each) for each in jaxpr.eqns]
    return sum(counts)


def _equation(equation: Any) -> int:
    """The operations of one line of a jaxpr."""
    name, params = equation.primitive.name, equation.params
    if name in ("scan", "cond"):
        inner = [_counted(each) for each in _jaxprs(params)]
        return int(params["length"]) * sum(inner) if name == "scan" else max(inner)
    shapes = [getattr(each.aval, "shape", ()) for each in equation.invars]
    size: int = sum(math.prod(each.aval.shape) for each in equation.outvars)
    return size * _each(name, params, shapes) + sum(_counted(each) for each in _jaxprs(params))


def _each(name: str, params: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> int:
    """The operations of a primitive for each element of its result."""
    each = int(name in _ARITHMETIC)
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        each = 2 * math.prod(shapes[0][axis] for axis in contracted)
    elif name == "conv_general_dilated":
        outputs = params["dimension_numbers"].rhs_spec[0]
        each = 2 * math.prod(size for axis, size in enumerate(shapes[1]) if axis != outputs)
    elif name.startswith("reduce_window"):
        each = math.prod(params["window_dimensions"])
    elif name in _REDUCING:
        each = math.prod(shapes[0][axis] for axis in params.get("axes", ()))
    return each


def _jaxprs(params: Mapping[str, Any]) -> Iterator[Any]:
    """The programs within the parameters of a primitive: those of a call, a loop, a choice."""
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            closed = getattr(each, "jaxpr", each)
            if hasattr(closed, "eqns"):
                yield closed
