"""What is wrong is said before or at the first batch, with who, what is required and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor import plugins
from axonax.tensor.contracts import Metric, Model, ModelState

X = np.ones((4, 3), np.float32)
Y = np.array([0, 1, 1, 0])
SGD = optax.sgd(0.1)


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jnp.ones((3, 2))}


def apply(params: Any, x: Any) -> jax.Array:
    return x @ params["w"]


MODEL = (init, apply)


def named_loss(y_true: Any, y_pred: Any, *, reduction: str = "mean") -> Any:
    """A loss as Axonax's own are: it minds types under jit, and ranges where it sees numbers."""
    assert reduction == "none"
    if not jnp.issubdtype(y_true.dtype, jnp.integer):
        raise ValueError(f"named_loss: class indices must be integers, got {y_true.dtype}")
    if not isinstance(y_true, jax.core.Tracer) and int(y_true.max()) >= y_pred.shape[-1]:
        raise ValueError(f"named_loss: labels must be below {y_pred.shape[-1]}, got {int(y_true.max())}")
    return optax.softmax_cross_entropy_with_integer_labels(y_pred, jnp.asarray(y_true))


def accuracy(*, threshold: float = 0.5) -> Metric:
    def update(state: Any, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> Any:
        named_loss(y_true, y_pred, reduction="none")
        return state + threshold

    return Metric(
        init=lambda y_true, y_pred: jnp.zeros(()),
        update=update,
        merge=None,
        compute=lambda state: state,
    )


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        ("loss", "named_loss"): named_loss,
        ("metric", "accuracy"): accuracy,
        ("optimizer", "sgd"): lambda: SGD,
    }

    def resolve(kind: str, name: str) -> Any:
        if (kind, name) not in known:
            raise ValueError(f'unknown {kind} "{name}": did you mean ...?')
        return known[kind, name]

    monkeypatch.setattr(plugins, "resolve", resolve)


def trainer(loss: Any = "named_loss", model: Any = MODEL) -> loop.Loop:
    return loop.trainer(model, loss, "sgd")


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def bare_apply(state: Any, x: Any) -> Any:
    return x @ state.params["w"]


STATEFUL = Model(lambda key, x: ModelState(params={"w": jnp.ones((3, 2))}), bare_apply)

CONSTRUCTION: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: trainer("named_los"), ValueError, 'unknown loss "named_los"'),
    (
        lambda: trainer(3),
        TypeError,
        r"trainer: the loss must be a name or a function \(y_true, y_pred\), got int",
    ),
    (lambda: loop.trainer(MODEL, squared, "sdg"), ValueError, 'unknown optimizer "sdg"'),
    (
        lambda: loop.trainer(MODEL, squared, 0.1),
        TypeError,
        r"optimizer must be a name or an Optax pair.*got float",
    ),
    (
        lambda: loop.trainer(MODEL, squared, optax.adam),
        TypeError,
        r"got function; call it first: adam\(\.\.\.\)",
    ),
    (lambda: trainer(model=[1]), TypeError, r"trainer: the model must have \.build\(\), .*got list"),
    (lambda: trainer(model=init), TypeError, "trainer: the model must have .*got function"),
    (lambda: loop.evaluator(None), TypeError, "evaluator: the model must have .*got NoneType"),
    (lambda: loop.trainer(MODEL), TypeError, "trainer: pass model, loss and optimizer, or objective="),
    (lambda: loop.trainer(MODEL, objective=squared, init=init, optimizer=SGD), TypeError, "without a model"),
    (lambda: loop.trainer(objective=squared, optimizer=SGD), TypeError, "an objective goes with init="),
    (
        lambda: loop.trainer(objective=3, init=init, optimizer=SGD),
        TypeError,
        "objective must be a function, got int",
    ),
    (lambda: loop.loop(3, init=init), TypeError, "loop: step must be a function, got int"),
    (lambda: loop.loop(squared, init=0.0), TypeError, "loop: init must be a function, got float"),
    (lambda: loop.loop(squared, init=init, output=1), TypeError, "loop: output must be a function, got int"),
    (lambda: trainer().metric("acuracy"), ValueError, 'unknown metric "acuracy"'),
    (
        lambda: trainer().metric("accuracy", treshold=1),
        ValueError,
        'no option "treshold": did you mean "threshold"',
    ),
    (
        lambda: trainer().metric(squared, threshold=1),
        ValueError,
        r"metric: options \(threshold\) go with a metric given by name",
    ),
    (lambda: trainer().metric(3), TypeError, "metric: must be a name, a Metric or a function .*got int"),
    (lambda: trainer().metric(lambda t, p: t), ValueError, "without a name of its own needs name="),
    (lambda: trainer().metric(accuracy()), ValueError, "needs name="),
    (
        lambda: trainer().metric("accuracy").metric(squared, "accuracy"),
        ValueError,
        'the name "accuracy" is taken',
    ),
    (lambda: trainer().metric(squared, "loss"), ValueError, 'the name "loss" is taken'),
    (lambda: trainer().validate([], event="epoch"), ValueError, 'unknown event "epoch"'),
    (lambda: trainer().validate([]).validate([]), ValueError, 'validate: the prefix "validation" is taken'),
    (
        lambda: loop.evaluator(MODEL).validate([]),
        ValueError,
        "validate: needs a trainer, this is a evaluator",
    ),
    (lambda: trainer().log("loss"), TypeError, "log: message must be a function, got str"),
    (lambda: trainer().log(to=3), TypeError, "log: to must be a function, got int"),
    (lambda: loop.arrays(X, Y[:3], batch_size=2), ValueError, "same number of rows, got x 4, y 3"),
    (lambda: loop.arrays({"a": X, "b": 1.0}, batch_size=2), ValueError, "got x/a 4, x/b a scalar"),
    (lambda: loop.arrays({}, batch_size=2), ValueError, "got no arrays"),
    (lambda: loop.arrays(X, batch_size=0), ValueError, "batch_size must be at least 1, got 0"),
    (lambda: loop.arrays(X, batch_size=2.0), TypeError, "batch_size must be an integer, got 2.0"),
    (lambda: loop.arrays(X, batch_size=8, drop_last=True), ValueError, "4 rows give no batch of 8"),
    (lambda: loop.arrays(X, weights=Y, batch_size=2), ValueError, "weights need targets y"),
]


