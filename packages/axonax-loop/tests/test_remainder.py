"""A smaller last batch: exact metrics and one compiled shape in evaluation, three ways in training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.data._remainder import padding
from axonax.loop.steps._depends import depends
from axonax.tensor.contracts import Metric, ModelState

RNG = np.random.default_rng(0)
N = 11
X = RNG.normal(size=(N, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5])).astype(np.float32)
W = RNG.uniform(0.5, 2.0, N).astype(np.float32)
PARAMS = jnp.array([0.5, 0.25, -1.0])
TRACES: list[tuple[int, ...]] = []


def init(key: Any) -> jax.Array:
    return PARAMS


def apply(params: Any, x: Any) -> Any:
    TRACES.append(jax.tree.leaves(x)[0].shape)
    return x @ params


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def mean_squared(y_true: Any, y_pred: Any) -> Any:
    return jnp.mean((y_true - y_pred) ** 2)


def worst(*, by: str = "where") -> Metric:
    """The largest error of a row that counts: a mean of batches would be wrong, and so would an added row."""

    def largest(state: Any, y_true: Any, y_pred: Any, counts: Any) -> Any:
        errors = jnp.abs(y_true - y_pred)
        return jnp.maximum(state, jnp.max(errors if counts is None else jnp.where(counts, errors, 0)))

    def by_where(state: Any, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> Any:
        return largest(state, y_true, y_pred, where)

    def by_weights(state: Any, y_true: Any, y_pred: Any, *, weights: Any = None) -> Any:
        return largest(state, y_true, y_pred, None if weights is None else weights > 0)

    return Metric(
        init=lambda *_: jnp.zeros(()),
        update=by_where if by == "where" else by_weights,
        merge=jnp.maximum,
        compute=lambda state: state,
        name="worst",
    )


def rows_seen(*, takes_weights: bool) -> Metric:
    """Counts rows and never looks at weights."""

    def update(state: Any, y_true: Any, y_pred: Any) -> Any:
        return state + len(y_true)

    def update_with(state: Any, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> Any:
        return state + len(y_true)

    chosen = update_with if takes_weights else update
    return Metric(
        init=lambda *_: jnp.zeros((), jnp.int32), update=chosen, merge=None, compute=lambda s: s, name="rows"
    )


def data(kind: str, size: int, *, weighted: bool = False) -> Any:
    parts = (X, Y, W) if weighted else (X, Y)
    if kind == "arrays":
        return loop.arrays(*parts, batch_size=size)
    return [tuple(part[at : at + size] for part in parts) for at in range(0, N, size)]


@pytest.mark.parametrize("kind", ["arrays", "list"])
@pytest.mark.parametrize("size", [2, 4, 10, 11])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fuse", [False, True])
def test_a_pass_is_that_of_the_whole_data(kind: str, size: int, weighted: bool, fuse: bool) -> None:
    evaluator = loop.evaluator((init, apply), squared).metric(squared, "mse").metric(worst())
    got = evaluator.run(data(kind, size, weighted=weighted), PARAMS, fuse=fuse).metrics
    errors = (np.float64(Y) - np.float64(X) @ np.float64(PARAMS)) ** 2
    expected = np.average(errors, weights=W if weighted else None)
    np.testing.assert_allclose([got["loss"], got["mse"]], expected, rtol=1e-6)
    np.testing.assert_allclose(got["worst"], np.sqrt(errors.max()), rtol=1e-6)


@pytest.mark.parametrize("kind", ["arrays", "list"])
def test_one_shape_is_compiled(kind: str, caplog: Any) -> None:
    evaluator = loop.evaluator((init, apply), squared).metric(worst()).metric(worst(by="weights"), "same")
    TRACES.clear()
    with jax.log_compiles():
        got = evaluator.run(data(kind, 4), PARAMS).metrics
    assert got["worst"] == got["same"] == pytest.approx(np.abs(Y - X @ np.asarray(PARAMS)).max(), rel=1e-6)
    compiled = [
        each for each in caplog.messages if each.startswith(("Compiling jit(step)", "Compiling jit(run)"))
    ]
    assert len(compiled) == 1, compiled
    assert set(TRACES) == {(4, 3)}


@pytest.mark.parametrize(
    "metric", [rows_seen(takes_weights=False), rows_seen(takes_weights=True)], ids=["none", "unused"]
)
def test_a_metric_without_weights_sees_the_smaller_batch_as_it_is(metric: Metric) -> None:
    evaluator = loop.evaluator((init, apply), squared).metric(metric)
    for _ in range(2):
        assert evaluator.run(data("list", 4), PARAMS).metrics["rows"] == N


def test_a_scalar_loss_counts_by_rows() -> None:
    got = loop.evaluator((init, apply), mean_squared).metric(mean_squared, "m").run(data("list", 4), PARAMS)
    expected = np.mean((Y - X @ np.asarray(PARAMS)) ** 2)
    np.testing.assert_allclose([got.metrics["loss"], got.metrics["m"]], expected, rtol=1e-6)


def test_validation_is_exact_and_traces_as_often_in_three_epochs_as_in_one() -> None:
    counts = []
    for epochs in (1, 3):
        trainer = loop.trainer((init, apply), squared, optax.sgd(0.0)).metric(worst())
        TRACES.clear()
        result = trainer.validate(data("list", 4)).run([(X, Y)], epochs=epochs)
        counts.append(len(TRACES))
        assert set(TRACES) == {(11, 3), (4, 3)}
        for name in ("loss", "worst"):
            np.testing.assert_allclose(result.history[f"validation_{name}"], result.metrics[name], rtol=1e-6)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("kind", ["arrays", "list"])
@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_masked_training_is_that_of_the_smaller_batch(kind: str, fuse: bool, weighted: bool) -> None:
    trainer = loop.trainer((init, apply), squared, optax.sgd(0.1)).metric(worst())
    source = data(kind, 4, weighted=weighted)
    kept = trainer.run(source, epochs=2, fuse=fuse)
    masked = trainer.run(source, epochs=2, fuse=fuse, remainder="mask")
    np.testing.assert_allclose(masked.model_state, kept.model_state, rtol=1e-5)
    for name, value in kept.metrics.items():
        assert masked.metrics[name] == pytest.approx(value, rel=1e-5)


def test_masked_training_compiles_one_shape() -> None:
    for remainder, shapes in (("keep", {(4, 3), (3, 3)}), ("mask", {(4, 3)}), ("drop", {(4, 3)})):
        TRACES.clear()
        trainer = loop.trainer((init, apply), squared, optax.sgd(0.1))
        trainer.run(data("list", 4), fuse=False, remainder=remainder)
        assert set(TRACES) == shapes


@pytest.mark.parametrize("kind", ["arrays", "list"])
@pytest.mark.parametrize("fuse", [False, True])
def test_dropped_batches_are_left_out(kind: str, fuse: bool) -> None:
    trainer = loop.trainer((init, apply), squared, optax.sgd(0.1))
    got = trainer.run(data(kind, 4), epochs=2, fuse=fuse, remainder="drop")
    expected = trainer.run(
        data(kind, 4)[:2] if kind == "list" else loop.arrays(X[:8], Y[:8], batch_size=4), epochs=2
    )
    assert got.iteration == 4
    np.testing.assert_allclose(got.model_state, expected.model_state, rtol=1e-6)
    small = loop.arrays(X[:3], Y[:3], batch_size=4) if kind == "arrays" else [(X[:3], Y[:3])]
    assert trainer.run(small, remainder="drop").iteration == 1


def test_iterate_takes_the_remainder_too() -> None:
    trainer = loop.trainer((init, apply), squared, optax.sgd(0.1))
    counts = {
        remainder: len(list(trainer.iterate(data("list", 4), remainder=remainder)))
        for remainder in ("keep", "drop", "mask")
    }
    assert counts == {"keep": 3, "drop": 2, "mask": 3}


def centred(state: Any, x: Any, train: bool = False, where: Any = None) -> Any:
    """Takes the mean of the batch away while training, and keeps it."""
    mean = jnp.mean(x, 0, where=None if where is None else where[:, None]) if train else state.buffers["mean"]
    return (x - mean[None]) @ state.params, {"mean": mean}


def centred_init(key: Any) -> ModelState:
    return ModelState(params=PARAMS, buffers={"mean": jnp.zeros(3)})


def test_where_reaches_a_model_that_takes_it() -> None:
    trainer = loop.trainer((centred_init, centred), squared, optax.sgd(0.1))
    kept = trainer.run(data("list", 4), epochs=2)
    masked = trainer.run(data("list", 4), epochs=2, remainder="mask")
    for one, other in zip(
        jax.tree.leaves(masked.model_state), jax.tree.leaves(kept.model_state), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("buffers", ["statistics", "counter"])
def test_statistics_of_rows_that_do_not_count_are_refused(buffers: str) -> None:
    def blind(state: Any, x: Any, train: bool = False) -> Any:
        if buffers == "statistics":
            return centred(state, x, train)
        return x @ state.params, {"mean": state.buffers["mean"] + 1}

    trainer = loop.trainer((centred_init, blind), squared, optax.sgd(0.1)).validate(data("list", 4))
    trainer.run(data("list", 4))
    if buffers == "counter":
        trainer.run(data("list", 4), remainder="mask")
        return
    text = '^batch 0: remainder="mask": the model changes its buffers by the rows of the batch'
    with pytest.raises(ValueError, match=text):
        trainer.run(data("list", 4), remainder="mask")


@pytest.mark.parametrize(
    ("make", "remainder", "text"),
    [
        (
            lambda: loop.trainer((init, apply), squared, optax.sgd(0.1)),
            "mas",
            'unknown remainder "mas": did you mean',
        ),
        (
            lambda: loop.evaluator((init, apply)),
            "drop",
            'remainder="drop" is for training, and .* of kind evaluator',
        ),
        (
            lambda: loop.trainer(
                objective=lambda p, b: squared(b[1], b[0] @ p), init=init, optimizer=optax.sgd(0.1)
            ),
            "mask",
            'remainder="mask" needs a trainer of a model and a loss',
        ),
        (
            lambda: loop.trainer((init, apply), mean_squared, optax.sgd(0.1)),
            "mask",
            "gave one number for the whole batch",
        ),
    ],
)
def test_refusals(make: Any, remainder: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make().run(data("list", 4), PARAMS, remainder=remainder)


def test_a_batch_that_is_no_smaller_one_is_named_as_ever() -> None:
    evaluator = loop.evaluator((init, apply), squared)
    batches = data("list", 4)
    for bad, text in (
        ((X[:3], Y[:2]), "differ in their number of rows"),
        ((X[:, :2], Y), r"0 was|inputs was"),
    ):
        with pytest.raises(ValueError, match=f"batch 2 of epoch 1: .*{text}"):
            evaluator.run([*batches[:2], bad], PARAMS)
    with pytest.raises(ValueError, match="changed its structure"):
        evaluator.run([*batches[:2], (X, Y, W)], PARAMS)


def test_rows_are_told_from_what_only_has_their_size() -> None:
    first = {"x": X[:4], "table": np.zeros((4, 2)), "other": np.zeros(7), "number": 3.0}
    pad = padding(first, 4, lambda batch: None)
    got = pad({"x": X[:2], "table": np.ones((4, 2)), "other": np.zeros(7), "number": 5.0})
    assert got.where.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(got.batch["x"], X[[0, 1, 0, 0]])
    np.testing.assert_array_equal(got.batch["table"], np.ones((4, 2)))
    assert got.batch["other"].shape == (7,)
    assert got.batch["number"] == 5.0
    empty = pad({"x": X[:0], "table": np.ones((4, 2)), "other": np.zeros(7), "number": 5.0})
    assert not empty.where.any()
    np.testing.assert_array_equal(empty.batch["x"], np.zeros((4, 3)))


def test_what_a_program_depends_on() -> None:
    step = jax.jit(lambda x, y: (x * 2, y + 1))
    assert depends(lambda x, y: step(x, 1)[0], jnp.ones(2), 1)
    assert not depends(lambda x, y: y, jnp.ones(2), 1.0)
    assert not depends(lambda x: {}, jnp.ones(2))
