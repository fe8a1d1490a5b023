"""100 steps beside torch's optimizers, where the definitions agree: float64 to 1e-12, float32 to 1e-5.

The steps of torch are committed: ``tools/write_torch_steps.py``, whose table has the same names, writes them.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

FIXTURE = Path(__file__).parent / "fixtures" / "torch.npz"
ADAM = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "eps_root": 0.0}
ADAMAX = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6}
ADADELTA = {"learning_rate": 0.5, "decay": 0.8, "eps": 1e-4}
# torch adds eps to the root where we add it inside, so it is 0 in both.
RMS = {"learning_rate": 0.01, "decay": 0.8, "eps": 0.0}
SGD = {"learning_rate": 0.05, "momentum": 0.7}


def decayed(inner, weight_decay, **options):
    """Weights decayed through the gradient, which torch does inside most of its optimizers."""
    return optim.chain(optim.add_decayed_weights(weight_decay), inner(**options))


CASES = {
    "adadelta": (optim.adadelta, ADADELTA),
    "adadelta decay": (optim.adadelta, {**ADADELTA, "weight_decay": 0.1}),
    "adagrad": (optim.adagrad, {"learning_rate": 0.1, "eps": 0.0, "initial_accumulator_value": 0.5}),
    "adam": (optim.adam, ADAM),
    "adam decay": (functools.partial(decayed, optim.adam, 0.1), ADAM),
    "adamax": (optim.adamax, ADAMAX),
    "adamw": (optim.adamw, {**ADAM, "weight_decay": 0.1}),
    # torch's with a momentum that is b1 from the first step on.
    "nadam": (optim.nadam, ADAM),
    "nadamw": (optim.nadamw, {**ADAM, "weight_decay": 0.1}),
    # torch adds eps before it corrects the second moment, we after, so it is 0 in both.
    "radam": (optim.radam, {**ADAM, "eps": 0.0}),
    "rmsprop": (optim.rmsprop, RMS),
    "rmsprop centered": (optim.rmsprop, {**RMS, "centered": True}),
    "rmsprop momentum": (optim.rmsprop, {**RMS, "momentum": 0.7}),
    "sgd": (optim.sgd, {"learning_rate": 0.05}),
    "sgd decay": (functools.partial(decayed, optim.sgd, 0.1), SGD),
    "sgd momentum": (optim.sgd, SGD),
    "sgd nesterov": (optim.sgd, {**SGD, "nesterov": True}),
}
# What torch has under one of our names, or close to it, and defines otherwise.
OTHERWISE = {
    "adafactor": "torch's bounds the rate by 1 / sqrt(t)",
    "adagrad eps": "torch divides by sqrt(s) + eps, we by sqrt(s + eps)",
    "adam amsgrad": "torch takes the maximum before it corrects the second moment, Optax and we after",
    "lbfgs": "torch's searches inside one step, with a closure",
    "muon": "torch's orthogonalizes in bfloat16",
    "nadam schedule": "torch lets the momentum grow to b1 by momentum_decay, Optax and we hold it",
    "radam eps": "torch adds eps to the second moment's root before it corrects it, we after",
    "rmsprop eps": "torch divides by sqrt(v) + eps, we by sqrt(v + eps)",
}


@functools.cache
def committed():
    with np.load(FIXTURE) as held:
        return dict(held)


def steps(case, dtype):
    """The parameters after each step."""
    make, options = CASES[case]
    optimizer = make(**options)

    def step(carry, shift):
        params, state = carry
        updates, state = optimizer.update(params + shift, state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), params

    start, shifts = (jnp.asarray(committed()[name], dtype) for name in ("start", "shifts"))
    return jax.jit(lambda: jax.lax.scan(step, (start, optimizer.init(start)), shifts)[1])()


def compare(case, dtype, tolerance):
    got, expected = steps(case, dtype), committed()[f"{case}|{dtype}"]
    assert got.dtype == expected.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_float64(case):
    with jax.enable_x64(True):
        compare(case, "float64", 1e-12)


# The further options of an optimizer differ in no rounding.
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if " " in case else case for case in CASES]
)
def test_float32(case):
    compare(case, "float32", 1e-5)


@pytest.mark.parametrize("case", OTHERWISE)
def test_defined_otherwise(case):
    pytest.skip(OTHERWISE[case])


def test_every_committed_case_is_compared():
    cases = {name.partition("|")[0] for name in committed() if "|" in name}
    assert cases == set(CASES)
    assert not cases & set(OTHERWISE)
