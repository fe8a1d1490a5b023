"""Rows of the losses with margins, of labels and of embeddings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ops import rows_losses as base
from ops.row import Case, LossRow, case
from ops.rows_losses import (
    BINARY,
    CANCELS,
    CLASS_WEIGHTS,
    HOT,
    LABELS,
    OTHER,
    REAL,
    WEIGHTS,
    WHERE,
    averaged,
    between,
    reals,
    reductions,
)
from ops.rows_losses_real import bad

SIGNS = 2 * BINARY - 1
FIRST, SECOND, THIRD = REAL, OTHER, np.round(np.sin(REAL * 3), 3)
SAME = np.array([1.0, 0.0, 0.0, 1.0])


def categorical_hinge(y: np.ndarray, p: np.ndarray, **options: Any) -> np.ndarray:
    sparse, axis = options.pop("sparse", None), options.pop("axis", -1)
    p = np.moveaxis(p, axis, -1)
    y = np.eye(p.shape[-1])[y] if sparse or y.dtype.kind == "i" else np.moveaxis(y, axis, -1)
    values = np.maximum(0, 1 + ((1 - y) * p).max(-1) - (y * p).sum(-1))
    return base.reduced(values, options.pop("reduction", "none"), **options)


def ranking(y: np.ndarray, p: Any, *, margin: float = 0.0) -> np.ndarray:
    return np.maximum(0, margin - y * (p[0] - p[1]))


def embedding(y: np.ndarray, p: np.ndarray, *, margin: float = 1.0) -> np.ndarray:
    return np.where(y == 1, p, np.maximum(0, margin - p))


def of_examples(values: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The oracle of a loss whose examples are ``values``."""

    def oracle(
        y: Any, p: Any, *, reduction: str = "none", weights: Any = None, where: Any = None, **options: Any
    ) -> np.ndarray:
        return base.reduced(values(y, p, **options), reduction, weights, where)

    return oracle


def cosine(y: np.ndarray, p: np.ndarray, *, axis: int = -1, eps: float = 0.0) -> np.ndarray:
    lengths = [np.maximum(np.linalg.norm(each, axis=axis), eps) for each in (y, p)]
    return -np.sum(y * p, axis) / np.where(lengths[0] * lengths[1] == 0, 1, lengths[0] * lengths[1])


def triplet(y: Any, p: Any, *, margin: float = 1.0, swap: bool = False) -> np.ndarray:
    near, far, other = (np.linalg.norm(p[i] - p[j], axis=-1) for i, j in ((0, 1), (0, 2), (1, 2)))
    return np.maximum(0, near - (np.minimum(far, other) if swap else far) + margin)


def contrastive(y: np.ndarray, p: Any, *, margin: float = 1.0) -> np.ndarray:
    far = np.linalg.norm(p[0] - p[1], axis=-1)
    return y * far**2 + (1 - y) * np.maximum(0, margin - far) ** 2


def info_nce(y: Any, p: Any, *, temperature: float = 0.1, normalize: bool = True, **extra: Any) -> np.ndarray:
    queries, keys = [each / np.linalg.norm(each, axis=-1, keepdims=True) if normalize else each for each in p]
    scores = queries @ keys.T / temperature
    where = extra.get("where")
    if where is not None:
        scores = np.where(where[None, :] | np.eye(len(keys), dtype=bool), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    log_p = scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))
    picked = log_p[np.arange(len(keys)), np.arange(len(keys)) if y is None else y]
    return base.reduced(-picked, extra.get("reduction", "none"), extra.get("weights"), where)


def pairs(*arrays: Any, **options: Any) -> tuple[Case, ...]:
    """One call without reduction and one that is weighted and masked."""
    return (
        case(*arrays, **options),
        case(*arrays, reduction="mean", weights=WEIGHTS, where=WHERE, **options),
    )


