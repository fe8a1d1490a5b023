"""Every number of every optimizer and update is live: set in the state, it acts as if built in."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

STEPS = 6
MAKERS = {
    name: inspect.signature(each).parameters
    for name, each in vars(optim).items()
    if inspect.isfunction(each)
    and inspect.signature(each).return_annotation == "optax.GradientTransformationExtraArgs"
}
NUMBERS = {
    name: [option for option, each in options.items() if "Number" in each.annotation]
    for name, options in MAKERS.items()
}
LIVE = {name: options for name, options in NUMBERS.items() if options}
RENAMED = {"factor": "scale"}
# Structural options under which every number has a say, and numbers of an effect that six steps show.
STRUCTURE = {
    "adafactor": {"min_dim_size_to_factor": 2},
    "lbfgs": {"line_search": False},
    "lookahead": {"inner": optim.sgd(0.1), "every": 2},
    "prodigy": {"estim_lr0": 0.1},
    "sophia": {"update_interval": 2},
    "soap": {"frequency": 2},
}
BUILT = {"b2": 0.9, "threshold": 5.0, "min_norm": 0.001, "min_scale": 0.001, "clip_threshold": 100.0}
BUILT |= {"estim_lr_coef": 1e3}
CHANGED = {"b2": 0.8, "threshold": 4.5, "min_norm": 30.0, "min_scale": 30.0}
CHANGED |= {"lion b2": 0.1, "adaptive_clip eps": 30.0, "prodigy estim_lr_coef": 2e3}
PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.5, -1.0])}
CURVATURES = {"kernel": jnp.array([[1.0, 4.0], [20.0, 2.0]]), "bias": jnp.array([0.1, 7.0])}


def objective(params, time):
    """A quadratic whose minimum swings with the step."""

    def one(curvature, leaf):
        places = jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape)
        return jnp.sum(curvature * (leaf - 3 * jnp.cos(2 * time + places)) ** 2) / 2

    return sum(jax.tree.leaves(jax.tree.map(one, CURVATURES, params)))


def run(optimizer, state):
    """The updates of each step, and the parameters to evaluate after it."""

    def step(carry, time):
        params, state = carry
        value_fn = functools.partial(objective, time=time)
        value, grad = jax.value_and_grad(value_fn)(params)
        updates, state = optimizer.update(grad, state, params, value=value, value_fn=value_fn)
        params = optim.apply_updates(params, jax.tree.map(lambda update: 0.01 * update, updates))
        return (params, state), (updates, optim.evaluation_params(state, params))

    return jax.lax.scan(step, (PARAMS, state), jnp.arange(STEPS, dtype=jnp.float32))[1]


def schedule(option, override):
    """What an optimizer is built with: a rate that rises, and ``override`` instead where it is a number."""

    def value(step):
        rising = 0.125 * (1 + step) if option == "learning_rate" else BUILT.get(option, 0.5)
        return jnp.where(jnp.isnan(override), rising, override)

    return value


def both(name, overrides):
    """The steps with the numbers set in the state, and with the numbers built in."""
    none = dict.fromkeys(overrides, jnp.nan)

    def made(values):
        options = {option: schedule(option, value) for option, value in values.items()}
        return getattr(optim, name)(**STRUCTURE.get(name, {}), **options)

    live = made(none)
    state = live.init(PARAMS)
    for option, value in overrides.items():
        change = functools.partial(change_one, RENAMED.get(option, option), value)
        state = jax.lax.cond(jnp.isnan(value), lambda state: state, change, state)
    return run(live, state), run(made(overrides), made(overrides).init(PARAMS))


def change_one(name, value, state):
    """The state with one number set."""
    return optim.with_hyperparams(state, **{name: value})


@pytest.mark.parametrize("name", LIVE)
def test_a_number_that_is_set_acts_as_if_built_in(name, quick):
    program = quick(lambda overrides: both(name, overrides))
    none = dict.fromkeys(LIVE[name], np.float32(np.nan))
    unchanged, _ = program(none)
    for option in LIVE[name]:
        changed = CHANGED.get(f"{name} {option}", CHANGED.get(option, 0.25))
        got, expected = jax.device_get(program(none | {option: np.float32(changed)}))
        for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6, err_msg=option)
        pairs = zip(jax.tree.leaves(got), jax.tree.leaves(unchanged), strict=True)
        assert any(not np.allclose(one, two, rtol=1e-5) for one, two in pairs), f"{option} changes nothing"
    assert program._cache_size() == 1


def test_numbers_that_are_not_live_say_so():
    """What a state begins with; a step does not read it again."""
    fixed = {
        (name, option)
        for name, options in MAKERS.items()
        for option, each in options.items()
        if "float" in each.annotation
    }
    assert {option for _, option in fixed} == {"initial_accumulator_value", "initial_scale", "estim_lr0"}
    for name, option in fixed:
        lines = getattr(optim, name).__doc__.splitlines()
        assert any(option in line and "fixed" in line for line in lines), (name, option)
