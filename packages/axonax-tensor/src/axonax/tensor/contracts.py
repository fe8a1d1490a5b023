"""What the parts of Axonax agree on: models, their state and closing, metrics, losses, optimizers, loggers.

The packages meet through these small values and protocols alone, so any of them can be replaced by a
hand-written function, a Flax or Equinox model, or an Optax optimizer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax

from axonax.tensor import names, trees

PyTree = Any
Function = TypeVar("Function", bound=Callable[..., Any])
Reduction = str  # "none", "mean" or "sum"
_CLOSING = "closing"  # the attribute by which a loss says what it expects


class Model(NamedTuple):
    """A model as two pure functions.

    ``init(key, *inputs) -> ModelState`` takes arrays or ``jax.ShapeDtypeStruct`` (nothing is computed to
    find shapes). ``apply(state, *inputs, train=False, key=None) -> (prediction, buffers)`` never returns
    the parameters: a jitted call would copy them.
    """

    init: Callable[..., Any]
    apply: Callable[..., Any]


@runtime_checkable
class Buildable(Protocol):
    """A description of a model that knows how to become a `Model`."""

    def build(self) -> Model:
        """The model as two pure functions."""
        ...


@dataclass(frozen=True)
class Closing:
    """The activation that makes predictions of logits, at the end of a model.

    ``activation`` is ``"softmax"`` or ``"log_softmax"`` along ``axis``, or ``"sigmoid"`` of each element,
    which has no axis.

    Raises:
        ValueError: another activation.

    >>> Closing("softmax").same_logits(Closing("log_softmax", axis=1), ndim=2)
    True
    >>> Closing("softmax").same_logits(Closing("sigmoid"), ndim=2)
    False
    """

    activation: str
    axis: int = -1

    def __post_init__(self) -> None:
        known = dict.fromkeys(("softmax", "log_softmax", "sigmoid"))
        names.lookup(known, self.activation, "closing activation")

    def __str__(self) -> str:
        plain = self.activation == "sigmoid" or self.axis == -1
        return self.activation if plain else f"{self.activation} over axis {self.axis}"

    def same_logits(self, other: Closing, ndim: int) -> bool:
        """Whether the logits of one are those of the other, in arrays of ``ndim`` dimensions."""
        if "sigmoid" in (self.activation, other.activation):
            return self.activation == other.activation
        return ndim > 0 and self.axis % ndim == other.axis % ndim


class Unclosed(NamedTuple):
    """A model of one output, up to the activation that closes it.

    ``apply`` has the arguments of the model's own, takes the same states, draws the same and gives the same
    buffers, with logits in place of the prediction; ``close(logits)`` is the prediction, and ``closing``
    says what it does.
    """

    apply: Callable[..., Any]
    close: Callable[[PyTree], PyTree]
    closing: Closing


@runtime_checkable
class Closed(Protocol):
    """A `Model` that ends in an activation, and offers itself without it.

    Whoever trains it on a loss that `expects` that activation takes the loss of the logits: the gradient
    through a saturated softmax or sigmoid is zero, that through its logits is not.

    >>> class Classifier(Model):
    ...     unclosed = Unclosed(lambda params, x: x @ params, jax.nn.softmax, Closing("softmax"))
    >>> model = Classifier(lambda key, x: x.T, lambda params, x: jax.nn.softmax(x @ params))
    >>> isinstance(model, Closed)
    True
    """

    @property
    def unclosed(self) -> Unclosed:
        """The model up to its closing activation."""
        ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, repr=False)
class ModelState:
    """All arrays of a model, in three nested dicts that share their paths (``"encoder/dense_0/kernel"``).

    ``params`` are trained; ``frozen`` are parameters that get no gradient and no optimizer moments;
    ``buffers`` are what ``apply`` changes: running statistics, caches, counters. Its ``repr`` is an
    outline, without the numbers.

    >>> import jax.numpy as jnp
    >>> state = ModelState(params={"dense_0": {"kernel": jnp.ones(2), "bias": jnp.zeros(1)}})
    >>> state.freeze("**/kernel")
    ModelState
      params
        dense_0/bias float32[1]
      frozen
        dense_0/kernel float32[2]
    """

    params: PyTree = field(default_factory=dict)
    frozen: PyTree = field(default_factory=dict)
    buffers: PyTree = field(default_factory=dict)

    def __repr__(self) -> str:
        parts = [(name, getattr(self, name)) for name in ("params", "frozen", "buffers")]
        shown, left = ["ModelState"], 40
        for name, tree in parts:
            count = len(jax.tree.leaves(tree))
            if count and left:
                shown += [f"  {name}", *(f"    {line}" for line in trees.outline(tree, left))]
            elif count:
                shown.append(f"  {name}: {count} {'leaf' if count == 1 else 'leaves'}")
            left -= min(left, count)
        return "\n".join(shown) if len(shown) > 1 else "ModelState(empty)"

    def replace(self, **changes: PyTree) -> ModelState:
        """A copy with the named parts (``params``, ``frozen``, ``buffers``) replaced."""
        return replace(self, **changes)

    @property
    def variables(self) -> PyTree:
        """Trained and frozen parameters in one tree, as a layer sees them."""
        return trees.merge(self.params, self.frozen)

    def freeze(self, *patterns: trees.Pattern) -> ModelState:
        """Move the parameters that a pattern selects from ``params`` to ``frozen``.

        Raises:
            ValueError: a pattern selects no parameter; the text lists near paths.
        """
        chosen, rest = trees.partition(self.params, *patterns)
        return self.replace(params=rest, frozen=trees.merge(self.frozen, chosen))

    def unfreeze(self, *patterns: trees.Pattern) -> ModelState:
        """Move the parameters that a pattern selects from ``frozen`` back to ``params``.

        Raises:
            ValueError: a pattern selects no frozen parameter; the text lists near paths.
        """
        chosen, rest = trees.partition(self.frozen, *patterns)
        return self.replace(frozen=rest, params=trees.merge(self.params, chosen))


@dataclass(frozen=True)
class Metric:
    """A streaming metric as four pure functions over sufficient statistics.

    ``init(y_true, y_pred) -> state`` reads shapes alone; ``update(state, y_true, y_pred, *, weights=None,
    where=None) -> state`` takes one batch; ``merge(state, state) -> state`` joins parts (``None`` where the
    order matters); ``compute(state) -> value``. The result over a whole pass does not depend on how it
    was cut into batches. Metrics add, subtract, multiply and divide with each other and with numbers.
    """

    init: Callable[..., PyTree]
    update: Callable[..., PyTree]
    merge: Callable[[PyTree, PyTree], PyTree] | None
    compute: Callable[[PyTree], PyTree]
    name: str | None = None

    def __call__(self, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> PyTree:
        """The value on one batch."""
        state = self.init(y_true, y_pred)
        return self.compute(self.update(state, y_true, y_pred, weights=weights, where=where))

    def __add__(self, other: Metric | float) -> Metric:
        return _combine(operator.add, self, other)

    def __radd__(self, other: float) -> Metric:
        return _combine(operator.add, other, self)

    def __sub__(self, other: Metric | float) -> Metric:
        return _combine(operator.sub, self, other)

    def __rsub__(self, other: float) -> Metric:
        return _combine(operator.sub, other, self)

    def __mul__(self, other: Metric | float) -> Metric:
        return _combine(operator.mul, self, other)

    def __rmul__(self, other: float) -> Metric:
        return _combine(operator.mul, other, self)

    def __truediv__(self, other: Metric | float) -> Metric:
        return _combine(operator.truediv, self, other)

    def __rtruediv__(self, other: float) -> Metric:
        return _combine(operator.truediv, other, self)

    def __neg__(self) -> Metric:
        return _combine(operator.mul, -1.0, self)


def constant_metric(value: float) -> Metric:
    """The metric that is ``value`` whatever the data, with nothing to store."""
    return Metric(
        init=lambda y_true, y_pred: (),
        update=lambda state, y_true, y_pred, *, weights=None, where=None: (),
        merge=lambda left, right: (),
        compute=lambda state: value,
    )


def _combine(operation: Callable[[Any, Any], Any], left: Metric | float, right: Metric | float) -> Metric:
    """The metric whose value is ``operation`` of the values of two metrics."""
    first = left if isinstance(left, Metric) else constant_metric(left)
    second = right if isinstance(right, Metric) else constant_metric(right)
    parts = (first, second)

    def update(state: PyTree, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> PyTree:
        return tuple(
            part.update(each, y_true, y_pred, weights=weights, where=where)
            for part, each in zip(parts, state, strict=True)
        )

    def merge(one: PyTree, two: PyTree) -> PyTree:
        return (first.merge(one[0], two[0]), second.merge(one[1], two[1]))  # type: ignore[misc]

    return Metric(
        init=lambda y_true, y_pred: tuple(part.init(y_true, y_pred) for part in parts),
        update=update,
        merge=None if first.merge is None or second.merge is None else merge,
        compute=lambda state: operation(first.compute(state[0]), second.compute(state[1])),
    )


class Loss(Protocol):
    """A loss: one value an example with ``reduction="none"``, else their weighted mean or sum.

    One that needs probabilities says so by `expects`.
    """

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        *,
        reduction: Reduction = "none",
        weights: Any = None,
        where: Any = None,
    ) -> Any:
        """The loss of ``y_pred`` against ``y_true``."""
        ...


def expects(closing: Closing | Callable[..., Closing | None]) -> Callable[[Function], Function]:
    """Declare of a loss what its predictions are: the output of an activation.

    A loop to which the loss is given looks at the first predictions, whether they are of that kind.
    If the loss has an option ``from_logits``, which applies this activation itself, and the model is `Closed`
    by it, the loop sets the option and hands over the logits.

    Args:
        closing: ``Closing("softmax")`` for probabilities that sum to 1 along an axis, ``"log_softmax"`` for
            their logarithms, ``"sigmoid"`` for probabilities each of its own; or a function
            ``(y_true, y_pred, **options) -> Closing | None`` that needs no more than shapes.

    Returns:
        A decorator that hands the loss back.

    >>> @expects(Closing("sigmoid"))
    ... def squared_log(y_true, y_pred, *, from_logits=False, reduction="none"):
    ...     return jax.nn.log_sigmoid(y_pred) ** 2 if from_logits else jax.numpy.log(y_pred) ** 2
    >>> expected(squared_log, jax.numpy.ones(2), jax.numpy.ones(2))
    Closing(activation='sigmoid', axis=-1)
    """

    def declare(loss: Function) -> Function:
        setattr(loss, _CLOSING, closing)
        return loss

    return declare


def declares(loss: Callable[..., Any]) -> bool:
    """Whether a loss says what it `expects`."""
    return getattr(loss, _CLOSING, None) is not None


def expected(loss: Callable[..., Any], y_true: Any, y_pred: Any, **options: Any) -> Closing | None:
    """What a loss `expects` its predictions to be.

    Args:
        loss: any loss.
        y_true: targets, or their shapes.
        y_pred: predictions, or their shapes.
        **options: those that the loss is called with.

    Returns:
        what it declares; ``None`` where it declares nothing.
    """
    closing = getattr(loss, _CLOSING, None)
    found: Closing | None = closing(y_true, y_pred, **options) if callable(closing) else closing
    return found


class Optimizer(Protocol):
    """The optimizer pair that Optax defines (``optax.GradientTransformationExtraArgs`` too)."""

    @property
    def init(self) -> Callable[..., PyTree]:
        """``init(params) -> opt_state``."""
        ...

    @property
    def update(self) -> Callable[..., tuple[PyTree, PyTree]]:
        """``update(gradients, opt_state, params=None, **extra) -> (updates, opt_state)``."""
        ...


class Logger(Protocol):
    """Where named numbers go: a file, a tracker, a terminal."""

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """Record ``values`` as they were after ``step`` iterations."""
        ...

    def close(self) -> None:
        """Write what is pending and let go of files."""
        ...
