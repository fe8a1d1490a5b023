"""The training loss: from a name or a function to one exact mean, with its checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.data._batch import Batch, rows
from axonax.loop.steps import _signature
from axonax.loop.steps._calling import targets_first
from axonax.loop.steps._mean import Mean, batch_mean
from axonax.loop.steps._model import Net
from axonax.tensor import contracts, plugins
from axonax.tensor.contracts import Closing
from axonax.tensor.precision import promoted

PyTree = Any
OURS = ("reduction", "weights", "where")


@dataclass(frozen=True, kw_only=True)
class LossFunction:
    """A loss ``(y_true, y_pred)`` that returns one value an example or a scalar.

    ``closing`` is that of the model it is for, ``None`` if the model offers no logits.
    """

    function: Callable[..., Any]
    name: str
    named: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    closing: Closing | None = None

    def __str__(self) -> str:
        texts = {name: " ".join(repr(value).split()) for name, value in self.options.items()}
        options = ", ".join(f"{name}={text:.40}" for name, text in texts.items())
        return f"{self.name}({options})" if options else self.name

    def mean(self, batch: Batch, prediction: PyTree, logits: PyTree = None) -> Mean:
        """The weighted mean over a batch, of the ``logits`` behind the prediction where the loss takes them.

        Raises:
            ValueError: targets, predictions and values do not fit each other.
        """
        check_fit(batch.targets, prediction)
        if self.of_logits(batch.targets, prediction):
            wide = logits.astype(promoted(logits.dtype, jnp.float32))
            values = jnp.asarray(self._call(batch.targets, wide, from_logits=True))
        else:
            values = jnp.asarray(self._call(batch.targets, prediction))
        self._check_values(values, batch, prediction)
        return batch_mean(values, batch.counting, rows(batch.targets), f'loss "{self.name}"')

    def means(self, batch: Batch, prediction: PyTree, logits: PyTree = None) -> tuple[Mean, dict[str, Mean]]:
        """The mean over a batch, and those of its parts by name: there are none."""
        return self.mean(batch, prediction, logits), {}

    def views(self, batch: Batch, prediction: PyTree) -> list[tuple[LossFunction, Batch, PyTree]]:
        """The loss with what it sees of a batch and of the predictions: all."""
        return [(self, batch, prediction)]

    def of_logits(self, targets: PyTree, prediction: PyTree) -> bool:
        """Whether the loss is taken of the logits behind predictions of these shapes."""
        if self.closing is None or "from_logits" in self.options or not self._takes_logits:
            return False
        expected = self._expected(targets, prediction)
        return expected is not None and expected.same_logits(self.closing, prediction.ndim)

    def doubted(self, targets: PyTree, prediction: PyTree) -> Closing | None:
        """What predictions of these shapes must be for this loss, where the model does not vouch for it."""
        expected = self._expected(targets, prediction)
        vouched = expected == self.closing or self.of_logits(targets, prediction)
        return None if vouched else expected

    def advice(self, expected: Closing) -> str:
        """How to mend a model whose predictions are not what the loss needs."""
        if self.closing is not None:
            return f"end the model in {expected}, it ends in {self.closing}"
        logits = ', or pass loss_options={"from_logits": True} if they are logits'
        return f"end the model in {expected}{logits if self._takes_logits else ''}"

    def check_labels(self, targets: PyTree, prediction: PyTree) -> None:
        """Let a named loss see concrete targets once, so that it can refuse labels out of range.

        Args:
            targets: the targets of the first batch.
            prediction: the shapes of the predictions.
        """
        integers = [
            leaf for leaf in jax.tree.leaves(targets) if jnp.issubdtype(jax.typeof(leaf).dtype, jnp.integer)
        ]
        if not self.named or not integers:
            return
        concrete = jax.tree.map(np.asarray, targets)
        jax.eval_shape(lambda y_pred: self._call(concrete, y_pred), prediction)

    def _expected(self, targets: PyTree, prediction: PyTree) -> Closing | None:
        single = hasattr(prediction, "dtype") and jnp.issubdtype(prediction.dtype, jnp.floating)
        if not self.named or not single or self.options.get("from_logits"):
            return None
        return contracts.expected(self.function, targets, prediction, **self.options)

    @property
    def _takes_logits(self) -> bool:
        return bool(_signature.accepted(self.function, "from_logits"))

    def _call(self, targets: PyTree, prediction: PyTree, **extra: Any) -> Any:
        if self.named:
            extra = {"reduction": "none", **self.options, **extra}
        return self.function(targets, prediction, **extra)

    def _check_values(self, values: jax.Array, batch: Batch, prediction: PyTree) -> None:
        count = rows(batch.targets)
        shapes = [leaf.shape for leaf in jax.tree.leaves(prediction)]
        fits = values.ndim == 0 or values.shape[0] == count
        # Which dimensions a named loss leaves is up to its options; it minds its shapes itself.
        if values.ndim > 1 and len(shapes) == 1 and not self.named:
            fits = fits and values.shape == shapes[0][: values.ndim]
        if not fits:
            targets = [np.shape(leaf) for leaf in jax.tree.leaves(batch.targets)]
            raise ValueError(
                f'loss "{self.name}" must give one value an example ({count} rows) or a scalar, got shape '
                f"{values.shape} from targets {_listed(targets)} and predictions {_listed(shapes)}"
            )


def resolve_loss(loss: Any, who: str, options: Mapping[str, Any] | None, net: Net) -> LossFunction:
    """The loss of a name with options or of a function, for a model.

    Raises:
        ValueError: an unknown name or option (the text lists near matches or what to install), options with a
            function, or ``from_logits`` with a model that does not end in its logits.
        TypeError: neither a name nor a function, or options that are no dict.
    """
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(
            f"{who}: loss_options must be a dict of options by name, got {type(options).__name__}"
        )
    options = dict(options or {})
    function = plugins.resolve("loss", loss) if isinstance(loss, str) else loss
    if not callable(function):
        raise TypeError(
            f"{who}: the loss must be a name or a function (y_true, y_pred), got {type(loss).__name__}"
        )
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    if isinstance(loss, str) or _like_a_named(function):
        closing = net.unclosed and net.unclosed.closing
        _check_options(name, function, options, closing)
        return LossFunction(function=function, name=name, named=True, options=options, closing=closing)
    if options:
        raise ValueError(
            f"{who}: loss_options ({', '.join(options)}) go with a loss given by name, or one that declares "
            "itself by axonax.tensor.contracts.expects"
        )
    return LossFunction(function=targets_first(function), name=name, named=False)


def _like_a_named(function: Callable[..., Any]) -> bool:
    """Whether a function has what makes a loss by name exact and safe: its closing, and values unreduced."""
    return contracts.declares(function) and bool(_signature.accepted(function, "reduction"))


def _check_options(
    name: str, function: Callable[..., Any], options: Mapping[str, Any], closing: Closing | None
) -> None:
    for option in options:
        if option in OURS:
            raise ValueError(
                f'loss "{name}": the loop gives {option} itself: it takes one value an example and averages '
                "them by the weights in the batch"
            )
    _signature.check_options(f'loss "{name}"', function, options, taken=2)
    if closing is not None and options.get("from_logits"):
        raise ValueError(
            f'loss "{name}": from_logits says that the model gives logits, but it ends in '
            f"{closing}: leave the option out, or end the model before it"
        )


def check_fit(targets: PyTree, prediction: PyTree) -> None:
    """Raise unless targets and predictions have the same number of rows.

    Raises:
        ValueError: they have not; the text gives both shapes.
    """
    first = next(iter(jax.tree.leaves(targets)), None)
    for leaf in jax.tree.leaves(prediction):
        if first is not None and leaf.ndim and leaf.shape[0] != np.shape(first)[0]:
            raise ValueError(
                f"targets of shape {np.shape(first)} do not fit predictions of shape {leaf.shape}"
            )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