def _zero_is_zero(op: Any) -> None:
    """At the zero vector: 0 with gradient 0, and nothing overflows or vanishes."""
    y, p = jnp.array([[0.0, 0.0], [3.0, 4.0]]), jnp.array([[1.0, 2.0], [0.0, 0.0]])
    value, gradient = jax.value_and_grad(lambda y, p: op(y, p, reduction="sum"), (0, 1))(y, p)
    assert value == 0
    assert all((each == 0).all() for each in gradient)
    for scale in (1e-30, 1e30):
        np.testing.assert_allclose(op(scale * y[1:], scale * y[1:]), [-1], rtol=1e-6)


def _no_distance_has_no_slope(op: Any) -> None:
    same = jnp.ones((2, 3))
    names = ("first", "second") if op.__name__ == "contrastive" else ("anchor", "positive", "negative")
    target = jnp.array([0, 1]) if op.__name__ == "contrastive" else None
    value, gradient = jax.value_and_grad(lambda *p: op(target, p, reduction="sum"), 0)(*[same] * len(names))
    assert value == (1 if target is not None else 2)
    assert (gradient == 0).all()
    with pytest.raises(ValueError, match=rf"y_pred must be the tuple \({', '.join(names)}\), got ArrayImpl"):
        op(target, same)


def _shapes_of_pairs(op: Any) -> None:
    with pytest.raises(ValueError, match=r"y_true must have the shape \(2,\) of the pairs, got \(2, 1\)"):
        op(jnp.ones((2, 1)), (jnp.ones((2, 3)), jnp.ones((2, 3))))


def _keys_of_the_batch(op: Any) -> None:
    """A permutation of the keys and their indices change nothing; a bad index is an error, or NaN."""
    order = np.array([2, 0, 3, 1], np.int32)
    expected = op(None, (jnp.asarray(REAL), jnp.asarray(OTHER)))
    np.testing.assert_allclose(op(np.argsort(order), (REAL, OTHER[order])), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"in \[0, 4\), got 4"):
        op(np.arange(1, 5), (REAL, OTHER))
    assert np.isnan(jax.jit(op)(np.arange(1, 5), (REAL, OTHER))).tolist() == [False] * 3 + [True]
    with pytest.raises(ValueError, match=r"shape \(B, F\), got \(4,\)"):
        op(None, (REAL[:, 0], OTHER[:, 0]))


def _like_binary_cross_entropy(op: Any) -> None:
    from axonax.functional import losses  # noqa: PLC0415

    expected = losses.binary_cross_entropy(BINARY, REAL, from_logits=True)
    np.testing.assert_allclose(op(BINARY, REAL), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"class_weights must have shape \(3,\)"):
        op(BINARY, REAL, class_weights=np.ones(2))


def _label_out_of_range(op: Any) -> None:
    for label in (3, -1):
        with pytest.raises(ValueError, match=f"in \\[0, 3\\), got {label}"):
            op(jnp.array([label]), jnp.zeros((1, 3)))
        assert np.isnan(jax.jit(op)(jnp.array([label]), jnp.zeros((1, 3)))).all()


def like_keras(loss: str) -> Any:
    """The peers of most of these."""
    return {"oracle_name": "NumPy in float64", "peers": loss}


