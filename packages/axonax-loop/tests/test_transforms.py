"""The transforms of a training step, each against the run that it must equal or a plain recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy

RNG = np.random.default_rng(0)
TOKENS = 5
X = RNG.normal(size=(18, TOKENS, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5], np.float32) + 0.3).astype(np.float32)
LENGTHS = RNG.integers(0, TOKENS + 1, size=18)
WEIGHTS = (np.arange(TOKENS) < LENGTHS[:, None]).astype(np.float32)
POISON = np.where(np.arange(TOKENS) == 0, np.nan, 1.0).astype(np.float32)


def init(key: Any) -> dict[str, Any]:
    return {"w": jnp.full(3, 0.1), "b": jnp.zeros(())}


def apply(params: Any, x: Any) -> Any:
    return x @ params["w"] + params["b"]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer(optimizer: Any = None) -> loop.Loop:
    return loop.trainer((init, apply), squared, optimizer or optax.adam(0.05))


def batches(size: int, chosen: Any = slice(None)) -> list[Any]:
    """The data by ``size`` rows; the last batch is smaller."""
    parts = (X[chosen], Y[chosen], WEIGHTS[chosen])
    starts = range(0, len(parts[0]), size)
    return [tuple(part[start : start + size] for part in parts) for start in starts]


def close(one: Any, other: Any, tolerance: float = 1e-6) -> None:
    for mine, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


class TestAccumulate:
    @pytest.mark.parametrize(
        "also",
        [
            pytest.param(lambda each: each, id="alone"),
            pytest.param(lambda each: each.clip(norm=0.5), id="clip"),
            pytest.param(lambda each: each.clip(value=0.2).ema(0.8), id="clip by value, ema"),
            pytest.param(lambda each: each.loss_scale("static").clip(norm=0.5), id="scale, clip"),
            pytest.param(lambda each: each.loss_scale("dynamic").skip_nonfinite(), id="dynamic, skip"),
        ],
    )
    def test_equals_the_big_batch(self, also: Callable[[loop.Loop], loop.Loop]) -> None:
        # Three batches of two rows and their many tokens, five rows at the end: a tail of one batch.
        few = also(trainer().accumulate(3)).run(batches(2, slice(0, 16)), epochs=3)
        # In one step: 6 rows, 6 rows, and the 4 that are left at the end of the epoch.
        big = also(trainer()).run(batches(6, slice(0, 16)), epochs=3)
        close(few.model_state, big.model_state)
        assert (few.iteration, big.iteration) == (24, 9)

    def test_counts_the_steps_of_the_optimizer_alone(self) -> None:
        result = trainer(optax.sgd(lambda count: 0.1 / (1 + count))).accumulate(3).run(batches(2), epochs=2)
        counts = [leaf for leaf in jax.tree.leaves(result.opt_state) if jnp.ndim(leaf) == 0]
        assert [int(each) for each in counts] == [6]

    def test_a_batch_without_weight_adds_nothing(self) -> None:
        empty = (np.full_like(X[:2], np.nan), Y[:2], np.zeros_like(WEIGHTS[:2]))
        with_empty = trainer().accumulate(3).run([batches(2)[0], empty, batches(2)[1]])
        close(with_empty.model_state, trainer().accumulate(2).run(batches(2)[:2]).model_state)
        more = trainer().accumulate(2).run([*batches(2)[:2], empty, empty])
        close(more.model_state, with_empty.model_state)

    def test_one_batch_a_step_is_no_transform(self) -> None:
        result = trainer().accumulate(1).run(batches(6))
        assert result.step_state.extras == ()
        close(result.model_state, trainer().run(batches(6)).model_state, 0)


class TestSkipNonfinite:
    bad = (X[:2] * POISON[None, :, None], Y[:2], np.ones_like(WEIGHTS[:2]))

    def test_a_step_changes_nothing_but_the_count(self) -> None:
        good = batches(6)
        data = [good[0], (X[:6] * np.nan, Y[:6], np.ones_like(WEIGHTS[:6])), good[1], good[2]]
        result = trainer().skip_nonfinite().ema(0.5).run(data)
        expected = trainer().skip_nonfinite().ema(0.5).run(good)
        close(result.model_state, expected.model_state, 0)
        close(result.opt_state, expected.opt_state, 0)
        close(result.step_state.extras["ema"], expected.step_state.extras["ema"], 0)
        assert jax.tree.map(int, result.step_state.extras["skipped"]) == {"count": 1, "first": 2}
        assert result.metrics["loss"] == expected.metrics["loss"]

    def test_a_micro_batch_counts_as_one_and_weighs_nothing(self) -> None:
        good = batches(2)
        fitting = trainer().accumulate(3).skip_nonfinite()
        # The second step lacks its middle batch; the tail is one that is skipped, and one that is not.
        result = fitting.run([*good[:3], good[3], self.bad, good[4], self.bad, good[5]])
        rows = [slice(0, 6), np.r_[6:8, 8:10], slice(10, 12)]
        expected = trainer().run([tuple(part[each] for part in (X, Y, WEIGHTS)) for each in rows])
        close(result.model_state, expected.model_state)
        assert jax.tree.map(int, result.step_state.extras["skipped"]) == {"count": 2, "first": 5}

    def test_a_tail_of_bad_batches_alone_is_no_step(self) -> None:
        good = batches(2)
        result = trainer().accumulate(3).skip_nonfinite().run([*good[:3], self.bad])
        close(result.model_state, trainer().accumulate(3).run(good[:3]).model_state, 0)

    def test_buffers_stay(self) -> None:
        def first(key: Any) -> ModelState:
            return ModelState(params=init(key), buffers={"mean": jnp.zeros(())})

        def counted(state: Any, x: Any) -> Any:
            return apply(state.params, x), {"mean": state.buffers["mean"] * 0.5 + x.mean()}

        fitting = loop.trainer((first, counted), squared, optax.sgd(0.1)).skip_nonfinite()
        result = fitting.run([batches(2)[0], self.bad])
        assert float(result.model_state.buffers["mean"]) == pytest.approx(float(X[:2].mean()), rel=1e-5)

    def test_without_it_the_loss_is_not_finite(self) -> None:
        result = trainer().run([self.bad])
        assert np.isnan(result.metrics["loss"])


class TestClip:
    @pytest.mark.parametrize(
        ("options", "oracle"),
        [
            ({"norm": 0.3}, optax.clip_by_global_norm(0.3)),
            ({"norm": 1e6}, optax.clip_by_global_norm(1e6)),
            ({"value": 0.05}, optax.clip(0.05)),
        ],
    )
    def test_equals_optax(self, options: dict[str, float], oracle: Any) -> None:
        mine = trainer(optax.sgd(0.1)).clip(**options).run(batches(6), epochs=2)
        theirs = trainer(optax.chain(oracle, optax.sgd(0.1))).run(batches(6), epochs=2)
        close(mine.model_state, theirs.model_state)

    def test_sees_unscaled_gradients(self) -> None:
        plain = trainer().clip(norm=0.3).run(batches(6))
        close(trainer().loss_scale(1024.0).clip(norm=0.3).run(batches(6)).model_state, plain.model_state)

    def test_the_norm_of_half_precision_is_float32s(self) -> None:
        def objective(params: Any, batch: Any) -> Any:
            return (params["w"].astype(jnp.float32) * 300.0).sum()

        fitting = loop.trainer(
            objective=objective, init=lambda key: {"w": jnp.zeros(4, jnp.float16)}, optimizer=optax.sgd(1.0)
        )
        moved = fitting.clip(norm=1.0).run([np.zeros(1)]).model_state["w"]
        # The squares, 90000, are no float16.
        np.testing.assert_allclose(moved, -0.5, rtol=1e-3)


def passed_points(fitting: loop.Loop, epochs: int = 3) -> list[dict[str, np.ndarray]]:
    """The parameters before and after each step, in float64."""
    points = [jax.tree.map(np.float64, init(None))]
    for state in fitting.iterate(batches(6), epochs=epochs):
        points.append(jax.tree.map(np.float64, state.model_state))
    return points


class TestAverages:
    @pytest.mark.parametrize("debias", [False, True])
    @pytest.mark.parametrize("decay", [0.0, 0.9])
    def test_ema_is_the_recurrence(self, decay: float, debias: bool) -> None:
        points = passed_points(trainer())
        mean = jax.tree.map(lambda leaf: leaf * (not debias), points[0])
        for point in points[1:]:
            mean = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, mean, point)
        if debias:
            share = 1 - decay ** (len(points) - 1)
            mean = jax.tree.map(lambda leaf: leaf / share, mean)
        fitting = trainer().ema(decay, debias=debias)
        result = fitting.run(batches(6), epochs=3)
        close(result.step_state.extras["ema"].evaluation_params(result.model_state), mean)
        # Validation and evaluators take the mean, training the parameters themselves.
        close(result.model_state, points[-1])
        loss = loop.evaluator((init, apply), squared).run(batches(6), result.step_state).metrics["loss"]
        expected = loop.evaluator((init, apply), squared).run(batches(6), jax.tree.map(jnp.float32, mean))
        assert loss == pytest.approx(expected.metrics["loss"], rel=1e-5)
        validated = fitting.validate(batches(6)).run(batches(6), epochs=3)
        assert validated.metrics["validation_loss"] == pytest.approx(loss, rel=1e-6)

    def test_swa_is_the_mean_of_its_points(self) -> None:
        points = passed_points(trainer())
        chosen = points[5::2]
        mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *chosen)
        result = trainer().swa(start=3, every=2).run(batches(6), epochs=3)
        swa = result.step_state.extras["swa"]
        assert int(swa.points) == len(chosen)
        close(swa.evaluation_params(result.model_state), mean)

    def test_before_the_first_point_it_is_the_parameters(self) -> None:
        result = trainer().swa(start=100).run(batches(6))
        close(result.step_state.extras["swa"].evaluation_params(result.model_state), result.model_state, 0)

    def test_a_mean_of_half_precision_is_float32(self) -> None:
        fitting = trainer().precision(Policy(params="bfloat16")).ema(0.9)
        result = fitting.run(batches(6))
        assert result.step_state.extras["ema"].average["w"].dtype == jnp.float32
        held = result.step_state.extras["ema"].evaluation_params(result.model_state)
        assert held["w"].dtype == jnp.bfloat16

    def test_goes_on_from_a_state_with_and_without_it(self) -> None:
        half = trainer().ema(0.9).run(batches(6))
        whole = trainer().ema(0.9).run(batches(6), epochs=2)
        went_on = trainer().ema(0.9).run(batches(6), half.step_state)
        close(went_on.step_state.extras, whole.step_state.extras, 0)
        later = trainer().swa().run(batches(6), half.step_state)
        assert list(later.step_state.extras) == ["swa"]


class TestPrecision:
    def test_parameters_computation_and_predictions(self) -> None:
        seen: dict[str, Any] = {}

        def noted(params: Any, x: Any) -> Any:
            seen.update(params=params["w"].dtype, x=x.dtype)
            return apply(params, x)

        def noted_loss(y_true: Any, y_pred: Any) -> Any:
            seen.update(prediction=y_pred.dtype)
            return squared(y_true, y_pred)

        policy = Policy(params="float32", compute="bfloat16", output="float32")
        fitting = loop.trainer((init, noted), noted_loss, optax.sgd(0.1)).precision(policy)
        result = fitting.run(batches(6))
        assert seen == {"params": jnp.bfloat16, "x": jnp.bfloat16, "prediction": jnp.float32}
        assert result.model_state["w"].dtype == jnp.float32
        assert result.metrics["loss"] == pytest.approx(trainer().run(batches(6)).metrics["loss"], rel=0.5)

    def test_a_state_that_is_given_is_cast_and_buffers_are_not(self) -> None:
        def first(key: Any) -> ModelState:
            return ModelState(params=init(key), buffers={"mean": jnp.zeros(())})

        def counted(state: Any, x: Any) -> Any:
            return apply(state.params, x), {"mean": x.mean()}

        fitting = loop.trainer((first, counted), squared, optax.sgd(0.1))
        result = fitting.precision(Policy(params="bf16", compute="bf16")).run(batches(6), first(None))
        assert result.model_state.params["w"].dtype == jnp.bfloat16
        assert result.model_state.buffers["mean"].dtype == jnp.float32

    def test_float16_trains_by_a_dynamic_scale(self) -> None:
        def small(y_true: Any, y_pred: Any) -> Any:
            return squared(y_true, y_pred) * 1e-7

        policy = Policy(compute="float16", output="float16")
        base = loop.trainer((init, apply), small, optax.sgd(1e6)).precision(policy)
        unscaled = base.run(batches(6), epochs=10).model_state
        scaled = base.loss_scale("dynamic").run(batches(6), epochs=10)
        exact = loop.trainer((init, apply), small, optax.sgd(1e6)).run(batches(6), epochs=10).model_state
        assert np.abs(scaled.model_state["w"] - exact["w"]).max() < 0.02
        assert np.abs(unscaled["w"] - exact["w"]).max() > 0.1


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda each: each.clip(), r"clip: takes norm= or value=, got norm=None and value=None"),
        (lambda each: each.clip(norm=1.0, value=1.0), r"clip: takes norm= or value=, got norm=1.0"),
        (lambda each: each.clip(norm=0), r"clip: norm must be a finite number above 0, got 0"),
        (lambda each: each.clip(value=float("nan")), r"clip: value must be a finite number above 0, got nan"),
        (lambda each: each.clip(norm=1.0).clip(value=1.0), r"clip: there is clip already"),
        (lambda each: each.accumulate(0), r"accumulate: takes a whole number of .* at least 1, got 0"),
        (lambda each: each.accumulate(2.0), r"accumulate: takes a whole number of .* at least 1, got 2.0"),
        (lambda each: each.accumulate(2).accumulate(2), r"accumulate: there is accumulate already"),
        (lambda each: each.ema(1.0), r"ema: decay must be in \[0, 1\), got 1.0"),
        (lambda each: each.ema(-0.1), r"ema: decay must be in \[0, 1\), got -0.1"),
        (lambda each: each.ema().swa(), r"swa: there is ema \(decay 0.999\) already"),
        (lambda each: each.swa(start=-1), r"swa: start must be a whole number of at least 0, got -1"),
        (lambda each: each.swa(every=0), r"swa: every must be a whole number of at least 1, got 0"),
        (lambda each: each.skip_nonfinite().skip_nonfinite(), r"skip_nonfinite: there is skip_nonfinite alr"),
        (lambda each: each.loss_scale("dinamic"), r'unknown loss scale "dinamic": did you mean "dynamic"'),
        (lambda each: each.loss_scale(0), r"static: scale must be a finite number above 0, got 0"),
        (lambda each: each.loss_scale().loss_scale(2.0), r"loss_scale: there is loss_scale already"),
        (lambda each: each.vmap(2).clip(norm=1.0), r"clip: goes before vmap, which makes a population"),
        (lambda each: each.precision(Policy()).precision(Policy()), r"precision: there is precision already"),
    ],
)
def test_refused_values(add: Callable[[loop.Loop], loop.Loop], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add(trainer())


def test_refused_types() -> None:
    with pytest.raises(TypeError, match=r"loss_scale: must be a name, a number or a LossScale, got list"):
        trainer().loss_scale([1])
    with pytest.raises(TypeError, match=r"precision: takes an axonax.tensor.precision.Policy, got str"):
        trainer().precision("bf16")  # type: ignore[arg-type]
    plain = loop.loop(lambda count, batch: count + 1, init=lambda: 0)
    with pytest.raises(TypeError, match=r"clip: transforms the step of a trainer, and this is no trainer: l"):
        plain.clip(norm=1.0)
    objective = loop.trainer(objective=lambda params, batch: params["b"], init=init, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"precision: goes with a model; an objective casts by itself"):
        objective.precision(Policy())


def test_each_member_of_a_population_has_its_own() -> None:
    fitting = trainer().accumulate(2).ema(0.9).skip_nonfinite().validate(batches(6))
    alone = fitting.run(batches(6), epochs=2)
    both = fitting.vmap(2).run(batches(6), epochs=2)
    close(jax.tree.map(lambda leaf: leaf[1], both.model_state), alone.model_state)
    average = both.step_state.members.extras["ema"].average
    close(jax.tree.map(lambda leaf: leaf[0], average), alone.step_state.extras["ema"].average)
    assert both.metrics["validation_loss"].tolist() == pytest.approx([alone.metrics["validation_loss"]] * 2)


def test_the_loop_names_them() -> None:
    fitting = trainer().accumulate(4).clip(norm=1.0).ema(0.99).loss_scale("dynamic").skip_nonfinite()
    lines = str(fitting.precision(Policy(compute="bf16"))).splitlines()[4:]
    assert [" ".join(line.split()) for line in lines] == [
        "accumulate 4 batches a step",
        "clip norm 1",
        "ema decay 0.99",
        "loss scale dynamic from 32768",
        "skip steps that are not finite",
        "precision p=f32 c=bf16 o=f32",
    ]
    assert "accumulate" not in str(trainer())
