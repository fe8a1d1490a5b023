"""In which dtypes a model keeps its parameters, computes, and answers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PyTree = Any
_SHORT = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64"}


@dataclass(frozen=True)
class Policy:
    """Dtypes of the parameters, of the computation and of the output.

    Any spelling of a float dtype will do (``"bf16"``, ``"bfloat16"``, ``jnp.bfloat16``); the fields hold
    its full name. Casts leave integers, booleans, complex numbers and PRNG keys alone.

    Raises:
        ValueError: a field is not a float dtype.

    >>> str(Policy(compute="bf16"))
    'p=f32 c=bf16 o=f32'
    """

    params: str = "float32"
    compute: str = "float32"
    output: str = "float32"

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _canonical(field.name, getattr(self, field.name)))

    def __str__(self) -> str:
        parts = (("p", self.params), ("c", self.compute), ("o", self.output))
        return " ".join(f"{letter}={dtype.replace('float', 'f')}" for letter, dtype in parts)

    def cast_params(self, tree: PyTree) -> PyTree:
        """``tree`` with its float leaves in the dtype of parameters.

        >>> str(Policy(params="f16").cast_params({"kernel": jnp.ones(2)})["kernel"].dtype)
        'float16'
        """
        return cast(tree, self.params)

    def cast_compute(self, tree: PyTree) -> PyTree:
        """``tree`` with its float leaves in the dtype of the computation."""
        return cast(tree, self.compute)

    def cast_output(self, tree: PyTree) -> PyTree:
        """``tree`` with its float leaves in the dtype of the output."""
        return cast(tree, self.output)


def promoted(*dtypes: Any) -> Any:
    """The dtype that holds all of ``dtypes``, by JAX's table even where its strict promotion is on.

    For functions that widen on purpose: the strict mode guards against what happens unseen.

    >>> promoted("bfloat16", "float32").name
    'float32'
    """
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(jnp.dtype(dtype) for dtype in dtypes))


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """``tree`` with its float leaves in ``dtype``; all other leaves as they are.

    Args:
        tree: arrays, ``jax.ShapeDtypeStruct`` or Python scalars (these have no dtype and stay).
        dtype: a float dtype.

    Returns:
        a tree of the same structure and shapes; ``tree`` itself where there is nothing to cast, so that dicts
        keep their order.

    >>> {k: str(v.dtype) for k, v in cast({"x": jnp.ones(2), "n": jnp.arange(2)}, "bfloat16").items()}
    {'n': 'int32', 'x': 'bfloat16'}
    """
    target = jnp.dtype(dtype)

    def differs(leaf: Any) -> bool:
        own = getattr(leaf, "dtype", None)
        return own is not None and own != target and bool(jnp.issubdtype(own, jnp.floating))

    if not any(map(differs, jax.tree.leaves(tree))):
        return tree

    def one(leaf: Any) -> Any:
        if not differs(leaf):
            return leaf
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(leaf.shape, target, sharding=leaf.sharding)  # type: ignore[no-untyped-call]
        return jnp.asarray(leaf, target)

    return jax.tree.map(one, tree)


def _canonical(name: str, dtype: Any) -> str:
    try:
        found = jnp.dtype(_SHORT.get(dtype, dtype) if isinstance(dtype, str) else dtype)
    except TypeError:
        found = np.dtype(np.void)
    if not jnp.issubdtype(found, jnp.floating):
        raise ValueError(f"policy: {name} must be a float dtype, got {dtype!r}")
    return found.name