ROWS: tuple[LossRow, ...] = (
    LossRow(
        **like_keras("Optax, Keras"),
        name="losses.hinge",
        formula="mean_j max(0, 1 - y_true_j y_pred_j)",
        oracle=averaged(lambda y, p: np.maximum(0, 1 - y * p)),
        cases=(*reductions(SIGNS, REAL), case(SIGNS[:, 0], REAL[:, 0])),
        edges=(case(SIGNS, SIGNS),),
        domain=((case(SIGNS, REAL), (between(-1, 1), reals(1e37))),),
        no_torch="torch has none",
        laws=(base.a_column_is_no_vector,),
    ),
    LossRow(
        **like_keras("Keras"),
        name="losses.squared_hinge",
        formula="mean_j max(0, 1 - y_true_j y_pred_j)^2",
        oracle=averaged(lambda y, p: np.maximum(0, 1 - y * p) ** 2),
        cases=(*reductions(SIGNS, REAL), case(SIGNS[:, 0], REAL[:, 0])),
        edges=(case(SIGNS, SIGNS),),
        domain=((case(SIGNS, REAL), (between(-1, 1), reals(1e18))),),
        no_torch="torch has none",
        laws=(base.a_column_is_no_vector,),
    ),
    LossRow(
        **like_keras("Keras"),
        name="losses.categorical_hinge",
        formula="max(0, 1 + max_c (1 - y_c) p_c - sum_c y_c p_c)",
        oracle=categorical_hinge,
        cases=(
            *reductions(LABELS, REAL),
            case(HOT, REAL),
            case(HOT.T, REAL.T, axis=0),
            case(LABELS, REAL, sparse=True),
        ),
        edges=(case(LABELS, np.zeros_like(REAL)),),
        domain=((case(LABELS, REAL), (base.indices(3), reals(1e37))),),
        no_torch="multi_margin_loss leaves the true class out of the maximum",
        laws=(_label_out_of_range,),
    ),
    LossRow(
        **like_keras("Optax, torch"),
        wrt=(1,),
        name="losses.soft_margin",
        formula="sum_j log(1 + exp(-y_true_j y_pred_j))",
        oracle=of_examples(
            lambda y, p: np.logaddexp(0, -y * p).sum(-1) if y.ndim > 1 else np.logaddexp(0, -y * p)
        ),
        cases=(*reductions(SIGNS, REAL), case(SIGNS[:, 0], REAL[:, 0])),
        edges=(case(SIGNS, 1e4 * REAL),),
        domain=((case(SIGNS, REAL), (between(-1, 1), reals(1e37))),),
        torch="F.soft_margin_loss(y_pred, y_true, reduction='none').sum(-1) if y_true.ndim > 1 "
        "else F.soft_margin_loss(y_pred, y_true, reduction='none')",
        laws=(base.a_column_is_no_vector,),
    ),
    LossRow(
        **like_keras("torch"),
        name="losses.multilabel_soft_margin",
        formula="mean_c w_c [y_c softplus(-x_c) + (1 - y_c) softplus(x_c)]",
        oracle=averaged(
            lambda y, p, class_weights=1.0: (
                class_weights * (y * np.logaddexp(0, -p) + (1 - y) * np.logaddexp(0, p))
            )
        ),
        cases=(*reductions(BINARY, REAL), case(BINARY, REAL, class_weights=CLASS_WEIGHTS)),
        edges=(case(BINARY, 1e4 * REAL),),
        domain=((case(BINARY, REAL), (between(0, 1), reals(1e37))),),
        torch="F.multilabel_soft_margin_loss(y_pred, y_true, weight=class_weights, reduction='none')",
        laws=(_like_binary_cross_entropy,),
    ),
    LossRow(
        **like_keras("torch"),
        name="losses.margin_ranking",
        formula="mean_j max(0, margin - y_true_j (first_j - second_j))",
        oracle=of_examples(
            lambda y, p, margin=0.0: (
                ranking(y, p, margin=margin).mean(-1) if y.ndim > 1 else ranking(y, p, margin=margin)
            )
        ),
        cases=(
            *pairs(SIGNS[:, 0], (REAL[:, 0], OTHER[:, 0]), margin=0.5),
            case(SIGNS, (REAL, OTHER)),
        ),
        edges=(case(SIGNS, (REAL, REAL)),),
        domain=((case(SIGNS, (REAL, OTHER)), (between(-1, 1), reals(1e37), reals(1e37))),),
        torch="F.margin_ranking_loss(*y_pred, y_true, margin=margin, reduction='none') if y_true.ndim < 2 "
        "else F.margin_ranking_loss(*y_pred, y_true, margin=margin, reduction='none').mean(-1)",
    ),
    LossRow(
        **like_keras("torch"),
        name="losses.hinge_embedding",
        formula="mean_j y_pred_j if y_true_j = 1 else max(0, margin - y_pred_j)",
        oracle=averaged(embedding),
        cases=(*reductions(SIGNS, np.abs(REAL)), case(SIGNS[:, 0], np.abs(REAL[:, 0]), margin=3.0)),
        wrt=(1,),
        edges=(case(SIGNS, np.ones_like(REAL)),),
        domain=((case(SIGNS, REAL), (base.between(-1, 1), reals(1e37))),),
        torch="F.hinge_embedding_loss(y_pred, y_true, margin=margin, reduction='none').mean(-1) "
        "if y_true.ndim > 1 else F.hinge_embedding_loss(y_pred, y_true, margin=margin, reduction='none')",
        laws=(base.a_column_is_no_vector, bad("margin", -1, "at least 0")),
    ),
    LossRow(
        **like_keras("Optax, Keras, torch"),
        name="losses.cosine_similarity",
        formula="-sum_j y_j p_j / (|y| |p|)",
        oracle=of_examples(cosine),
        cases=(
            *reductions(REAL, OTHER),
            case(REAL.T, OTHER.T, axis=0),
            case(REAL[0], OTHER[0]),
            case(REAL, OTHER, eps=3.0),
        ),
        smooth=7,
        bound=CANCELS,
        edges=(case(0 * REAL, OTHER), case(1e30 * REAL, 1e-30 * OTHER)),
        domain=((case(REAL, OTHER), (reals(1e37), reals(1e37))),),
        torch="-F.cosine_similarity(y_pred, y_true, dim=axis, eps=eps)",
        laws=(base.a_column_is_no_vector, _zero_is_zero, bad("eps", -1, "at least 0")),
    ),
    LossRow(
        **like_keras("Optax, torch"),
        name="losses.triplet_margin",
        formula="max(0, |a - p| - |a - n| + margin)",
        oracle=of_examples(triplet),
        cases=(
            *pairs(None, (FIRST, SECOND, THIRD), margin=4.0),
            case(None, (FIRST, SECOND, THIRD), margin=1.5, swap=True),
        ),
        bound=CANCELS,
        edges=(case(None, (REAL, REAL, REAL)),),
        domain=((case(None, (FIRST, SECOND, THIRD)), (reals(1e37), reals(1e37), reals(1e37))),),
        torch="F.triplet_margin_loss(*y_pred, margin=margin, swap=swap, eps=0.0, reduction='none')",
        laws=(_no_distance_has_no_slope,),
    ),
    LossRow(
        **like_keras("TensorFlow Addons"),
        name="losses.contrastive",
        formula="y d^2 + (1 - y) max(0, margin - d)^2, d = |first - second|",
        oracle=of_examples(contrastive),
        cases=pairs(SAME, (FIRST, SECOND), margin=5.0),
        bound=CANCELS,
        edges=(case(SAME, (REAL, REAL)),),
        domain=((case(SAME, (FIRST, SECOND)), (between(0, 1), reals(1e18), reals(1e18))),),
        no_torch="torch has none",
        laws=(_no_distance_has_no_slope, _shapes_of_pairs),
    ),
    LossRow(
        **like_keras("Optax (ntxent)"),
        name="losses.info_nce",
        formula="-log softmax_j(cos(q_i, k_j) / temperature)[y_i]",
        oracle=info_nce,
        cases=(
            case(None, (FIRST, SECOND)),
            case(np.array([1, 0, 3, 3], np.int32), (FIRST, SECOND), temperature=0.5),
            case(None, (FIRST, SECOND), normalize=False, temperature=2.0),
            case(None, (FIRST, SECOND), reduction="mean", where=WHERE, weights=WEIGHTS),
        ),
        bound=CANCELS,
        edges=(case(None, (0 * REAL, OTHER)),),
        # The slope is 1 / (temperature * norm): below some 1e-37 it does not fit float32.
        domain=((case(None, (FIRST, SECOND)), (reals(1e37, 1e-36), reals(1e37, 1e-36))),),
        no_torch="torch has none",
        laws=(_keys_of_the_batch, bad("temperature", 0, "above 0")),
    ),
)
