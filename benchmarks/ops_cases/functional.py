"""Losses, forward and backward, and updates of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax.functional import losses, metrics
from ops_cases.case import Case, peer

keras = peer("keras")

_RANDOM = np.random.default_rng(73)
B, F = 1024, 1024
REAL, OTHER = _RANDOM.normal(size=(2, B, F)).astype(np.float32)
BINARY = (_RANDOM.random((B, F)) > 0.5).astype(np.int8)
SIGNS = (2 * BINARY - 1).astype(np.int8)
P = np.clip(_RANDOM.random((B, F)), 0.05, 0.95).astype(np.float32)
TARGETS, SHARES = (np.exp(each) / np.exp(each).sum(-1, keepdims=True) for each in (OTHER, REAL))
COUNTS = _RANDOM.poisson(3, (B, F)).astype(np.int8)


def mean(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The mean of the values of a loss of predictions; targets are constants."""
    return lambda y, *p: jnp.mean(loss(jax.lax.stop_gradient(jnp.asarray(y, jnp.float32)), *p))


def ours(loss: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """The mean that we make."""
    return lambda y, *p: loss(
        jax.lax.stop_gradient(y), p[0] if len(p) == 1 else p, reduction="mean", **options
    )


def classes(batch: int, count: int) -> list[Case]:
    """Softmax cross-entropies of one size."""
    logits = _RANDOM.normal(size=(batch, count)).astype(np.float32)
    index = _RANDOM.integers(0, count, batch).astype(np.int32)
    hot = np.eye(count, dtype=np.float32)[index]
    loss, name = losses.categorical_cross_entropy, f"{batch} x {count}"

    def smooth(y: Any, p: Any) -> Any:
        return optax.softmax_cross_entropy(p, optax.smooth_labels(y, 0.1))

    return [
        Case(
            f"categorical_cross_entropy, indices, {name}",
            lambda y, p: loss(y, p, from_logits=True, reduction="mean"),
            {
                "Optax": lambda y, p: optax.softmax_cross_entropy_with_integer_labels(p, y).mean(),
                "Keras": lambda y, p: keras.ops.mean(
                    keras.ops.sparse_categorical_crossentropy(y, p, from_logits=True)
                ),
            },
            (index, logits),
        ),
        Case(
            f"categorical_cross_entropy, one-hot, {name}",
            ours(loss, from_logits=True),
            {
                "Optax": mean(lambda y, p: optax.softmax_cross_entropy(p, y)),
                "Keras": mean(lambda y, p: keras.ops.categorical_crossentropy(y, p, from_logits=True)),
            },
            (hot, logits),
        ),
        Case(
            f"categorical_cross_entropy, smoothed, {name}",
            ours(loss, from_logits=True, label_smoothing=0.1),
            {"Optax": mean(smooth)},
            (hot, logits),
        ),
    ]


def hand_focal(y: Any, p: Any) -> Any:
    """As in the paper, from logits."""
    log_p, log_q = jax.nn.log_sigmoid(p), jax.nn.log_sigmoid(-p)
    return -y * (1 - jax.nn.sigmoid(p)) ** 2 * log_p - (1 - y) * jax.nn.sigmoid(p) ** 2 * log_q


def hand_tversky(y: Any, p: Any) -> Any:
    """The ratio of the sums."""
    hit, false, missed = (each.sum(-1) for each in (y * p, (1 - y) * p, y * (1 - p)))
    return 1 - (hit + 1) / (hit + (false + missed) / 2 + 1)


def hand_dice(y: Any, p: Any) -> Any:
    """The ratio of the sums."""
    return 1 - (2 * (y * p).sum(-1) + 1) / (y.sum(-1) + p.sum(-1) + 1)


def hand_nce(index: Any, queries: Any, keys: Any) -> Any:
    """Cross-entropy of the cosines."""
    queries, keys = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (queries, keys))
    return optax.softmax_cross_entropy_with_integer_labels(queries @ keys.T / 0.1, index)


def hand_triplet(_: Any, anchor: Any, near: Any, far: Any) -> Any:
    """Euclidean distances."""
    one, two = (jnp.linalg.norm(anchor - x, axis=-1) for x in (near, far))
    return jax.nn.relu(one - two + 1)