@pytest.mark.parametrize(("make", "error", "match"), CONSTRUCTION)
def test_when_the_loop_is_made(make: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make()


FIRST_BATCH: list[tuple[Any, type[Exception], str]] = [
    ([], ValueError, "data: the source is empty, it gave no batch in the first epoch"),
    (
        3,
        TypeError,
        r"data must be an iterable of batches, loop.arrays\(...\) or a function of the epoch, got int",
    ),
    ([X], TypeError, r"batch 0: a batch must be \(inputs, targets\).*got ndarray"),
    ([(X,)], ValueError, "batch 0: a batch must be .*got 1 parts"),
    ([{"inputs": X}], ValueError, 'batch 0: a batch must have the keys "inputs" and "targets"'),
    (
        [{"inputs": X, "target": Y}],
        ValueError,
        'batch 0: unknown key of a batch "target": did you mean "targets"',
    ),
    ([(X, np.array(["a"] * 4))], TypeError, "batch 0: targets must be an array of numbers, got ndarray"),
    (
        [({"a": X, "b": "text"}, Y)],
        TypeError,
        "batch 0: inputs/b must be an array of numbers, got str 'text'",
    ),
    ([(X, 1.0)], ValueError, r"batch 0: targets must have 1 rows on the leading axis, got shape \(\)"),
    (
        [(X, Y, np.ones(3))],
        ValueError,
        r"batch 0: weights must have 4 rows on the leading axis, got shape \(3,\)",
    ),
    ([(X, Y[:3])], ValueError, r"batch 0: targets of shape \(3,\) do not fit predictions of shape \(4, 2\)"),
    ([(X, Y + 1)], ValueError, "batch 0: named_loss: labels must be below 2, got 2"),
    (
        [(X, Y.astype(np.float32))],
        ValueError,
        "batch 0: named_loss: class indices must be integers, got float32",
    ),
    ([(X[:, :2], Y)], TypeError, "batch 0: dot_general requires"),
]


@pytest.mark.parametrize("kind", ["trainer", "evaluator"])
@pytest.mark.parametrize(("data", "error", "match"), FIRST_BATCH)
def test_at_the_first_batch(kind: str, data: Any, error: type[Exception], match: str) -> None:
    base = trainer() if kind == "trainer" else loop.evaluator(MODEL, "named_loss")
    with pytest.raises(error, match=match):
        base.run(data, init(None, None))


def test_an_apply_that_returns_no_pair() -> None:
    match = r"batch 0: apply must return \(prediction, buffers\) for a model whose state is a ModelState, got"
    with pytest.raises(TypeError, match=match):
        trainer(model=STATEFUL).run([(X, Y)])


def test_targets_that_broadcast_against_predictions() -> None:
    match = r'loss "squared" must give one value an example \(4 rows\) or a scalar, got shape \(4, 4\)'
    one = (lambda key, x: {"w": jnp.ones((3, 1))}, apply)
    with jax.numpy_rank_promotion("allow"), pytest.raises(ValueError, match=match):
        loop.trainer(one, squared, SGD).run([(X, np.ones(4, np.float32))])


def test_weights_with_a_scalar_loss() -> None:
    match = 'batch 0: loss "<lambda>" gave one number for the whole batch, so the weights'
    with pytest.raises(ValueError, match=match):
        trainer(lambda y_true, y_pred: y_pred.mean()).run([(X, Y, np.ones(4, np.float32))])


def test_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"weights of shape \(4, 2\) do not fit the values of loss"):
        trainer().run([(X, Y, np.ones((4, 2), np.float32))])


