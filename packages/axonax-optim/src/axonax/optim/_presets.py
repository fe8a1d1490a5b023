"""Common choices about groups: what does not decay, and rates that fall from layer to layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from axonax.optim._checks import SHARE, Number, Schedule, number, number_or_schedule, options
from axonax.optim._rules import check_pattern
from axonax.tensor import trees

PyTree = Any
_KEPT = re.compile(
    r"(?:^|/)(?:bias|scale|offset|gamma|beta|gain)(?:/|$)"  # the parameter
    r"|norm|(?:^|/)(?:ln|bn)(?:_?\w)?(?:/|$)"  # its layer: layer_norm_0, LayerNorm_0, ln_1, bn1
    r"|embed|(?:^|[/_])(?:emb|wte|wpe)(?:/|$)",  # embedding_0, tok_emb, wte
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NoDecay:
    """The mask of `no_decay`."""

    patterns: tuple[trees.Pattern, ...]

    def __call__(self, params: PyTree) -> PyTree:
        """``True`` for the leaves that decay."""

        def decays(keys: Any, leaf: Any) -> bool:
            path = trees.path(keys)
            if jnp.ndim(leaf) - trees.stacked(path) < 2 or _KEPT.search(path):
                return False
            return not any(trees.matches(pattern, path, leaf) for pattern in self.patterns)

        return jax.tree_util.tree_map_with_path(decays, params)


@dataclass(frozen=True)
class Scaled:
    """A schedule times a factor; two that are made alike are equal."""

    schedule: Schedule
    factor: float

    def __call__(self, step: Any) -> Any:
        return self.schedule(step) * self.factor


def no_decay(*patterns: trees.Pattern) -> NoDecay:
    """A mask for `adamw` and others: no decay on biases, norms and embeddings.

    Kept from decay are leaves of less than two axes, not counting those of depth; whatever its shape, what
    has ``bias``, ``scale``, ``offset``, ``gamma``, ``beta`` or ``gain`` as a segment of its path, ``norm`` or
    ``embed`` anywhere in it, or a layer's short name such as ``ln_1``, ``bn1``, ``tok_emb``, ``wte``; and
    what ``patterns`` match.
    All in upper or lower case.

    Args:
        *patterns: further leaves that do not decay, by path.

    Returns:
        a function of the parameters that gives a tree of bools: which decay.

    Raises:
        ValueError: one of ``patterns`` is no pattern.

    >>> params = {"dense": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
    >>> no_decay()(params)
    {'dense': {'bias': False, 'kernel': True}}
    """
    for pattern in patterns:
        check_pattern("no_decay", pattern)
    return NoDecay(patterns)


@options
def layerwise(
    optimizer: Callable[[Any], Any],
    learning_rate: Number | Schedule,
    layers: Sequence[trees.Pattern],
    *,
    decay: float = 0.75,
) -> dict[trees.Pattern, Any]:
    """Rates that fall from the last layer to the first, for `groups`.

    Layer ``i`` of ``n`` (from 0, inputs first) gets ``learning_rate * decay^(n - 1 - i)``.

    Args:
        optimizer: a function of the rate, such as `adamw` or ``lambda rate: optim.sgd(rate, momentum=0.9)``.
        learning_rate: of the last layer: a number or a schedule.
        layers: a pattern a layer, from the inputs to the outputs.
        decay: the ratio of the rates of two layers, above 0 and at most 1.

    Returns:
        pattern to optimizer: the first argument of `groups`, or a part of it.

    Raises:
        ValueError: a number lies outside its range, an option is unknown, or ``layers`` are no patterns, or
            not all different.

    Clark et al., "ELECTRA: pre-training text encoders as discriminators rather than generators", 2020,
    appendix; Bao et al., "BEiT", 2022.

    >>> from axonax import optim
    >>> optimizer = optim.groups(layerwise(optim.sgd, 0.1, ["a", "b"], decay=0.5))
    >>> rates = optim.hyperparams(optimizer.init({"a": 1.0, "b": 1.0}))
    >>> [round(float(rates[label]["learning_rate"]), 3) for label in "ab"]
    [0.05, 0.1]
    """
    if isinstance(layers, str) or len({*layers}) < len(layers):
        raise ValueError(f"layerwise: layers must be a sequence of different patterns, got {layers!r}")
    for pattern in layers:
        check_pattern("layerwise", pattern)
    rate = number_or_schedule("layerwise", "learning_rate", learning_rate)
    ratio = decay if decay == 1 else number("layerwise", "decay", decay, SHARE)
    if ratio == 0:
        raise ValueError("layerwise: decay must be above 0, got 0")
    factors = [ratio ** (len(layers) - 1 - index) for index in range(len(layers))]
    made = [Scaled(rate, factor) if callable(rate) else rate * factor for factor in factors]
    return {pattern: optimizer(each) for pattern, each in zip(layers, made, strict=True)}
