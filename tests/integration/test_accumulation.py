"""Micro-batches of any size in the loop against one big batch a step."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop, optim

# Epochs of 7 micro-batches, accumulated by threes: steps of 13, 11 and (the tail) 3 rows.
SIZES = (5, 3, 5, 3, 3, 5, 3)
BIG = (13, 11, 3)


def cut(sizes):
    """The data in batches of these sizes, with weights, some of them 0."""
    random = np.random.default_rng(5)
    x = random.normal(size=(27, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32)
    weights = random.integers(0, 4, 27).astype(np.float32)
    return [
        (x[start:stop], y[start:stop], weights[start:stop])
        for start, stop in itertools.pairwise(itertools.accumulate(sizes, initial=0))
    ]


def optimizer():
    """Everything here would differ if it saw micro-batches, or counted them."""
    return optim.chain(
        optim.clip_by_global_norm(0.5),
        optim.adam(optim.cosine_decay(0.2, 9)),
        optim.ema(0.75),
    )


def trainer(optimizer):
    model = (
        lambda key: {"w": jnp.ones(3), "b": jnp.zeros(1)},
        lambda params, x: x @ params["w"] + params["b"],
    )
    return loop.trainer(model, lambda y_true, y_pred: (y_true - y_pred) ** 2, optimizer)


# What wraps is told of weights and ends, which the tests of the optimizers check by day for each of them.
BY_DAY = ("alone", "groups")
WRAPPERS = {
    "alone": lambda inner: inner,
    "skip_nonfinite": optim.skip_nonfinite,
    "groups": lambda inner: optim.groups({"**": inner}),
    "optax.chain": lambda inner: optax.chain(optax.identity(), inner),
    "optax.apply_if_finite": lambda inner: optax.apply_if_finite(inner, 2),
}


def values(result):
    """What must agree: parameters, averages, the validation at these, the learning rate."""
    rates = optim.hyperparams(result.opt_state)
    return {
        "params": result.model_state,
        "averages": optim.evaluation_params(result.opt_state, result.model_state),
        "validation": [row["validation_loss"] for row in result.history],
        "learning_rate": {**rates, **rates.get("**", {})}["learning_rate"],
    }


@pytest.fixture(scope="module")
def whole():
    return values(trainer(optimizer()).validate(cut((27,))).run(cut(BIG), epochs=3))


@pytest.mark.parametrize(
    "name", [name if name in BY_DAY else pytest.param(name, marks=pytest.mark.slow) for name in WRAPPERS]
)
def test_unequal_micro_batches_with_a_tail_equal_big_batches(name, whole):
    made = trainer(WRAPPERS[name](optim.accumulate(optimizer(), 3))).validate(cut((27,)))
    small = values(made.run(cut(SIZES), epochs=3))
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6), small, whole)


def test_going_on_in_the_middle_of_an_accumulation_gives_the_same_bits():
    data, made = cut(SIZES), trainer(optim.accumulate(optimizer(), 3))
    whole = made.run(data, epochs=2)
    halting = made.on("iteration_completed", lambda state: loop.control(loop.HALT_LOOP, state), once=9)
    first = halting.run(data, epochs=2)
    assert (first.status, int(first.opt_state.micro)) == ("halted", 2)
    rest = made.run(data[2:], first.step_state)
    for one, two in zip(
        jax.tree.leaves((rest.model_state, rest.opt_state)),
        jax.tree.leaves((whole.model_state, whole.opt_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_accumulation_compiles_a_step_once_a_shape():
    traces = []

    def loss(y_true, y_pred):
        traces.append(y_true.shape)
        return (y_true - y_pred) ** 2

    model = (lambda key: {"w": jnp.ones(3)}, lambda params, x: x @ params["w"])
    made = loop.trainer(model, loss, optim.accumulate(optimizer(), 3))
    made.run(cut((4, 4, 4, 4, 4, 4)), epochs=1)
    once = len(traces)
    made.run(cut((4, 4, 4, 4, 4, 4)), epochs=5)
    assert len(traces) - once <= 1


@pytest.mark.parametrize("pair", [False, True])
def test_the_accumulation_of_optax_runs_in_the_loop_too(pair):
    data = cut((9, 9, 9))[:2]
    data = [(x, y) for x, y, _ in data]
    theirs = optax.MultiSteps(optimizer(), 2)
    multi = theirs.gradient_transformation() if pair else theirs
    got = trainer(multi).run(data, epochs=2).model_state
    expected = trainer(optim.accumulate(optimizer(), 2)).run(data, epochs=2).model_state
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), got, expected)
