"""What Keras, Optax and scikit-learn call the same losses and metrics, with options mapped.

Expressions read ``y`` and ``p``, the arrays of the entry. Keras's are evaluated by
``tools/write_keras_fixtures.py``, whose results are committed; the others live, by ``test_peers.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ops.rows_losses import BINARY, CLASS_WEIGHTS, HOT, LABELS, OTHER, PROBABILITY, REAL, SOFT
from ops.rows_losses_classes import GUESS, TARGET
from ops.rows_metrics import BINARY as TRUTH
from ops.rows_metrics import LABELS as CLASSES
from ops.rows_metrics import PROBABILITY as CHANCE
from ops.rows_metrics import SCORES, K
from ops.rows_metrics_values import PRED, TRUE

COUNTS, POSITIVE = np.round(np.abs(OTHER)), np.abs(REAL) + 0.1
SIGNS = 2 * BINARY - 1
HOT_CLASSES = np.eye(K)[CLASSES]
STEPS = np.random.default_rng(31).normal(size=(2, 6, 4))
SPELT, LENGTHS = np.array([[1, 2, 2], [3, 1, 0]], np.int32), np.array([3, 2], np.int32)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One of ours with options, its arrays, and the same elsewhere."""

    name: str
    arrays: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    keras: str = ""
    optax: str = ""
    sklearn: str = ""
    """of float64 arrays; losses are compared by their mean over all examples"""
    grouped: bool = False
    """whether all arrays after the first make up our ``y_pred``"""
    scale: float = 1.0
    """what Keras's value is multiplied by"""
    rtol: float = 2e-5
    atol: float = 2e-6
    reason: str = ""
    """why conventions differ, where they had to be mapped"""


def loss(name: str, *arrays: Any, **rest: Any) -> Peer:
    """A loss; what `Peer` does not know are options of ours."""
    fields = {key: rest.pop(key) for key in tuple(rest) if key in Peer.__dataclass_fields__}
    return Peer(name=name, arrays=arrays, options=rest, **fields)


