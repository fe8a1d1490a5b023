"""A named loss takes the logits of a model that offers them, and has the predictions of others looked at."""

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
from axonax.tensor.contracts import Closing, Model, ModelState, Unclosed, expects

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
Y = np.array([0, 1, 1, 0])
SGD = optax.sgd(1.0)


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jnp.asarray(np.random.default_rng(1).normal(size=(x.shape[-1], 2)), jnp.float32)}


def scores(params: Any, x: Any) -> jax.Array:
    return x @ params["w"]


def shares(params: Any, x: Any) -> jax.Array:
    return jax.nn.softmax(scores(params, x))


class Classifier(Model):
    """Offers its logits by hand."""

    unclosed = Unclosed(scores, jax.nn.softmax, Closing("softmax"))


class Yes(Model):
    """The same with a sigmoid."""

    unclosed = Unclosed(scores, jax.nn.sigmoid, Closing("sigmoid"))


OPEN, CLOSED = Classifier(init, shares), Model(init, shares)
YES = Yes(init, lambda params, x: jax.nn.sigmoid(scores(params, x)))


@expects(Closing("softmax"))
def cross_entropy(
    y_true: Any, y_pred: Any, *, from_logits: bool = False, scale: float = 1.0, reduction: str = "mean"
) -> Any:
    assert reduction == "none"
    log_p = jax.nn.log_softmax(y_pred) if from_logits else jnp.log(y_pred)
    return -scale * jnp.take_along_axis(log_p, jnp.asarray(y_true)[:, None], -1)[:, 0]


@expects(Closing("sigmoid"))
def overlap(y_true: Any, y_pred: Any, *, reduction: str = "mean") -> Any:
    return jnp.abs(jnp.asarray(y_true)[:, None] - y_pred).mean(-1)


def undeclared(y_true: Any, y_pred: Any, *, from_logits: bool = False, reduction: str = "mean") -> Any:
    assert not from_logits
    return y_pred.sum(-1)


@expects(Closing("log_softmax"))
def likelihood(y_true: Any, y_pred: Any, *, reduction: str = "mean", ignore_index: int = -1) -> Any:
    return -jnp.take_along_axis(y_pred, jnp.asarray(y_true)[:, None], -1)[:, 0]


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {each.__name__: each for each in (cross_entropy, overlap, undeclared, likelihood)}
    monkeypatch.setattr(plugins, "resolve", lambda kind, name: known[name])


def test_the_loss_is_taken_of_logits_and_all_else_sees_predictions() -> None:
    seen = loop.trainer(OPEN, "cross_entropy", SGD).metric(lambda t, p: p.sum(-1), "sum").validate([(X, Y)])
    result = seen.run([(X, Y)])
    wide = X.astype(np.float64) @ np.asarray(init(None, X)["w"], np.float64)
    expected = np.log(np.exp(wide).sum(-1)) - wide[np.arange(4), Y]
    assert result.metrics["loss"] == pytest.approx(expected.mean(), rel=1e-6)
    assert result.metrics["sum"] == result.metrics["validation_sum"] == pytest.approx(1.0)
    outputs = loop.eval_step(OPEN, "cross_entropy")(result.model_state, (X, Y))
    np.testing.assert_array_equal(outputs["y_pred"], shares(result.model_state, X))
    assert outputs["loss"] == pytest.approx(result.metrics["validation_loss"], rel=1e-6)


def saturated(model: Any, **options: Any) -> tuple[float, jax.Array]:
    params = {"w": jnp.array([[200.0, 0.0]])}
    init_step, step = loop.train_step(model, "cross_entropy", SGD, **options)
    batch = (np.ones((1, 1), np.float32), np.array([1]))
    state, outputs = step(init_step(jax.random.key(0), batch, params), batch)
    return float(outputs["loss"]), state.model_state["w"]