CHANGED: list[tuple[Any, str]] = [
    ((X, Y.astype(np.float32)), r"batch 1 of epoch 1: targets was int32\[4\] and is now float32\[4\]"),
    ((X[:, :2], Y), r"batch 1 of epoch 1: inputs was float32\[4, 3\] and is now float32\[4, 2\]"),
    (
        (np.ones((5, 3), np.float32), np.zeros(5, int)),
        r"inputs was float32\[4, 3\] and is now float32\[5, 3\]",
    ),
    ((X[:2], Y[:3]), "the leaves now differ in their number of rows: inputs 2, targets 3"),
    ((X, Y, np.ones(4, np.float32)), "the batch changed its structure: with new weights"),
    (({"a": X}, Y), "the batch changed its structure: without inputs and with new inputs/a"),
    (([X, X], Y), "the batch changed its structure"),
]


@pytest.mark.parametrize(("second", "match"), CHANGED)
def test_a_batch_unlike_the_first(second: Any, match: str) -> None:
    seen: list[int] = []
    base = trainer().on("exception", lambda state: seen.append(int(state.step_state.iteration)))
    for _ in range(2):
        with pytest.raises(ValueError, match=match):
            base.run([(X, Y), second])
    assert seen == [1, 1]


def test_fewer_rows_at_the_end_are_fine() -> None:
    assert trainer().run([(X, Y), (X[:3], Y[:3])], epochs=2).iteration == 4


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"epochs": 0}, ValueError, "run: epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "run: epochs must be an integer, got 1.5"),
        ({"steps_per_epoch": 0}, ValueError, "run: steps_per_epoch must be at least 1, got 0"),
        ({"key": 0}, TypeError, r"run: key must be a key such as jax.random.key\(0\), got 0"),
    ],
)
def test_bad_options_of_run(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        trainer().run([(X, Y)], **options)


def test_an_evaluator_without_a_model_state() -> None:
    with pytest.raises(ValueError, match=r"evaluator: run\(data, model_state\) needs the state of the model"):
        loop.evaluator(MODEL).run([(X, Y)])


def test_a_generator_for_several_epochs() -> None:
    with pytest.raises(
        ValueError, match="data: a generator can be read only once, but epochs=2: pass a list"
    ):
        trainer().run(((X, Y) for _ in range(3)), epochs=2)


def test_a_step_that_changes_the_shape_of_its_state() -> None:
    grows = loop.loop(lambda state, batch: jnp.concatenate([state, batch]), init=lambda batch: batch)
    with pytest.raises(
        ValueError, match=r"batch 0: the step must return a state .*float32\[2\] in the first, float32\[4\]"
    ):
        grows.run([np.ones(2, np.float32)])


def test_an_unknown_output_for_a_metric() -> None:
    with pytest.raises(
        ValueError, match='batch 0: unknown output of the step .* "y_predd": did you mean "y_pred"'
    ):
        trainer().metric("accuracy", fields=("y_true", "y_predd")).run([(X, Y)])


def test_labels_out_of_range_for_a_metric() -> None:
    with pytest.raises(ValueError, match="batch 0: named_loss: labels must be below 2, got 2"):
        loop.evaluator(MODEL).metric("accuracy").run([(X, Y + 1)], init(None, None))


def test_an_init_that_takes_nothing() -> None:
    with pytest.raises(TypeError, match=r"batch 0: init must take \(key\) or \(key and 1 inputs\)"):
        trainer(model=(lambda: {}, apply)).run([(X, Y)])


def test_an_objective_whose_outputs_are_no_dict() -> None:
    bad = loop.trainer(
        objective=lambda params, batch: (batch.mean(), 3), init=lambda key: jnp.ones(()), optimizer=SGD
    )
    with pytest.raises(
        TypeError, match=r"objective must return a loss or \(loss, dict of outputs\), got int"
    ):
        bad.run([X])


def test_a_handler_cannot_replace_the_model_state_of_a_plain_loop() -> None:
    counter = loop.loop(lambda count, batch: count + 1, init=lambda: 0)
    with pytest.raises(TypeError, match="only the state of a trainer has model_state to replace"):
        counter.on("started", lambda state: state.replace(model_state=1)).run([X])