CLIPS = {"atol": 2e-5, "reason": "Keras clips probabilities to [1e-7, 1 - 1e-7]"}
LOSSES = (
    loss("mean_squared_error", OTHER, REAL, keras="L.mean_squared_error(y, p)",
         optax="optax.squared_error(p, y).mean(-1)", sklearn="M.mean_squared_error(y, p)"),
    loss("mean_squared_error", OTHER, REAL, optax="2 * optax.l2_loss(p, y).mean(-1)",
         reason="Optax's l2_loss is half the square"),
    loss("mean_absolute_error", OTHER, REAL, keras="L.mean_absolute_error(y, p)",
         sklearn="M.mean_absolute_error(y, p)"),
    loss("mean_absolute_percentage_error", OTHER, REAL, keras="L.mean_absolute_percentage_error(y, p)",
         sklearn="100 * M.mean_absolute_percentage_error(y, p)", reason="scikit-learn gives a share"),
    loss("mean_squared_logarithmic_error", COUNTS, POSITIVE, keras="L.mean_squared_logarithmic_error(y, p)",
         sklearn="M.mean_squared_log_error(y, p)", rtol=1e-4),
    loss("huber", OTHER, REAL, delta=0.7, keras="L.huber(y, p, delta=0.7)",
         optax="optax.huber_loss(p, y, delta=0.7).mean(-1)"),
    loss("log_cosh", OTHER, REAL, keras="L.log_cosh(y, p)", optax="optax.log_cosh(p, y).mean(-1)"),
    loss("quantile", OTHER, REAL, quantile=0.3, sklearn="M.mean_pinball_loss(y, p, alpha=0.3)"),
    loss("poisson", COUNTS, POSITIVE, keras="L.poisson(y, p)"),
    loss("binary_cross_entropy", BINARY, REAL, from_logits=True,
         keras="L.binary_crossentropy(y, p, from_logits=True)",
         optax="optax.sigmoid_binary_cross_entropy(p, y).mean(-1)"),
    loss("binary_cross_entropy", BINARY, PROBABILITY, label_smoothing=0.2,
         keras="L.binary_crossentropy(y, p, label_smoothing=0.2)", **CLIPS),
    loss("binary_cross_entropy", BINARY[:, 0], PROBABILITY[:, 0], sklearn="M.log_loss(y, p)"),
    loss("multilabel_soft_margin", BINARY, REAL, optax="optax.sigmoid_binary_cross_entropy(p, y).mean(-1)"),
    loss("categorical_cross_entropy", HOT, REAL, from_logits=True,
         keras="L.categorical_crossentropy(y, p, from_logits=True)",
         optax="optax.softmax_cross_entropy(p, y)"),
    loss("categorical_cross_entropy", HOT, REAL, from_logits=True, label_smoothing=0.1,
         keras="L.categorical_crossentropy(y, p, from_logits=True, label_smoothing=0.1)",
         optax="optax.softmax_cross_entropy(p, optax.smooth_labels(y, 0.1))"),
    loss("categorical_cross_entropy", LABELS, REAL, from_logits=True,
         keras="L.sparse_categorical_crossentropy(y, p, from_logits=True)",
         optax="optax.softmax_cross_entropy_with_integer_labels(p, y)"),
    loss("categorical_cross_entropy", LABELS, REAL, from_logits=True,
         optax="optax.safe_softmax_cross_entropy(p, jax.nn.one_hot(y, 3))"),
    loss("categorical_cross_entropy", HOT, SOFT, sklearn="M.log_loss(y, p)"),
    loss("categorical_cross_entropy", LABELS, np.log(SOFT), from_logits=True,
         keras="L.sparse_categorical_crossentropy(y, keras.ops.exp(p))",
         reason="Keras divides probabilities by their sum, we take them as they are: equal through logits",
         atol=2e-5),
    loss("categorical_cross_entropy", LABELS, REAL, from_logits=True, ignore_index=1,
         keras="L.sparse_categorical_crossentropy(y, p, from_logits=True, ignore_class=1)"),
    loss("categorical_hinge", HOT, REAL, keras="L.categorical_hinge(y, p)"),
    loss("hinge", SIGNS, REAL, keras="L.hinge(y, p)", optax="optax.hinge_loss(p, y).mean(-1)"),
    loss("hinge", SIGNS[:, 0], REAL[:, 0], sklearn="M.hinge_loss(y, p)"),
    loss("squared_hinge", SIGNS, REAL, keras="L.squared_hinge(y, p)"),
    loss("soft_margin", SIGNS, REAL, optax="jax.nn.softplus(-y * p).sum(-1)"),
    loss("cosine_similarity", OTHER, REAL, keras="L.cosine_similarity(y, p)",
         optax="-optax.cosine_similarity(p, y)", reason="Optax gives the cosine, losses its negative"),
    loss("kl_divergence", TARGET, GUESS, keras="L.kl_divergence(y, p)",
         optax="optax.kl_divergence(jnp.log(p), y)", **CLIPS),
    loss("kl_divergence", np.log(TARGET), REAL, log_target=True, from_logits=True,
         optax="optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(p), y)"),
    loss("focal", BINARY, REAL, from_logits=True, alpha=0.25,
         keras="L.binary_focal_crossentropy(y, p, True, 0.25, 2.0, from_logits=True)",
         optax="optax.sigmoid_focal_loss(p, y, alpha=0.25, gamma=2.0).mean(-1)"),
    loss("focal", HOT, REAL, kind="categorical", from_logits=True, alpha=CLASS_WEIGHTS,
         keras="L.categorical_focal_crossentropy(y, p, [0.3, 2.0, 1.0], 2.0, from_logits=True)", atol=2e-5),
    loss("poly", HOT, REAL, from_logits=True, epsilon=1.5,
         optax="optax.losses.poly_loss_cross_entropy(p, y, epsilon=1.5)"),
    loss("dice", BINARY, PROBABILITY, axis=(0, 1), smooth=0.0, keras="L.dice(y, p)",
         reason="Keras takes the whole batch for one set, and adds 1e-7 below"),
    loss("tversky", BINARY, PROBABILITY, axis=(0, 1), smooth=0.0, alpha=0.3, beta=0.7,
         keras="L.tversky(y, p, alpha=0.7, beta=0.3)",
         reason="as dice; Keras takes missed members for false ones"),
    loss("triplet_margin", REAL, OTHER, SOFT, grouped=True,
         optax="optax.losses.triplet_margin_loss(y, p, q)",
         reason="Optax adds 1e-6 to the squared distance", rtol=1e-4, atol=1e-5),
    loss("connectionist_temporal_classification", SPELT, STEPS, from_logits=True,
         keras="keras.ops.ctc_loss(y, p, [3, 2], [6, 6], 0)",
         optax="optax.ctc_loss(p, jnp.zeros(p.shape[:2]), y, jnp.array([[0., 0, 0], [0, 0, 1]]))", rtol=1e-4),
)  # fmt: skip
"""Not compared: Optax's ntxent and ranking_softmax_loss are of other quantities than info_nce, which is that
of CPC (no key of the same view); its hinges of several classes take the largest over all other classes,
Axon's and Keras's over a 0 for the true one as well."""


