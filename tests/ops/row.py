"""What the table says of an op: where it is called, what it must give, how near, and who else has it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

MODULES = {
    "activations": "axonax.tensor.activations",
    "initializers": "axonax.tensor.initializers",
    "layers": "axonax.tensor.layers",
    "losses": "axonax.functional.losses",
    "metrics": "axonax.functional.metrics",
}
Gradient = Literal["both", "reverse", "none"]


@dataclass(frozen=True)
class Key:
    """A PRNG key, made when the case is called."""

    seed: int


@dataclass(frozen=True, repr=False)
class Case:
    """Arguments of one call. NumPy arrays are traced and take the dtype under test if they are floats;
    anything else is static."""

    args: tuple[Any, ...]
    options: dict[str, Any]

    def __repr__(self) -> str:
        def short(value: Any) -> str:
            return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)

        options = [f"{name}={short(value)}" for name, value in self.options.items()]
        return f"({', '.join([*map(short, self.args), *options])})"

    @property
    def arrays(self) -> list[np.ndarray]:
        """All arrays, those of ``args`` first."""
        return [leaf for leaf in jax.tree.leaves((self.args, self.options)) if isinstance(leaf, np.ndarray)]

    def floats(self) -> list[int]:
        """Which of `arrays` are floats within ``args``: what gradients are taken of."""
        leaves = [leaf for leaf in jax.tree.leaves(self.args) if isinstance(leaf, np.ndarray)]
        return [index for index, leaf in enumerate(leaves) if leaf.dtype.kind == "f"]

    def cast(self, dtype: Any) -> list[np.ndarray]:
        """`arrays` with the floats rounded to ``dtype`` (by way of float32, as a user's data comes)."""
        return [each.astype(dtype) if each.dtype.kind == "f" else each for each in self.arrays]

    def fill(self, arrays: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """``(args, options)`` with ``arrays`` in place of its own."""
        leaves, structure = jax.tree.flatten((self.args, self.options))
        fresh = iter(arrays)
        filled = [next(fresh) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves]
        made = [jax.random.key(leaf.seed) if isinstance(leaf, Key) else leaf for leaf in filled]
        return jax.tree.unflatten(structure, made)

    def bind(self, op: Callable[..., Any]) -> Callable[..., Any]:
        """``op`` as a function of the arrays alone."""

        def call(*arrays: Any) -> Any:
            args, options = self.fill(arrays)
            return op(*args, **options)

        return call


def case(*args: Any, **options: Any) -> Case:
    """A call; lists among the arguments stay static, arrays are traced."""
    return Case(args, options)


@dataclass(frozen=True)
class Bound:
    """How far float32 may be from the oracle: in ulp of each result, or ``absolute``, or ``relative`` to the
    largest result, whichever allows more."""

    ulp: float
    absolute: float = 0.0
    relative: float = 0.0
    reason: str = ""

    def __post_init__(self) -> None:
        if self.absolute and not self.reason:
            raise ValueError("an absolute bound needs its reason")


ELEMENTWISE = Bound(4)
REDUCTION = Bound(16, relative=1e-6)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every kind of row has. The name (``"activations.elu"``) finds the op."""

    name: str
    formula: str
    oracle_name: str
    peers: str = ""
    torch: str | None = None
    """the same in torch, an expression of the op's parameters by name; see ``tools/write_fixtures.py``"""
    no_torch: str = ""
    laws: tuple[Callable[[Any], None], ...] = ()
    """further facts, each a function that takes the op and asserts"""

    def __post_init__(self) -> None:
        if (self.torch is None) != bool(self.no_torch):
            raise ValueError(f"{self.name}: a row has a counterpart in torch or the reason why not")

    @property
    def area(self) -> str:
        """The module's short name."""
        return self.name.split(".")[0]

    @property
    def op(self) -> Any:
        """The public op."""
        area, name = self.name.split(".")
        return getattr(importlib.import_module(MODULES[area]), name)


@dataclass(frozen=True, kw_only=True)
class OpRow(Row):
    """A deterministic function of arrays. The first case is generic: off the kinks, so that differences,
    half precision, transforms and torch are compared there; all are compared with the oracle."""

    cases: tuple[Case, ...]
    oracle: Callable[..., Any]
    """the op with the same parameters, in float64 NumPy, sharing no code with ours"""
    bound: Bound = ELEMENTWISE
    gradient: Gradient = "both"
    gradient_reason: str = ""
    wrt: tuple[int, ...] | None = None
    """which of the arrays gradients are taken of; the floats among the positional arguments if ``None``"""
    graded: int | None = None
    """which leaf of the result gradients are taken of, if not all floats"""
    edges: tuple[Case, ...] = ()
    """where the gradient in float32 must be finite"""
    smooth: int | None = None
    """how many of the first cases are off the kinks; all if ``None``"""
    half: bool = True
    """whether float16 and bfloat16 must equal the rounded float32 result"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gradient != "both" and not self.gradient_reason:
            raise ValueError(f"{self.name}: {self.gradient} gradient needs its reason")

    def differentiable(self, one: Case) -> tuple[int, ...]:
        """Indices into the arrays of a case."""
        return tuple(one.floats()) if self.wrt is None else self.wrt

    def graded_of(self, result: Any) -> list[Any]:
        """The leaves of a result that gradients are taken of."""
        leaves = jax.tree.leaves(result)
        if self.graded is not None:
            return [leaves[self.graded]]
        return [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]


@dataclass(frozen=True, kw_only=True)
class LossRow(OpRow):
    """A loss; its first case has ``reduction="none"`` and no weights."""

    domain: tuple[tuple[Case, tuple[Callable[[tuple[int, ...]], Any], ...]], ...]
    """calls, each with a maker of strategies (of a shape) for each of its arrays: on all these values the
    loss and its gradient are finite"""
    bound: Bound = REDUCTION
    shared: tuple[int, ...] = ()
    """which of the arrays have no dimension of examples"""


@dataclass(frozen=True, kw_only=True)
class MetricRow(Row):
    """A factory of metrics over examples."""

    cases: tuple[Case, ...]
    """``(y_true, y_pred)`` of one pass, the factory's options"""
    oracle: Callable[..., Any]
    """``(y_true, y_pred, weights, **options)`` over the whole pass, in float64"""
    empty: Any = 0.0
    """the value over nothing"""
    rtol: float = 1e-6
    weighted: bool = True
    ordered: bool = False
    """whether the order of examples matters: then nothing merges"""


@dataclass(frozen=True, kw_only=True)
class DrawRow(Row):
    """A factory of initializers; ``options`` and ``shape`` of each case, and what the draw must be like."""

    cases: tuple[Case, ...]
    """``case(shape, check, **options)``: ``check`` takes the array in float64"""
    constant: bool = False
    """whether the key has no part in it"""


def halves() -> tuple[Any, ...]:
    """The dtypes of half precision."""
    return (np.float16, jnp.bfloat16)