def test_a_saturated_model_trains_through_its_logits_alone() -> None:
    loss, after = saturated(OPEN)
    assert loss == pytest.approx(200.0)
    np.testing.assert_allclose(after, [[199.0, 1.0]])
    for refused in (saturated(CLOSED), saturated(OPEN, loss_options={"from_logits": False})):
        assert refused[0] == np.inf
    np.testing.assert_allclose(saturated((init, scores), loss_options={"from_logits": True})[1], after)


def test_the_body_runs_once() -> None:
    calls: list[None] = []

    def counted(params: Any, x: Any) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return scores(params, x)

    class Counted(Model):
        unclosed = Unclosed(counted, jax.nn.softmax, Closing("softmax"))

    model = Counted(init, lambda params, x: jax.nn.softmax(counted(params, x)))
    loop.trainer(model, "cross_entropy", SGD).metric(lambda t, p: p.sum(-1), "sum").run([(X, Y)] * 3)
    jax.effects_barrier()
    assert len(calls) == 3


def test_a_loss_gets_no_logits_of_another_activation_nor_without_saying_what_it_expects() -> None:
    step = loop.eval_step(YES, "cross_entropy")
    wide = 1 / (1 + np.exp(-scores(init(None, X), X)))
    assert step(init(None, X), (X, Y))["loss"] == pytest.approx(
        -np.log(wide[np.arange(4), Y]).mean(), rel=1e-5
    )
    assert loop.eval_step(OPEN, "undeclared")(init(None, X), (X, Y))["loss"] == pytest.approx(1.0)


def test_a_function_gets_the_predictions_as_they_are() -> None:
    result = loop.trainer(OPEN, lambda y_true, y_pred: y_pred.sum(-1), SGD).run([(X, Y)])
    assert result.metrics["loss"] == pytest.approx(1.0)


def test_a_function_that_declares_itself_is_treated_as_by_its_name() -> None:
    by_value = loop.train_step(OPEN, cross_entropy, SGD, loss_options={"from_logits": False})
    assert by_value.step(by_value.init(jax.random.key(0), (X, Y)), (X, Y))[1]["loss"] > 0
    one, other = (loop.trainer(OPEN, each, SGD).run([(X, Y)]) for each in (cross_entropy, "cross_entropy"))
    assert one.metrics == other.metrics
    np.testing.assert_array_equal(one.model_state["w"], other.model_state["w"])
    with pytest.raises(ValueError, match='loss "overlap" needs'):
        loop.trainer((init, scores), overlap, SGD).run([(X * 9, Y)])


def test_options_reach_a_loss_by_name_and_are_shown() -> None:
    trainer = loop.trainer(OPEN, "cross_entropy", SGD, loss_options={"scale": 3.0})
    plain = loop.trainer(OPEN, "cross_entropy", SGD)
    assert trainer.run([(X, Y)]).metrics["loss"] == pytest.approx(3 * plain.run([(X, Y)]).metrics["loss"])
    assert "loss       cross_entropy(scale=3.0)\n" in str(trainer)
    evaluator = loop.evaluator(OPEN, "cross_entropy", loss_options={"scale": 0.0})
    assert evaluator.run([(X, Y)], init(None, X)).metrics["loss"] == 0.0


