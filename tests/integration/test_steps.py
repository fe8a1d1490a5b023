"""What a training step does with parts of the other packages: named losses, graphs, optimizers, Equinox."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import graph as nn
from axonax import loop, optim
from axonax.loop.steps._explain import explain
from axonax.loop.steps._losses import resolve_losses
from axonax.loop.steps._metrics import FIELDS, resolve_metric
from axonax.loop.steps._model import resolve_model
from axonax.tensor.precision import Policy

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 4)).astype(np.float32)
LABELS = (X[:, 0] > 0).astype(np.int32)
DATA = loop.arrays(X, LABELS, batch_size=8)
SHAPES = jax.ShapeDtypeStruct((4, 2), jnp.float32)


def classifier() -> nn.Node:
    return nn.input("x", (None, 4)) | nn.dense(8, activation="relu") | nn.dense(2, activation="softmax")


@pytest.mark.parametrize(
    ("loss", "metric"),
    [
        ("categorical_cross_entropy", None),
        ({"digit": "categorical_cross_entropy"}, None),
        (optax.softmax_cross_entropy_with_integer_labels, ("top_k_accuracy", {"k": 1})),
    ],
)
def test_labels_out_of_range_are_explained(loss: Any, metric: Any) -> None:
    net = resolve_model((lambda key: (), lambda params, x: x), "test")
    resolved = resolve_losses(loss, "test", None, net)
    metrics = [resolve_metric(metric[0], None, FIELDS, None, metric[1])] if metric else []

    def found(labels: list[int]) -> str | None:
        both = (np.array(labels), SHAPES)
        targets, shapes = ({"digit": each} for each in both) if isinstance(loss, dict) else both
        return explain((X[:4], targets), shapes, resolved, metrics)

    assert found([0, 1, 1, 0]) is None
    assert "indices must be in [0, 2), got 2" in str(found([0, 1, 2, 0]))


def test_a_whole_equinox_module_trains() -> None:
    def make(key: Any) -> Any:
        return eqx.nn.MLP(4, 2, 8, 2, activation=jax.nn.gelu, key=key)

    fitting = loop.trainer(
        (make, lambda module, x: jax.vmap(module)(x)),
        optax.softmax_cross_entropy_with_integer_labels,
        optim.adam(0.01),
    )
    result = fitting.ema(0.9).validate(DATA).run(DATA, epochs=30)
    assert result.metrics["loss"] < 0.3
    assert result.metrics["validation_loss"] < 0.3
    assert result.model_state.activation is jax.nn.gelu
    assert jax.vmap(result.model_state)(X).shape == (32, 2)


def test_dropout_of_equinox_keeps_its_rate() -> None:
    class Model(eqx.Module):
        dense: eqx.nn.Linear
        dropout: eqx.nn.Dropout

        def __call__(self, x: Any, key: Any) -> Any:
            return self.dropout(self.dense(x), key=key, inference=key is None)

    def make(key: Any) -> Any:
        return Model(eqx.nn.Linear(4, 2, key=key), eqx.nn.Dropout(0.25))

    def apply(module: Any, x: Any, *, key: Any = None) -> Any:
        return jax.vmap(lambda each: module(each, key))(x)

    loss = optax.softmax_cross_entropy_with_integer_labels
    result = loop.trainer((make, apply), loss, optax.sgd(0.1)).validate(DATA).run(DATA)
    assert result.model_state.dropout.p == 0.25
    assert np.isfinite(result.metrics["validation_loss"])


def test_named_optimizers_by_path_and_a_graph() -> None:
    rules = {"dense_0/kernel": None, "**/bias": "sgd", "**": optim.adam(0.01)}
    fitting = loop.trainer(classifier(), "categorical_cross_entropy", rules)
    assert "dense_0/kernel: frozen; **/bias: sgd(learning_rate=0.01); **: adam(learning_rate=0.01" in str(
        fitting
    )
    key = jax.random.key(3)
    result = fitting.metric("accuracy").run(DATA, epochs=5, key=key)
    first = nn.build(classifier()).init(jax.random.fold_in(key, 0), X[:1])
    np.testing.assert_array_equal(
        result.model_state.params["dense_0"]["kernel"], first.params["dense_0"]["kernel"]
    )
    assert set(optim.hyperparams(result.opt_state)) == {"**/bias", "**"}
    tuned = optim.with_hyperparams(result.opt_state, **{"**": {"learning_rate": 0.5}})
    assert float(optim.hyperparams(tuned)["**"]["learning_rate"]) == 0.5


def test_losses_by_name_over_the_outputs_of_a_graph() -> None:
    x = nn.input("x", (None, 4)) | nn.dense(8, activation="relu")
    outputs = {"class": x | nn.dense(2, activation="softmax"), "size": x | nn.dense(1, name="size")}
    targets = {"class": LABELS, "size": X[:, 1:2]}
    losses = {"class": "categorical_cross_entropy", "size": ("mean_squared_error", 0.5)}
    fitting = loop.trainer(
        nn.container(outputs), losses, "adam", loss_options={"class": {"label_smoothing": 0.1}}
    )
    result = fitting.run(loop.arrays(X, targets, batch_size=10), epochs=3)
    parts = result.metrics["loss_class"] + 0.5 * result.metrics["loss_size"]
    assert result.metrics["loss"] == pytest.approx(parts, rel=1e-5)
    logits = {**outputs, "class": x | nn.dense(2, name="logits")}
    with pytest.raises(ValueError, match='loss "categorical_cross_entropy" needs probabilities'):
        loop.trainer(nn.container(logits), losses, "adam").run(loop.arrays(X * 9, targets, batch_size=10))


def test_the_loops_accumulation_is_that_of_the_optimizer() -> None:
    mine = loop.trainer(classifier(), "categorical_cross_entropy", optim.adam(0.01)).accumulate(3)
    theirs = loop.trainer(classifier(), "categorical_cross_entropy", optim.accumulate(optim.adam(0.01), 3))
    one, other = (each.run(DATA, epochs=2).model_state.params for each in (mine, theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, other)


def test_all_transforms_together_on_a_graph_in_half_precision() -> None:
    fitting = (
        loop.trainer(classifier(), "categorical_cross_entropy", optim.adam(0.01))
        .precision(Policy(compute="float16"))
        .loss_scale("dynamic")
        .skip_nonfinite()
        .accumulate(2)
        .clip(norm=1.0)
        .ema(0.5)
        .validate(DATA)
    )
    result = fitting.run(DATA, epochs=40)
    assert result.metrics["validation_loss"] < 0.5
    assert result.model_state.params["dense_0"]["kernel"].dtype == jnp.float32


def test_a_trainer_of_a_graph_names_its_parameters() -> None:
    lines = str(loop.trainer(classifier(), "categorical_cross_entropy", "adam")).splitlines()
    assert lines[1].startswith("  model      <softmax node, test_steps.py:")
    assert lines[1].endswith(", 58 parameters in dense_0, dense_1")
    assert lines[3].startswith("  optimizer  adam(learning_rate=0.001, b1=0.9")
    open_shape = nn.input("x") | nn.dense(2)
    assert str(loop.evaluator(open_shape)).splitlines()[1].startswith("  model      <dense node")