def hand_nll(y: Any, mean: Any, variance: Any) -> Any:
    """Half the logarithm and half the square."""
    return (jnp.log(variance) + (y - mean) ** 2 / variance) / 2


HAND, OPTAX, KERAS = "JAX by hand", "Optax", "Keras"
ELEMENTWISE: list[tuple[str, dict[str, Any], dict[str, Any], tuple[np.ndarray, ...]]] = [
    ("mean_squared_error", {}, {OPTAX: lambda y, p: 2 * optax.l2_loss(p, y)}, (OTHER, REAL)),
    ("mean_absolute_error", {}, {HAND: lambda y, p: jnp.abs(p - y)}, (OTHER, REAL)),
    (
        "mean_absolute_percentage_error",
        {},
        {KERAS: keras.losses.mean_absolute_percentage_error},
        (OTHER, REAL),
    ),
    (
        "mean_squared_logarithmic_error",
        {},
        {HAND: lambda y, p: (jnp.log1p(p) - jnp.log1p(y)) ** 2},
        (P, SHARES),
    ),
    ("huber", {}, {OPTAX: lambda y, p: optax.huber_loss(p, y)}, (OTHER, REAL)),
    ("log_cosh", {}, {OPTAX: lambda y, p: optax.log_cosh(p, y)}, (OTHER, REAL)),
    (
        "quantile",
        {"quantile": 0.3},
        {HAND: lambda y, p: jnp.maximum(0.3 * (y - p), -0.7 * (y - p))},
        (OTHER, REAL),
    ),
    (
        "binary_cross_entropy",
        {"from_logits": True},
        {
            OPTAX: lambda y, p: optax.sigmoid_binary_cross_entropy(p, y),
            KERAS: lambda y, p: keras.ops.binary_crossentropy(y, p, from_logits=True),
        },
        (BINARY, REAL),
    ),
    (
        "binary_cross_entropy",
        {},
        {HAND: lambda y, p: -y * jnp.log(p) - (1 - y) * jnp.log1p(-p)},
        (BINARY, P),
    ),
    ("focal", {"from_logits": True, "kind": "binary"}, {HAND: hand_focal}, (BINARY, REAL)),
    ("hinge", {}, {OPTAX: lambda y, p: optax.hinge_loss(p, y)}, (SIGNS, REAL)),
    ("squared_hinge", {}, {HAND: lambda y, p: jax.nn.relu(1 - y * p) ** 2}, (SIGNS, REAL)),
    ("soft_margin", {}, {HAND: lambda y, p: F * jax.nn.softplus(-y * p)}, (SIGNS, REAL)),
    (
        "multilabel_soft_margin",
        {},
        {OPTAX: lambda y, p: optax.sigmoid_binary_cross_entropy(p, y)},
        (BINARY, REAL),
    ),
    ("hinge_embedding", {}, {HAND: lambda y, p: jnp.where(y == 1, p, jax.nn.relu(1 - p))}, (SIGNS, P)),
    ("margin_ranking", {}, {HAND: lambda y, a, b: jax.nn.relu(-y * (a - b))}, (SIGNS, REAL, OTHER)),
    ("poisson", {}, {HAND: lambda y, p: p - y * jnp.log(p + 1e-7)}, (COUNTS, P)),
    ("gaussian_nll", {}, {HAND: hand_nll}, (OTHER, REAL, P)),
    ("kl_divergence", {}, {OPTAX: lambda y, p: optax.kl_divergence(jnp.log(p), y)}, (TARGETS, SHARES)),
    (
        "kl_divergence",
        {"from_logits": True},
        {OPTAX: lambda y, p: optax.kl_divergence(jax.nn.log_softmax(p), y)},
        (TARGETS, REAL),
    ),
    (
        "js_divergence",
        {},
        {
            HAND: lambda y, p: (
                (optax.kl_divergence(jnp.log((y + p) / 2), y) + optax.kl_divergence(jnp.log((y + p) / 2), p))
                / 2
            )
        },
        (TARGETS, SHARES),
    ),
    (
        "categorical_cross_entropy",
        {},
        {HAND: lambda y, p: -(y * jnp.log(p)).sum(-1)},
        (TARGETS, SHARES),
    ),
    (
        "focal",
        {"from_logits": True, "kind": "categorical"},
        {
            HAND: lambda y, p: -(y * (1 - jax.nn.softmax(p)) ** 2 * jax.nn.log_softmax(p)).sum(-1),
        },
        (TARGETS, REAL),
    ),
    (
        "poly",
        {"from_logits": True},
        {OPTAX: lambda y, p: optax.losses.poly_loss_cross_entropy(p, y)},
        (TARGETS, REAL),
    ),
    ("categorical_hinge", {}, {KERAS: keras.losses.categorical_hinge}, (BINARY, REAL)),
    ("cosine_similarity", {}, {OPTAX: lambda y, p: -optax.cosine_similarity(p, y)}, (OTHER, REAL)),
    ("tversky", {}, {HAND: hand_tversky}, (BINARY, P)),
    ("dice", {}, {HAND: hand_dice}, (BINARY, P)),
    ("info_nce", {}, {HAND: hand_nce}, (np.arange(B, dtype=np.int32), REAL, OTHER)),
    ("z_loss", {"coefficient": 1.0}, {HAND: lambda y, p: jax.nn.logsumexp(p, -1) ** 2}, (BINARY, REAL)),
    ("triplet_margin", {}, {HAND: hand_triplet}, (BINARY, REAL, OTHER, P)),
]
"""Losses, options, rivals that give one value an element or an example, and arrays."""