MAKERS: dict[str, Callable[..., Any]] = {
    "trainer": lambda model, loss, **options: loop.trainer(model, loss, SGD, **options),
    "evaluator": loop.evaluator,
    "train_step": lambda model, loss, **options: loop.train_step(model, loss, SGD, **options),
    "eval_step": loop.eval_step,
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("model", "loss", "options", "error", "message"),
    [
        (
            OPEN,
            "cross_entropy",
            {"scael": 2.0},
            ValueError,
            'loss "cross_entropy" has no option "scael": did you',
        ),
        (OPEN, "cross_entropy", {"y_pred": 2.0}, ValueError, 'has no option "y_pred"'),
        (
            OPEN,
            "cross_entropy",
            {"weights": 2.0},
            ValueError,
            "the loop gives weights itself: .* in the batch",
        ),
        (
            OPEN,
            "cross_entropy",
            {"from_logits": True},
            ValueError,
            "but it ends in softmax: leave the option out",
        ),
        (YES, "cross_entropy", {"from_logits": True}, ValueError, "but it ends in sigmoid"),
        (
            OPEN,
            undeclared,
            {"scale": 2.0},
            ValueError,
            r"loss_options \(scale\) go with a loss given by name",
        ),
        (
            OPEN,
            "cross_entropy",
            ["scale"],
            TypeError,
            "loss_options must be a dict of options by name, got list",
        ),
    ],
    ids=["misspelt", "argument", "ours", "softmax", "sigmoid", "function", "list"],
)
def test_options_that_do_not_fit(
    maker: str, model: Any, loss: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MAKERS[maker](model, loss, loss_options=options)


def test_options_without_a_loss() -> None:
    with pytest.raises(TypeError, match="evaluator: the loss must be a name"):
        loop.evaluator(OPEN, loss_options={"scale": 2.0})
    with pytest.raises(TypeError, match="without a model and a loss"):
        loop.trainer(objective=scores, init=init, optimizer=SGD, loss_options={"scale": 2.0})


def test_an_offer_of_another_kind_is_refused() -> None:
    class Odd(Model):
        unclosed = "softmax"

    with pytest.raises(TypeError, match="trainer: unclosed of the model must be an Unclosed, got str"):
        loop.trainer(Odd(init, shares), "cross_entropy", SGD)


def constant(prediction: Any) -> Model:
    """A model of a given prediction."""
    return Model(lambda key, x: {"w": jnp.zeros(())}, lambda params, x: jnp.asarray(prediction) + params["w"])


LOGITS = [[-2.3, 4.1], [0.5, 0.5]]
HALVES = [[0.5, 0.2], [0.5, 0.5]]
BAD = {
    "logits": (
        "cross_entropy",
        LOGITS,
        r"probabilities, but .* lie in \[-2.3, 4.1\]: end the model in softmax",
    ),
    "sums": ("cross_entropy", HALVES, r"that sum to 1 over axis -1, but .* sum to \[0.7, 1\]: .* in softmax"),
    "infinite": ("cross_entropy", [[-np.inf, 0.0], [0.5, 0.5]], r"lie in \[-inf, 0.5\]"),
    "overlap": (
        "overlap",
        LOGITS,
        r"probabilities, .* \[-2.3, 4.1\]: end the model in sigmoid$",
    ),
    "logarithms": (
        "likelihood",
        HALVES,
        r"logarithms of .* sum to \[2.87, 3.3\] over axis -1: .* in log_softmax$",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_first_predictions_that_are_no_probabilities_are_an_error(case: str) -> None:
    loss, prediction, message = BAD[case]
    model, batch = constant(np.array(prediction, np.float32)), (X[:2], Y[:2])
    with pytest.raises(ValueError, match=f'batch 0: loss "{loss}" needs .*{message}'):
        loop.trainer(model, loss, SGD).run([batch])
    with pytest.raises(ValueError, match=message):
        loop.evaluator(model, loss).run([batch], {"w": jnp.zeros(())})


def test_the_error_says_how_to_mend_it() -> None:
    with pytest.raises(
        ValueError, match=r'softmax, or pass loss_options=\{"from_logits": True\} if they are'
    ):
        loop.trainer((init, scores), "cross_entropy", SGD).run([(X, Y)])
    with pytest.raises(ValueError, match="end the model in softmax, it ends in sigmoid$"):
        loop.trainer(YES, "cross_entropy", SGD).run([(X, Y)])
    logits = loop.trainer((init, scores), "cross_entropy", SGD, loss_options={"from_logits": True})
    assert logits.run([(X, Y)]).metrics["loss"] > 0


NAN = [[np.nan, np.nan], [np.nan, 0.5]]
LOG = np.log(np.array([[0.25, 0.75], [1e-30, 1.0]])).tolist()
GOOD = {
    "probabilities": ("cross_entropy", [[0.25, 0.75], [1.0, 0.0]], jnp.float32),
    "half": ("cross_entropy", [[0.35, 0.66], [1.0, 0.0]], jnp.float16),
    "bfloat16": ("cross_entropy", [[0.35, 0.68], [1.0, 0.0]], jnp.bfloat16),
    "nan": ("cross_entropy", NAN, jnp.float32),
    "no sum asked": ("overlap", [[1.0, 0.75], [0.0, 0.0]], jnp.float32),
    "logarithms": ("likelihood", LOG, jnp.float32),
    "integers": ("overlap", [[3, 4], [5, 6]], jnp.int32),
}


@pytest.mark.parametrize("case", GOOD)
def test_first_predictions_that_pass(case: str) -> None:
    loss, prediction, dtype = GOOD[case]

    def apply(params: Any, x: Any) -> jax.Array:
        return jnp.asarray(np.array(prediction), dtype)

    model = Model(lambda key, x: {"w": jnp.zeros(())}, apply)
    loop.evaluator(model, loss).run([(X[:2], Y[:2])], {"w": jnp.zeros(())})


def test_rows_that_do_not_count_are_not_looked_at() -> None:
    model = constant(np.array([[0.5, 0.5], [-7.0, 9.0]], np.float32))
    loop.trainer(model, "cross_entropy", SGD).run([(X[:2], Y[:2], np.array([1.0, 0.0], np.float32))])
    log = constant(np.array([[-0.693, -0.693], [7.0, 7.0]], np.float32))
    loop.trainer(log, "likelihood", SGD, loss_options={"ignore_index": 1}).run([(X[:2], Y[:2])])
    with pytest.raises(ValueError, match="lie in"):
        loop.trainer(model, "cross_entropy", SGD).run([(X[:2], Y[:2], np.array([0.0, 1.0], np.float32))])
    with pytest.raises(ValueError, match="exponentials"):
        loop.trainer(log, "likelihood", SGD).run([(X[:2], Y[:2])])


def test_what_does_not_fit_the_loss_is_said_by_the_loss() -> None:
    with pytest.raises(ValueError, match=r"weights of shape \(4, 2\) do not fit the values"):
        loop.trainer((init, scores), "cross_entropy", SGD).run([(X, Y, np.ones((4, 2), np.float32))])


class Counter:
    """A model with a buffer and a draw, which notes each run of its body."""

    def __init__(self) -> None:
        self.runs: list[bool] = []

    def build(self) -> Model:
        def start(key: Any, x: Any) -> ModelState:
            return ModelState(params=init(key, x), buffers={"steps": jnp.zeros((), jnp.int32)})

        def apply(state: ModelState, x: Any, train: bool = False, key: Any = None) -> tuple[jax.Array, Any]:
            jax.debug.callback(lambda: self.runs.append(train))
            noise = jax.random.normal(key, x.shape) if train else 0.0
            return shares(state.params, x + noise), {"steps": state.buffers["steps"] + 1}

        return Model(start, apply)


@pytest.mark.parametrize("compile", [True, False])
def test_the_look_is_one_forward_pass_at_the_start_that_changes_nothing(compile: bool) -> None:
    def function(y_true: Any, y_pred: Any) -> Any:
        return cross_entropy(y_true, y_pred, reduction="none")

    states, runs = [], []
    for loss in ("cross_entropy", function):
        model = Counter()
        trainer = loop.trainer(model, loss, SGD, compile=compile).validate([(X, Y)])
        states.append(trainer.run([(X, Y)] * 2, epochs=3).model_state)
        jax.effects_barrier()
        runs.append(model.runs)
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert states[0].buffers["steps"] == 6
    assert [[each.count(True), each.count(False)] for each in runs] == [[7, 3], [6, 3]]


def test_a_model_that_vouches_for_its_predictions_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("looked")

    monkeypatch.setattr("axonax.loop.steps._check.extremes", refuse)
    for options in ({}, {"loss_options": {"from_logits": False}}):
        loop.trainer(OPEN, "cross_entropy", SGD, **options).run([(X, Y)])
    loop.trainer((init, scores), "cross_entropy", SGD, loss_options={"from_logits": True}).run([(X, Y)])
    loop.trainer((init, scores), "undeclared", SGD).run([(X, Y)])
