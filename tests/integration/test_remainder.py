"""Metrics by name over a pass are those of the whole data at once, whatever the batch size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax import loop, optim

ROWS = 37
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.uniform(0.5, 2.0, ROWS).astype(np.float32)
LOGITS = RANDOM.normal(size=(ROWS, 4)).astype(np.float32)
CLASSES = np.asarray(jax.nn.softmax(LOGITS)), RANDOM.integers(0, 4, ROWS).astype(np.int32)
LABELS = LOGITS.argmax(1).astype(np.int32), CLASSES[1]
BINARY = np.asarray(jax.nn.sigmoid(LOGITS[:, 0])), (LOGITS[:, 0] + LOGITS[:, 1] > 0).astype(np.int32)
NUMBERS = LOGITS[:, 0], (LOGITS[:, 0] + 0.3 * LOGITS[:, 1]).astype(np.float32)
VECTORS = LOGITS, (LOGITS[:, ::-1] * 0.5).astype(np.float32)

OF_CLASSES = {
    "accuracy": {},
    "calibration_error": {},
    "f1_score": {"average": "macro"},
    "perplexity": {},
    "top_k_accuracy": {"k": 2},
}
NONE: dict[str, int] = {}
OF_LABELS = {"cohen_kappa": {"classes": 4}, "confusion_matrix": {"classes": 4}}
OF_BINARY = dict.fromkeys(
    (
        "accuracy",
        "average_precision",
        "dice",
        "exact_match",
        "false_negatives",
        "false_positives",
        "hamming",
        "iou",
        "matthews_correlation",
        "precision",
        "recall",
        "roc_auc",
        "sensitivity",
        "specificity",
        "true_negatives",
        "true_positives",
    ),
    NONE,
)
OF_NUMBERS = dict.fromkeys(
    (
        "explained_variance",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_error",
        "pearson",
        "r2_score",
        "root_mean_squared_error",
        "spearman",
    ),
    NONE,
)
OF_PREDICTIONS = {
    **{name: {} for name in ("maximum", "mean", "minimum", "standard_deviation", "sum", "exponential_mean")},
    "running_mean": {"window": 7},
}


def identity(table):
    evaluator = loop.evaluator((lambda key: (), lambda state, x: x))
    for name, options in table.items():
        evaluator = evaluator.metric(name, **options)
    return evaluator


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("data", "table"),
    [
        (CLASSES, OF_CLASSES),
        (LABELS, OF_LABELS),
        (BINARY, OF_BINARY),
        (NUMBERS, OF_NUMBERS),
        (VECTORS, {"cosine_similarity": {}, "mean_squared_error": {}}),
        (NUMBERS, OF_PREDICTIONS),
    ],
    ids=["classes", "labels", "binary", "numbers", "vectors", "predictions"],
)
def test_metrics_by_name(data, table, weighted, caplog):
    evaluator = identity(table)
    parts = (*data, WEIGHTS) if weighted else data
    whole = evaluator.run(loop.arrays(*parts, batch_size=ROWS), ()).metrics
    for size in (5, 36):
        caplog.clear()
        with jax.log_compiles():
            got = evaluator.run(loop.arrays(*parts, batch_size=size), ()).metrics
        steps = [
            each for each in caplog.messages if each.startswith(("Compiling jit(step)", "Compiling jit(run)"))
        ]
        assert len(steps) == 1, steps
        for name in table:
            np.testing.assert_allclose(got[name], whole[name], rtol=2e-5, atol=1e-6, err_msg=name)


def test_batch_statistics_and_masks():
    """A graph with batch statistics refuses rows that do not count, unless it is told which."""
    x, y = LOGITS, CLASSES[1]
    model = nn.input("x", (None, 4)) | nn.batch_norm() | nn.dense(4, activation="softmax")
    trainer = loop.trainer(model, "categorical_cross_entropy", optim.sgd(0.1))
    with pytest.raises(ValueError, match='remainder="mask": the model changes its buffers by the rows'):
        trainer.run(loop.arrays(x, y, batch_size=8), remainder="mask")

    mask = nn.input("where", (None,))
    told = nn.batch_norm()(nn.input("x", (None, 4)), where=mask) | nn.dense(4, activation="softmax")
    init, apply = nn.build(told)

    def start(key, inputs):
        return init(key, {"x": inputs, "where": jnp.ones(len(inputs), bool)})

    def masked(state, inputs, train=False, key=None, where=None):
        where = jnp.ones(len(inputs), bool) if where is None else where
        return apply(state, {"x": inputs, "where": where}, train=train, key=key)

    results = [
        loop.trainer((start, masked), "categorical_cross_entropy", optim.sgd(0.1))
        .validate(loop.arrays(x, y, batch_size=6))
        .run(loop.arrays(x, y, batch_size=8), epochs=2, remainder=remainder)
        for remainder in ("keep", "mask")
    ]
    for one, other in zip(*(jax.tree.leaves(each.model_state) for each in results), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    for name, value in results[0].metrics.items():
        assert results[1].metrics[name] == pytest.approx(value, rel=1e-5)
