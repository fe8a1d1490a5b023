"""Every option of every update against Optax for 100 steps: float32 to 1e-5, float64 to 1e-12."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim

STEPS = 100
MASK = {"kernel": True, "bias": False}
MOMENTS = {"b1": 0.75, "b2": 0.875, "eps": 2**-10, "eps_root": 2**-12}
RISE = optim.warmup(0.5, 32)
# Our options, the oracle of the same definition. The numbers are those of float32, too.
CASES = {
    "adaptive_clip": ({"clipping": 0.25, "eps": 0.125}, optax.adaptive_grad_clip(0.25, 0.125)),
    "add_decayed_weights": (
        {"weight_decay": 0.5, "mask": MASK},
        optax.add_decayed_weights(0.5, MASK),
    ),
    "add_noise": (
        {"eta": 0.5, "gamma": 0.25, "key": 3},
        optax.add_noise(0.5, 0.25, jax.random.key(3)),
    ),
    "centralize": ({}, optax.centralize()),
    "clip": ({"delta": 0.5}, optax.clip(0.5)),
    "clip_by_block_rms": ({"threshold": 0.25}, optax.clip_by_block_rms(0.25)),
    "clip_by_global_norm": ({"max_norm": 0.5}, optax.clip_by_global_norm(0.5)),
    "identity": ({}, optax.identity()),
    "scale": ({"factor": -0.5}, optax.scale(-0.5)),
    "scale_by_adam": ({**MOMENTS, "nesterov": True}, optax.scale_by_adam(**MOMENTS, nesterov=True)),
    "scale_by_amsgrad": (MOMENTS, optax.scale_by_amsgrad(**MOMENTS)),
    "scale_by_belief": ({**MOMENTS, "nesterov": True}, optax.scale_by_belief(**MOMENTS, nesterov=True)),
    "scale_by_learning_rate": ({"learning_rate": 0.5}, optax.scale_by_learning_rate(0.5)),
    "scale_by_param_block_norm": ({"min_scale": 0.5}, optax.scale_by_param_block_norm(0.5)),
    "scale_by_radam": (
        {**MOMENTS, "threshold": 4.5, "nesterov": True},
        optax.scale_by_radam(**MOMENTS, threshold=4.5, nesterov=True),
    ),
    "scale_by_rms": (
        {"decay": 0.75, "eps": 0.125, "initial_scale": 0.5},
        optax.scale_by_rms(0.75, 0.125, 0.5),
    ),
    "scale_by_rss": (
        {"initial_accumulator_value": 0.5, "eps": 0.125},
        optax.scale_by_rss(0.5, 0.125),
    ),
    "scale_by_schedule": ({"schedule": RISE}, optax.scale_by_schedule(RISE)),
    "scale_by_sign": ({}, optax.scale_by_sign()),
    "scale_by_stddev": (
        {"decay": 0.75, "eps": 0.125, "initial_scale": 0.5},
        optax.scale_by_stddev(0.75, 0.125, 0.5),
    ),
    "scale_by_trust_ratio": (
        {"min_norm": 0.25, "trust_coefficient": 0.5, "eps": 0.125},
        optax.scale_by_trust_ratio(0.25, 0.5, 0.125),
    ),
    "scale_by_yogi": (
        {**MOMENTS, "initial_accumulator_value": 0.5},
        optax.scale_by_yogi(**MOMENTS, initial_accumulator_value=0.5),
    ),
    "skip_nonfinite": ({"inner": optim.trace(0.5)}, optax.apply_if_finite(optax.trace(0.5), STEPS)),
    "trace": ({"decay": 0.75, "nesterov": True}, optax.trace(0.75, nesterov=True)),
}
# What Optax lacks, or has with another interface.
ELSEWHERE = {
    **dict.fromkeys(("chain", "compose", "masked", "stateful", "stateless", "accumulate"), "test_updates.py"),
    **dict.fromkeys(("ema", "lookahead", "swa"), "test_averages.py"),
    **dict.fromkeys(("groups", "frozen"), "test_groups.py"),
}


def start(dtype):
    draw = np.random.default_rng(0).normal
    return {"kernel": np.asarray(draw(size=(3, 2)), dtype), "bias": np.asarray(draw(size=2), dtype)}


def path(transformation, params, *, spoiled):
    """The updates of each step; where ``spoiled`` the gradients of some are infinite."""

    def step(carry, time):
        params, state = carry
        shifts = jnp.cos(time + jnp.arange(2, dtype=time.dtype))
        shifts = jnp.where(spoiled & (time % 8 == 3), jnp.inf, shifts)
        gradients = jax.tree.map(lambda leaf: leaf + jnp.broadcast_to(shifts, leaf.shape), params)
        updates, state = transformation.update(gradients, state, params)
        moved = jax.tree.map(lambda leaf, update: leaf - 0.0625 * update, params, updates)
        return (moved, state), updates

    times = jnp.arange(STEPS, dtype=params["bias"].dtype)
    return jax.lax.scan(step, (params, transformation.init(params)), times)[1]


@pytest.fixture(scope="module")
def paths(quick):
    """The updates of all of a type, from one program."""

    def everything(params):
        found = {}
        for name, (options, oracle) in CASES.items():
            both = getattr(optim, name)(**options), oracle
            found[name] = tuple(path(each, params, spoiled=name == "skip_nonfinite") for each in both)
        return found

    return functools.cache(lambda dtype: jax.device_get(quick(everything)(start(dtype))))


def compare(name, dtype, tolerance, paths):
    got, expected = paths(dtype)[name]
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == two.dtype == dtype
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
def test_float32(name, paths):
    compare(name, "float32", 1e-5, paths)


@pytest.mark.parametrize("name", CASES)
def test_float64(name, paths):
    with jax.enable_x64(True):
        compare(name, "float64", 1e-12, paths)


def updates():
    """What makes a transformation and is no optimizer: it has no learning rate of its own by default."""
    makers = [(name, each) for name, each in vars(optim).items() if inspect.isfunction(each)]
    found = {name: inspect.signature(each) for name, each in makers}
    return {
        name: signature.parameters
        for name, signature in found.items()
        if signature.return_annotation == "optax.GradientTransformationExtraArgs"
        and getattr(signature.parameters.get("learning_rate"), "default", "") in ("", inspect.Parameter.empty)
    }


def test_every_option_of_every_update_is_compared():
    given = {name: set(options) for name, (options, _) in CASES.items()}
    assert given == {name: set(options) for name, options in updates().items() if name not in ELSEWHERE}
