"""A function of targets and predictions is called in the order that its parameters' names say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.steps._calling import takes_predictions_first, targets_first

pytestmark = pytest.mark.smoke

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 0, 2], np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
BITS = (LOGITS > 0.3).astype(np.float32)
SIGNS = np.where(LOGITS[:, 0] > 0.1, 1.0, -1.0).astype(np.float32)
OPTAX: dict[str, tuple[Any, Any]] = {
    "binary_dice_loss": (LOGITS, BITS),
    "cosine_distance": (LOGITS, BITS + 0.1),
    "cosine_similarity": (LOGITS, BITS + 0.1),
    "dice_loss": (LOGITS, ONE_HOT),
    "generalized_kl_divergence": (np.log(PROBABILITIES), ONE_HOT + 0.1),
    "hinge_loss": (LOGITS[:, 0], SIGNS),
    "huber_loss": (LOGITS, BITS),
    "kl_divergence": (np.log(PROBABILITIES), ONE_HOT),
    "kl_divergence_with_log_targets": (np.log(PROBABILITIES), np.log(PROBABILITIES[::-1])),
    "l2_loss": (LOGITS, BITS),
    "log_cosh": (LOGITS, BITS),
    "multiclass_generalized_dice_loss": (LOGITS, ONE_HOT),
    "multiclass_hinge_loss": (LOGITS, LABELS),
    "multiclass_perceptron_loss": (LOGITS, LABELS),
    "multiclass_sparsemax_loss": (LOGITS, LABELS),
    "ntxent": (LOGITS, LABELS),
    "perceptron_loss": (LOGITS[:, 0], SIGNS),
    "poly_loss_cross_entropy": (LOGITS, ONE_HOT),
    "ranking_softmax_loss": (LOGITS, ONE_HOT),
    "safe_softmax_cross_entropy": (LOGITS, ONE_HOT),
    "sigmoid_binary_cross_entropy": (LOGITS, BITS),
    "sigmoid_focal_loss": (LOGITS, BITS),
    "softmax_cross_entropy": (LOGITS, ONE_HOT),
    "softmax_cross_entropy_with_integer_labels": (LOGITS, LABELS),
    "sparsemax_loss": (LOGITS[:, 0], BITS[:, 0]),
    "squared_error": (LOGITS, BITS),
}
# Deprecated, or of other than predictions and targets.
OTHERS = {"convex_kl_divergence", "ctc_loss", "ctc_loss_with_forward_probs"} | {
    *("make_fenchel_young_loss", "smooth_labels", "triplet_margin_loss")
}


def test_the_table_has_all_losses_of_optax() -> None:
    names = {name for name in vars(optax.losses) if not name.startswith("_")}
    assert {name for name in names if callable(getattr(optax.losses, name))} == {*OPTAX, *OTHERS}


@pytest.mark.parametrize("name", OPTAX)
@jax.numpy_rank_promotion("allow")
def test_the_losses_of_optax(name: str) -> None:
    function = getattr(optax.losses, name)
    prediction, target = OPTAX[name]
    expected = float(np.mean(function(prediction, target)))
    near = pytest.approx(expected, rel=1e-6, abs=2e-7)  # means of terms that are up to 1 may cancel
    step = loop.eval_step((lambda key: {"w": jnp.zeros(1)}, lambda params, x: x), function)
    assert float(step({"w": jnp.zeros(1)}, (prediction, target))["loss"]) == near
    metric = loop.evaluator((lambda key: (), lambda params, x: x)).metric(function, "value")
    result = metric.run([(prediction, target)], {"w": jnp.zeros(1)})
    assert result.metrics["value"] == near


@pytest.mark.parametrize(
    ("function", "swapped"),
    [
        (lambda y_true, y_pred: 0, False),
        (lambda y_pred, y_true: 0, True),
        (lambda y_hat, y: 0, True),
        (lambda y, y_hat: 0, False),
        (lambda pred, y: 0, True),
        (lambda input, target: 0, True),
        (lambda target, input: 0, False),
        (lambda output, target, scale=1.0: 0, True),
        (lambda preds, labels: 0, True),
        (lambda labels, logits: 0, False),
        (lambda embeddings, labels: 0, True),
        (lambda a, b: 0, False),
        (lambda true_logits, logits: 0, False),
        (lambda *values: 0, False),
        (jnp.subtract, False),
    ],
)
def test_names(function: Callable[..., Any], swapped: bool) -> None:
    assert takes_predictions_first(function) is swapped


def test_a_swapped_function_gets_both_by_place() -> None:
    def minus(logits: float, labels: float, /) -> float:
        return logits - labels

    assert targets_first(minus)(1.0, 5.0) == 4.0
    assert targets_first(lambda y_true, y_pred: y_true - y_pred)(1.0, 5.0) == -4.0


def test_sigmoid_binary_cross_entropy_trains_down_to_zero_and_no_further() -> None:
    x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
    model = (lambda key: {"w": jnp.zeros((1, 1))}, lambda params, x: x @ params["w"])
    fitting = loop.trainer(model, optax.sigmoid_binary_cross_entropy, optax.sgd(50.0))
    result = fitting.run(loop.arrays(x, (x > 0).astype(np.float32), batch_size=16), epochs=60)
    assert 0 <= result.metrics["loss"] < 0.1
