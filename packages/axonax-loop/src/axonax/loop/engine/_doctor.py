"""The doctor of a strict run: what made a step compile again, what waited, where a NaN came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from axonax.loop.engine._position import Position
from axonax.tensor import trees

PyTree = Any
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_WITHIN = ("scan", "while", "cond")  # their bodies are not called once with their arguments


class NonFiniteError(ArithmeticError):
    """A loss was not finite; the text names the step."""


class RecompileError(RuntimeError):
    """A step would compile again after the first epoch; the text names what changed."""


class Looked(Protocol):
    """What the doctor looks at: the newest step, whether a loss was not finite, and where that came from."""

    newest: tuple[Any, ...]

    @property
    def nonfinite(self) -> int | None: ...

    def diagnosis(self) -> str: ...


class Doctor:
    """Looks at each step of a strict run."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def examine(self, machine: Looked, position: Position) -> None:
        """Look at the step just taken.

        Raises:
            NonFiniteError: its loss is not finite; the text names the operation.
            RecompileError: its batch has a shape that the first epoch did not have.
        """
        batch = machine.newest[1][0]
        kind = ", ".join(
            f"{path or 'batch'} {trees.describe(leaf)}" for path, leaf in trees.flatten(batch).items()
        )
        where = f"batch {position.epoch_iteration - 1} of epoch {position.epoch}"
        if position.epoch > 1 and kind not in self._kinds:
            raise RecompileError(
                f"strict: {where} is unlike all of the first epoch, the step compiled again: {kind}"
            )
        self._kinds.add(kind)
        if machine.nonfinite is not None:
            at = f"iteration {position.iteration} ({where})"
            raise NonFiniteError(f"strict: the loss is not finite at {at}: {machine.diagnosis()}")


def check_structure(old: PyTree, new: PyTree, where: str) -> None:
    """Raise if a step state would make the step compile again.

    Raises:
        RecompileError: a leaf changed its shape or dtype, or came or went; the text lists them.
    """
    lines = trees.diff(old, new)
    if lines:
        raise RecompileError(
            f"strict: {where} changed the step state, the step would compile again "
            f"(first: was, second: is): {'; '.join(lines)}"
        )


def origin(function: Callable[..., Any], *arguments: Any) -> str:
    """The operation of a function whose result is the first that is not finite, from finite operands.

    It is run operation by operation. Named scopes say where it stands, as the path of a node.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    leaves = jax.tree.leaves(arguments)
    wrong = [leaf for leaf in leaves if not _finite(leaf)]
    if wrong:
        return "what the step was given (parameters or batch) is not finite already"
    try:
        _walk(closed.jaxpr, closed.consts, leaves, "")
    except _Found as found:
        return str(found)
    return "no single operation gives it"


class _Found(Exception):
    """The operation was found."""


def _walk(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], scope: str) -> list[Any]:
    """The results of a program run operation by operation.

    Raises:
        _Found: one of them is not finite.
    """
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

    def read(variable: Any) -> Any:
        return variable.val if hasattr(variable, "val") else values[variable]

    for eqn in jaxpr.eqns:
        inputs = [read(variable) for variable in eqn.invars]
        here = "/".join(part for part in (scope, str(eqn.source_info.name_stack)) if part)
        inner = next((eqn.params[name] for name in _CALLS if name in eqn.params), None)
        if inner is not None and eqn.primitive.name not in _WITHIN:
            body = getattr(inner, "jaxpr", inner)
            results = _walk(body, getattr(inner, "consts", ()), inputs, here)
        else:
            bound = eqn.primitive.get_bind_params(eqn.params)
            functions, params = bound if isinstance(bound, tuple) else ((), bound)  # by the version of JAX
            results = eqn.primitive.bind(*functions, *inputs, **params)
            results = results if eqn.primitive.multiple_results else [results]
        if all(map(_finite, inputs)) and not all(map(_finite, results)):
            place = f'in "{here}"' if here else "outside of any named scope"
            shapes = ", ".join(trees.describe(each) for each in inputs)
            raise _Found(f"first by {eqn.primitive.name} {place}, of {shapes or 'nothing'}")
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _finite(leaf: Any) -> bool:
    if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return True
    return bool(jnp.isfinite(leaf).all())