def pair(name: str, options: dict[str, Any], rivals: dict[str, Any], arrays: Any) -> Case:
    """A case of one of these."""
    loss = getattr(losses, name)
    wanted = options | ({"from_logits": True} if options.get("from_logits") else {})
    title = f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})"
    mine = ours(lambda y, p, **rest: loss(None if name == "triplet_margin" else y, p, **rest), **wanted)
    if name == "info_nce":
        return Case(
            title,
            mine,
            {key: (lambda i, *p, f=each: f(i, *p).mean()) for key, each in rivals.items()},
            arrays,
        )
    return Case(title, mine, {key: mean(each) for key, each in rivals.items()}, arrays)


def update(name: str, hand: Callable[..., Any], *arrays: np.ndarray, **options: Any) -> Case:
    """One update of a metric and its value, against the value by hand."""
    metric = getattr(metrics, name)(**options)
    state = metric.init(*arrays)

    def mine(y: Any, p: Any) -> Any:
        return metric.compute(metric.update(state, *jax.lax.stop_gradient((y, p))))

    return Case(f"metric {name}", mine, {HAND: lambda y, p: hand(*jax.lax.stop_gradient((y, p)))}, arrays)


def hand_confusion(y: Any, p: Any) -> Any:
    """Products of one-hot vectors, which is how JAX counts fast."""
    count = p.shape[-1]
    return jax.nn.one_hot(y, count).T @ jax.nn.one_hot(p.argmax(-1), count)


def hand_pearson(y: Any, p: Any) -> Any:
    """Two passes."""
    y, p = (x - x.mean() for x in (y, p))
    return (y * p).sum() / jnp.sqrt((y**2).sum() * (p**2).sum())


LABELS = _RANDOM.integers(0, 100, 4096).astype(np.int32)
SCORES = _RANDOM.normal(size=(4096, 100)).astype(np.float32)
LINE, SLOPE = _RANDOM.normal(size=(2, 2**18)).astype(np.float32)

CASES = [
    *(case for size in ((128, 10), (8, 1000), (4096, 1000), (64, 32000)) for case in classes(*size)),
    *(pair(*each) for each in ELEMENTWISE),
    update("accuracy", lambda y, p: (p.argmax(-1) == y).mean(), LABELS, SCORES),
    update(
        "top_k_accuracy",
        lambda y, p: (jax.lax.top_k(p, 5)[1] == y[:, None]).any(-1).mean(),
        LABELS,
        SCORES,
        k=5,
    ),
    update("confusion_matrix", hand_confusion, LABELS, SCORES),
    update("mean_squared_error", lambda y, p: jnp.square(p - y).mean(), LINE, SLOPE),
    update("mean_absolute_error", lambda y, p: jnp.abs(p - y).mean(), LINE, SLOPE),
    update("pearson", hand_pearson, LINE, SLOPE),
    update(
        "r2_score", lambda y, p: 1 - jnp.square(y - p).sum() / jnp.square(y - y.mean()).sum(), LINE, SLOPE
    ),
]
