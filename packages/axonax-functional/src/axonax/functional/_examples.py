"""What every loss and metric asks of its arguments: shapes, dtypes, weights and masks."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor.precision import promoted


def is_concrete(value: Any) -> bool:
    """Whether the numbers of ``value`` can be read now, on this host: not a tracer, not a shape alone."""
    if isinstance(value, jax.core.Tracer | jax.ShapeDtypeStruct):
        return False
    return bool(getattr(value, "is_fully_addressable", True))


def readable(labels: Any, where: Any) -> np.ndarray[Any, Any] | None:
    """The labels that ``where`` keeps, or ``None`` if either cannot be read on this host."""
    if not is_concrete(labels) or (where is not None and not is_concrete(where)):
        return None
    found = np.asarray(labels)
    return found if where is None else found[np.asarray(where)]


def dtype_of(value: Any) -> Any:
    """The dtype of an array, a `jax.ShapeDtypeStruct` or what NumPy makes of a list."""
    return value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype


def require_same_shape(who: str, y_true: Any, y_pred: Any) -> None:
    """Fail unless the shapes agree exactly: nothing is broadcast."""
    require_equal_shapes(who, {"y_true": y_true, "y_pred": y_pred})


def require_equal_shapes(who: str, named: dict[str, Any]) -> None:
    """`require_same_shape` of any number of arrays, by the names that errors call them."""
    first, *rest = named
    for each in rest:
        if np.shape(named[first]) != np.shape(named[each]):
            raise ValueError(
                f"{who}: {first} and {each} must have the same shape, got {np.shape(named[first])} and "
                f"{np.shape(named[each])}; nothing is broadcast{_column_hint(named, first, each)}"
            )


def _column_hint(named: dict[str, Any], one: str, two: str) -> str:
    """A way out where one side has a last dimension of 1 that the other lacks."""
    left, right = np.shape(named[one]), np.shape(named[two])
    if right == (*left, 1):
        return f" (take {two}[..., 0], or {one}[..., None])"
    if left == (*right, 1):
        return f" (take {one}[..., 0], or {two}[..., None])"
    return ""


def floating_dtype(who: str, *arrays: jax.Array) -> Any:
    """The dtype of a result: the promoted floating dtype of the arrays, JAX's default if all are integers."""
    if any(jnp.issubdtype(array.dtype, jnp.complexfloating) for array in arrays):
        raise ValueError(
            f"{who}: y_true and y_pred must be real, got {', '.join(str(array.dtype) for array in arrays)}"
        )
    floats = [array.dtype for array in arrays if jnp.issubdtype(array.dtype, jnp.floating)]
    return promoted(*floats) if floats else jnp.zeros(()).dtype


def computing_dtype(dtype: Any) -> Any:
    """What a result of ``dtype`` is computed in: float32 at least."""
    return promoted(dtype, jnp.float32)


def limits(dtype: Any) -> Any:
    """``jnp.finfo`` of a floating dtype, of JAX's default for integers."""
    floating = dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.zeros(()).dtype
    return jnp.finfo(floating)  # type: ignore[no-untyped-call]


def spread(who: str, name: str, value: Any, shape: tuple[int, ...]) -> jax.Array:
    """``value`` brought to ``shape``, whose leading dimensions it must have: one number an example, say."""
    value = jnp.asarray(value)
    if value.shape != shape[: value.ndim]:
        raise ValueError(
            f"{who}: {name} must have the shape {shape} of the examples or its leading dimensions, "
            f"got {value.shape}"
        )
    return jnp.broadcast_to(value.reshape(value.shape + (1,) * (len(shape) - value.ndim)), shape)


def mask(who: str, where: Any, shape: tuple[int, ...]) -> jax.Array | None:
    """``where`` brought to ``shape``; ``None`` where every example counts."""
    if where is None:
        return None
    if dtype_of(where) != np.bool_:
        raise ValueError(
            f"{who}: where must be boolean (True counts), got {dtype_of(where)}; numbers go to weights="
        )
    return spread(who, "where", where, shape)


def require_nonnegative(who: str, name: str, value: float) -> None:
    """Fail unless ``value``, a number known to the host, is 0 or more."""
    if not value >= 0:
        raise ValueError(f"{who}: {name} must be at least 0, got {value}")


def require_positive(who: str, name: str, value: float) -> None:
    """Fail unless ``value``, a number known to the host, is above 0."""
    if not value > 0:
        raise ValueError(f"{who}: {name} must be above 0, got {value}")


def require_fraction(who: str, name: str, value: float) -> None:
    """Fail unless ``value``, a number known to the host, lies in [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{who}: {name} must be in [0, 1], got {value}")