def metric(name: str, *arrays: Any, **rest: Any) -> Peer:
    """A metric; what `Peer` does not know are options of the factory."""
    return loss(name, *arrays, **rest)


def class_averages(name: str, keras: str, sklearn: str) -> tuple[Peer, ...]:
    """One of precision, recall and F1: of two classes by Keras, of several by scikit-learn."""
    return (
        metric(name, TRUTH, CHANCE, keras=keras, sklearn=f"M.{sklearn}(y, p > 0.5)"),
        *(
            metric(name, CLASSES, SCORES, average=average,
                   sklearn=f"M.{sklearn}(y, p.argmax(-1), average={each!r}, zero_division=0)")
            for average in ("macro", "micro", "weighted", "none")
            for each in (None if average == "none" else average,)
        ),
    )  # fmt: skip


METRICS = (
    metric("accuracy", CLASSES, SCORES, keras="K.SparseCategoricalAccuracy()",
           sklearn="M.accuracy_score(y, p.argmax(-1))"),
    metric("accuracy", HOT_CLASSES, SCORES, keras="K.CategoricalAccuracy()"),
    metric("accuracy", TRUTH, CHANCE, threshold=0.4, keras="K.BinaryAccuracy(threshold=0.4)",
           sklearn="M.accuracy_score(y, p > 0.4)"),
    metric("top_k_accuracy", CLASSES, SCORES, k=2, keras="K.SparseTopKCategoricalAccuracy(k=2)",
           sklearn="M.top_k_accuracy_score(y, p, k=2, labels=range(p.shape[-1]))"),
    *class_averages("precision", "K.Precision()", "precision_score"),
    *class_averages("recall", "K.Recall()", "recall_score"),
    *class_averages("f1_score", "", "f1_score"),
    metric("f_beta", TRUTH, CHANCE, beta=2.0, sklearn="M.fbeta_score(y, p > 0.5, beta=2.0)"),
    metric("true_positives", TRUTH, CHANCE, keras="K.TruePositives()"),
    metric("false_positives", TRUTH, CHANCE, keras="K.FalsePositives()"),
    metric("true_negatives", TRUTH, CHANCE, keras="K.TrueNegatives()"),
    metric("false_negatives", TRUTH, CHANCE, keras="K.FalseNegatives()"),
    metric("confusion_matrix", CLASSES, SCORES, sklearn="M.confusion_matrix(y, p.argmax(-1))"),
    metric("cohen_kappa", CLASSES, SCORES, sklearn="M.cohen_kappa_score(y, p.argmax(-1))"),
    metric("matthews_correlation", CLASSES, SCORES, sklearn="M.matthews_corrcoef(y, p.argmax(-1))"),
    metric("iou", CLASSES, SCORES, keras="K.MeanIoU(4, sparse_y_pred=False)",
           sklearn="M.jaccard_score(y, p.argmax(-1), average='macro')"),
    metric("roc_auc", TRUTH, CHANCE, capacity=64, sklearn="M.roc_auc_score(y, p)",
           reason="Keras's AUC interpolates between 200 thresholds: 1e-2 off, not compared"),
    metric("average_precision", TRUTH, CHANCE, capacity=64, sklearn="M.average_precision_score(y, p)"),
    metric("mean_absolute_error", TRUE, PRED, keras="K.MeanAbsoluteError()",
           sklearn="M.mean_absolute_error(y, p)"),
    metric("mean_squared_error", TRUE, PRED, keras="K.MeanSquaredError()",
           sklearn="M.mean_squared_error(y, p)"),
    metric("root_mean_squared_error", TRUE, PRED, keras="K.RootMeanSquaredError()",
           sklearn="M.root_mean_squared_error(y, p)"),
    metric("mean_absolute_percentage_error", TRUE, PRED, keras="K.MeanAbsolutePercentageError()", scale=0.01,
           sklearn="M.mean_absolute_percentage_error(y, p)",
           reason="Keras gives percent, the metric a share as scikit-learn does"),
    metric("r2_score", TRUE, PRED, sklearn="M.r2_score(y, p)"),
    metric("explained_variance", TRUE, PRED, sklearn="M.explained_variance_score(y, p)"),
    metric("pearson", TRUE, PRED, keras="K.PearsonCorrelation(axis=0)",
           reason="Keras has the correlation of each batch: one batch"),
    metric("cosine_similarity", SCORES, SCORES[::-1].copy(), keras="K.CosineSimilarity()"),
)  # fmt: skip
