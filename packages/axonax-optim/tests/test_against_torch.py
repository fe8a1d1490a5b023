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
# torch adds eps to a root where we add it inside, or the other way round: it is 0 in both.
ADAGRAD = {"learning_rate": 0.1, "eps": 0.0, "initial_accumulator_value": 0.5}
FACTOR = {"learning_rate": 0.05, "decay_rate": 0.75, "clipping_threshold": 1.5, "min_dim_size_to_factor": 2}
RADAM = {**ADAM, "eps": 0.0}
RMS = {"learning_rate": 0.01, "decay": 0.8, "eps": 0.0}
SGD = {"learning_rate": 0.05, "momentum": 0.7}


def decayed(inner, weight_decay=0.1):
    """Weights decayed through the gradient, which torch does inside most of its optimizers."""
    return lambda **options: optim.chain(optim.add_decayed_weights(weight_decay), inner(**options))


def amsgrad(learning_rate, **moments):
    return optim.chain(optim.scale_by_amsgrad(**moments), optim.scale_by_learning_rate(learning_rate))


def lbfgs(**options):
    return optim.lbfgs(line_search=False, **options)


CASES = {
    "adadelta": (optim.adadelta, ADADELTA),
    "adadelta decay": (optim.adadelta, {**ADADELTA, "weight_decay": 0.1}),
    "adafactor": (optim.adafactor, {**FACTOR, "eps": 0.0}),
    "adagrad": (optim.adagrad, ADAGRAD),
    "adagrad decay": (decayed(optim.adagrad), ADAGRAD),
    "adam": (optim.adam, ADAM),
    # torch takes the maximum before it corrects the second moment, Optax and we after: here both are one.
    "adam amsgrad": (amsgrad, {**ADAM, "b2": 0.0}),
    "adam decay": (decayed(optim.adam), ADAM),
    "adamax": (optim.adamax, ADAMAX),
    "adamax decay": (decayed(optim.adamax), ADAMAX),
    "adamw": (optim.adamw, {**ADAM, "weight_decay": 0.1}),
    # torch's with a momentum that is b1 from the first step on.
    "nadam": (optim.nadam, ADAM),
    "nadam decay": (decayed(optim.nadam), ADAM),
    "nadamw": (optim.nadamw, {**ADAM, "weight_decay": 0.1}),
    "radam": (optim.radam, RADAM),
    "radam decay": (decayed(optim.radam), RADAM),
    "rmsprop": (optim.rmsprop, RMS),
    "rmsprop centered": (optim.rmsprop, {**RMS, "centered": True}),
    "rmsprop decay": (decayed(optim.rmsprop), RMS),
    "rmsprop momentum": (optim.rmsprop, {**RMS, "momentum": 0.7}),
    "sgd": (optim.sgd, {"learning_rate": 0.05}),
    "sgd decay": (decayed(optim.sgd), SGD),
    "sgd momentum": (optim.sgd, SGD),
    "sgd nesterov": (optim.sgd, {**SGD, "nesterov": True}),
}
MATRICES = ("adafactor", "muon")
# What torch has under one of our names and defines otherwise: both sides are run, and differ.
OTHERWISE = {
    # torch's rate is at most 1 / sqrt(t).
    "adafactor bound": (optim.adafactor, {**FACTOR, "learning_rate": 0.5, "eps": 0.0}),
    # torch divides by sqrt(s) + eps, we by sqrt(s + eps).
    "adagrad eps": (optim.adagrad, {**ADAGRAD, "eps": 0.01}),
    "adam amsgrad corrected": (amsgrad, ADAM),
    # torch's first step is at most lr / |g|_1 long, and it forgets changes of negative curvature.
    "lbfgs": (lbfgs, {"learning_rate": 0.5, "memory_size": 3}),
    # torch's orthogonalizes in bfloat16.
    "muon": (optim.muon, {"learning_rate": 0.03, "momentum": 0.9, "weight_decay": 0.1}),
    # torch lets the momentum grow to b1 by momentum_decay, Optax and we hold it.
    "nadam growing": (optim.nadam, ADAM),
    # torch adds eps to the second moment's root before it corrects it, we after.
    "radam eps": (optim.radam, {**RADAM, "eps": 0.01}),
    # torch divides by sqrt(v) + eps, we by sqrt(v + eps).
    "rmsprop eps": (optim.rmsprop, {**RMS, "eps": 0.01}),
}


@functools.cache
def committed():
    with np.load(FIXTURE) as held:
        return dict(held)


def steps(case, dtype, quick):
    """The parameters after each step."""
    make, options = {**CASES, **OTHERWISE}[case]
    optimizer = make(**options)

    def step(carry, shift):
        params, state = carry
        updates, state = optimizer.update(params + shift, state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), jnp.ravel(params)

    shape = (2, -1) if case.split()[0] in MATRICES else (-1,)
    start = committed()["start"].astype(dtype).reshape(shape)
    shifts = committed()["shifts"].astype(dtype).reshape(-1, *start.shape)
    run = quick(lambda start, shifts: jax.lax.scan(step, (start, optimizer.init(start)), shifts)[1])
    return np.asarray(run(start, shifts))


def compare(case, dtype, tolerance, quick):
    got, expected = steps(case, dtype, quick), committed()[f"{case}|{dtype}"]
    assert got.dtype == expected.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_float64(case, quick):
    with jax.enable_x64(True):
        compare(case, "float64", 1e-12, quick)


@pytest.mark.parametrize("case", CASES)
def test_float32(case, quick):
    compare(case, "float32", 1e-5, quick)


@pytest.mark.parametrize("case", OTHERWISE)
def test_defined_otherwise(case, quick):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        compare(case, "float32", 1e-4, quick)


def test_every_committed_case_is_run():
    assert {name.partition("|")[0] for name in committed() if "|" in name} == {*CASES, *OTHERWISE}
