"""What optimizers and training loops both need: apply updates, live hyperparameters, averaged parameters."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import names, trees
from axonax.tensor.precision import promoted

PyTree = Any


class Range(NamedTuple):
    """The finite numbers from ``low`` to below ``high``; without ``low`` itself where it is ``open``."""

    low: float
    high: float
    open: bool = False

    def __str__(self) -> str:
        if not math.isfinite(self.low):
            return "finite"
        if math.isfinite(self.high):
            return f"in {'(' if self.open else '['}{self.low:g}, {self.high:g})"
        return f"{'above' if self.open else 'at least'} {self.low:g}"

    def holds(self, values: Any) -> bool:
        """Whether all ``values`` lie in the range; NaN does not."""
        values = np.asarray(values)
        above = values > self.low if self.open else values >= self.low
        return bool(np.all(np.isfinite(values) & above & (values < self.high)))


@jax.tree_util.register_static
class Signature(NamedTuple):
    """Whose state it is, and what its hyperparameters are called and may be.

    Part of the structure of a state, without a leaf; a tuple, since it is compared in every call of a
    compiled step.
    """

    owner: str
    names: tuple[str, ...]
    ranges: tuple[Range, ...]


class LiveState(NamedTuple):
    """The state of an optimizer whose hyperparameters can be read and set, under ``jit`` too.

    ``numbers`` is float32 of shape ``(2, len(names))``, in the order of the names in the signature: the
    values in force, and 1 where a value was set, 0 where the optimizer's own number or schedule rules;
    ``None`` where there are no names. One leaf whatever their number, and a NamedTuple, keep a small step
    cheap.
    """

    step: jax.Array
    numbers: Any
    inner: PyTree
    signature: Signature

    @property
    def values(self) -> Any:
        """The hyperparameters in force, of shape ``(len(names),)``."""
        return self.numbers[..., 0, :]

    @property
    def is_set(self) -> Any:
        """Which hyperparameters were set, of shape ``(len(names),)``: the others follow the optimizer."""
        return self.numbers[..., 1, :] > 0


class GroupsState(NamedTuple):
    """The state of several optimizers that share a tree, by the label of their group."""

    groups: dict[str, PyTree]


def apply_updates(params: PyTree, updates: PyTree) -> PyTree:
    """``params + updates``, leaf by leaf, in the dtype of ``params``.

    Args:
        params: any pytree of arrays; a leaf may be ``None`` (it stays ``None``).
        updates: a pytree of the same structure and shapes; a leaf may be ``None`` (no change).

    Returns:
        the new parameters, each leaf with the shape and dtype that it had.

    >>> apply_updates({"w": jnp.ones(2)}, {"w": -jnp.ones(2)})["w"].tolist()
    [0.0, 0.0]
    """

    def add(update: Any, param: Any) -> Any:
        if update is None or param is None:
            return param
        param = jnp.asarray(param)
        wide = promoted(param.dtype, jnp.asarray(update).dtype)
        return (param.astype(wide) + jnp.asarray(update, wide)).astype(param.dtype)

    return jax.tree.map(add, updates, params, is_leaf=lambda leaf: leaf is None)


def hyperparams(opt_state: PyTree) -> dict[str, Any]:
    """The live hyperparameters of an optimizer's state.

    Args:
        opt_state: a state made by an optimizer of `axonax.optim`, by ``optax.inject_hyperparams``, or any
            tree that holds such states.

    Returns:
        name to float32 scalar; with groups, label of the group to such a dict. A name (or label) that stands
        in two transforms of a chain (or in one that wraps another: the outer comes first) is numbered:
        ``"decay"``, ``"decay_1"``.
    """
    found: dict[str, Any] = {}
    for node in _nodes(opt_state):
        if isinstance(node, GroupsState):
            for label, state in node.groups.items():
                found[_numbered(label, found)] = hyperparams(state)
            continue
        for name, value in _read(node).items():
            found[_numbered(name, found)] = value
    return found


def with_hyperparams(opt_state: PyTree, /, **values: Any) -> PyTree:
    """The state with hyperparameters set; a set value overrides a schedule until it is set to ``None``.

    Works under ``jit``, ``vmap`` and ``scan``, and never recompiles a step: shapes and dtypes stay. A value
    must lie in the range that the optimizer allows; a traced one has no value to look at and is not checked.

    Args:
        opt_state: as for `hyperparams`.
        **values: a number or scalar array by name (``None`` ends an override); with groups, set for every
            group that has the name, or for one by ``**{"**/bias": {"learning_rate": 0.1}}``.

    Raises:
        ValueError: no transform in ``opt_state`` has the name (the text lists near matches); a value is no
            number, lies outside its range, or has more axes than the state has copies.
    """
    known = hyperparams(opt_state)
    everywhere = {name for value in known.values() if isinstance(value, dict) for name in value}
    for name, value in values.items():
        names.lookup({**known, **dict.fromkeys(everywhere)}, name, "hyperparameter")
        if isinstance(known.get(name), dict) and not isinstance(value, dict):
            raise ValueError(
                f'with_hyperparams: the group "{name}" takes a dict of hyperparameters, got {value!r}'
            )
    return _set(opt_state, values, {})


def evaluation_params(opt_state: PyTree, params: PyTree) -> PyTree:
    """The parameters to evaluate: averaged where the optimizer keeps an average, else ``params``.

    One way for all that train at one point and evaluate at another: averages (EMA, SWA), lookahead,
    schedule-free, SAM. A state takes part by a method ``evaluation_params(params)``.

    Args:
        opt_state: the state after a step; any tree that holds such states.
        params: the parameters after the same step.

    Returns:
        a pytree of the structure, shapes and dtypes of ``params``; of several averages of a leaf, the last.

    Raises:
        ValueError: the state belongs to other parameters; the text lists the leaves that differ.

    >>> evaluation_params((), {"w": 1.0})
    {'w': 1.0}
    """
    for node in jax.tree.leaves(opt_state, is_leaf=_is_average):
        if _is_average(node):
            params = _replaced(node, params)
    return params


def extra_arguments(opt_state: PyTree) -> tuple[str, ...]:
    """The names of what states in the tree ask a loop to tell their updates.

    ``"weight"``: the examples or tokens that the gradient is a mean over; ``"flush"``: whether the batch is
    the last of its epoch. A state asks by an attribute ``extra_arguments``; transformations that wrap it,
    Optax's too, hand extra arguments on.

    >>> extra_arguments(({"w": 1.0}, ()))
    ()
    """

    def asks(node: Any) -> bool:
        return hasattr(node, "extra_arguments")

    found = (node.extra_arguments for node in jax.tree.leaves(opt_state, is_leaf=asks) if asks(node))
    return tuple(dict.fromkeys(name for each in found for name in each))


def _replaced(node: Any, params: PyTree) -> PyTree:
    """``params`` with the leaves that a state has something better for."""

    def choose(better: Any, param: Any) -> Any:
        return param if _is_absent(better) else jnp.asarray(better, jnp.result_type(param))

    try:
        # An average is wider than half-precision parameters.
        with jax.numpy_dtype_promotion("standard"):
            found = jax.tree.map(choose, _better(node, params), params, is_leaf=_is_absent)
        lines = trees.diff(found, params)
    except (TypeError, ValueError) as error:
        lines = [str(error)]
    if lines:
        listed = "\n  ".join(lines)
        raise ValueError(
            f"evaluation_params: the {type(node).__name__} (first) belongs to other parameters than these "
            f"(second):\n  {listed}"
        )
    return found


def _better(node: Any, params: PyTree) -> PyTree:
    if callable(getattr(node, "evaluation_params", None)):
        return node.evaluation_params(params)

    def primal(point: Any, base: Any) -> Any:
        return None if _is_absent(base) else (point - (1 - node.b1) * base) / node.b1

    return jax.tree.map(primal, params, node.z, is_leaf=_is_absent)


def _is_average(node: Any) -> bool:
    # Optax's schedule_free is known by its fields: this package does not depend on Optax.
    fields = getattr(node, "_fields", ())
    return callable(getattr(node, "evaluation_params", None)) or {"b1", "z", "max_lr"} <= set(fields)


def _is_absent(leaf: Any) -> bool:
    return leaf is None or type(leaf).__name__ == "MaskedNode"


def _set(opt_state: PyTree, values: dict[str, Any], seen: dict[str, Any]) -> PyTree:
    """``opt_state`` with ``values`` set; ``seen`` are the names on the way to here, for numbering."""

    def write(node: Any) -> Any:
        if isinstance(node, GroupsState):
            groups = {}
            for label, state in node.groups.items():
                number = _numbered(label, seen)
                seen[number] = None
                groups[label] = _write_group(number, state, values)
            return GroupsState(groups)
        if not _is_live(node):
            return node
        chosen = {}
        for name in _read(node):
            number = _numbered(name, seen)
            seen[number] = None
            if number in values:
                chosen[name] = values[number]
        return _write(node, chosen, values, seen)

    return jax.tree.map(write, opt_state, is_leaf=_is_stop)


def _write_group(label: str, state: PyTree, values: dict[str, Any]) -> PyTree:
    own = hyperparams(state)
    chosen = {name: value for name, value in values.items() if name in own}
    chosen.update(values.get(label, {}))
    return with_hyperparams(state, **chosen)


def _numbered(name: str, taken: dict[str, Any]) -> str:
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _is_live(node: Any) -> bool:
    # Optax's inject_hyperparams is known by its field: this package does not depend on Optax.
    return isinstance(node, LiveState) or (
        isinstance(node, tuple) and isinstance(getattr(node, "hyperparams", None), dict)
    )


def _is_stop(node: Any) -> bool:
    return _is_live(node) or isinstance(node, GroupsState)


def _nodes(opt_state: PyTree) -> list[Any]:
    """The states with hyperparameters, each before those that it wraps."""
    found = []
    for node in jax.tree.leaves(opt_state, is_leaf=_is_stop):
        if _is_stop(node):
            found.append(node)
            if isinstance(node, LiveState):
                found += _nodes(node.inner)
    return found


def _read(node: Any) -> dict[str, Any]:
    if isinstance(node, LiveState):
        return {name: node.numbers[..., 0, index] for index, name in enumerate(node.signature.names)}
    return dict(node.hyperparams)


def _write(node: Any, chosen: dict[str, Any], values: dict[str, Any], seen: dict[str, Any]) -> Any:
    if not isinstance(node, LiveState):
        for name, value in chosen.items():
            if value is None:
                raise ValueError(
                    f"with_hyperparams: {name} of optax.inject_hyperparams must be a number, got None"
                )
        numbers = {name: _number(name, value, node.hyperparams[name]) for name, value in chosen.items()}
        return node._replace(hyperparams={**node.hyperparams, **numbers})
    numbers = node.numbers
    for name, value in chosen.items():
        index = node.signature.names.index(name)
        if value is None:
            # The value in force stays until the next step.
            numbers = numbers.at[..., 1, index].set(0)
            continue
        number = _number(name, value, numbers[..., 0, index])
        _check_range(node.signature, index, value)
        numbers = numbers.at[..., index].set(jnp.stack([number, jnp.ones_like(number)], axis=-1))
    return node._replace(numbers=numbers, inner=_set(node.inner, values, seen))


def _number(name: str, value: Any, old: Any) -> Any:
    """``value`` as an array like ``old``."""
    old = jnp.asarray(old)
    try:
        # A number that is too large becomes infinite, and is refused for that.
        with np.errstate(over="ignore"):
            array = jnp.asarray(value, old.dtype)
    except (TypeError, ValueError):
        raise ValueError(f"with_hyperparams: {name} must be a number or None, got {value!r}") from None
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"with_hyperparams: {name} must be a number or None, got nan")
    if array.shape not in ((), old.shape):
        raise ValueError(f"with_hyperparams: {name} must have shape {old.shape}, got {array.shape}")
    return jnp.broadcast_to(array, old.shape)


def _check_range(signature: Signature, index: int, value: Any) -> None:
    allowed = signature.ranges[index]
    if isinstance(value, jax.core.Tracer):
        return
    # As the state holds it: what is below 1 may be 1 there.
    with np.errstate(over="ignore"):
        held = np.ravel(value).astype(np.float32)
    wrong = [each for each in held if not allowed.holds(each)]
    if wrong:
        raise ValueError(
            f"with_hyperparams: {signature.names[index]} of {signature.owner} must be {allowed}, "
            f"got {wrong[0]:g}"
        )
