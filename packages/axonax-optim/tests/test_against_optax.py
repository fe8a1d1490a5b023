"""Every option of every optimizer against Optax for 100 steps: float32 to 1e-5, float64 to 1e-12."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from axonax import optim

STEPS = 100
KNOWN = {"lbfgs": ("value", "grad", "value_fn"), "sam": ("grad_fn",), "sophia": ("obj_fn",)}
ELEVEN = (
    *("adabelief", "adagrad", "adam", "adamw", "fromage", "lamb"),
    *("noisy_sgd", "radam", "rmsprop", "sgd", "yogi"),
)
FURTHER = (
    *("adadelta", "adafactor", "adamax", "adan", "lars", "lbfgs", "lion", "muon", "nadam", "nadamw"),
    *("novograd", "prodigy", "sam", "schedule_free", "sophia"),
)
MASK = {"dense": {"kernel": True, "bias": False}, "gain": False}
RATE = optim.cosine_decay(0.1, 70, alpha=0.1)
RISE = optim.warmup(0.05, 30)
INNER = functools.partial(optim.sgd, momentum=0.5)


def lamb(learning_rate, min_norm, weight_decay, mask, **moments):
    return optax.chain(
        optax.scale_by_adam(**moments),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_trust_ratio(min_norm),
        optax.scale_by_learning_rate(learning_rate),
    )


def yogi(learning_rate, **moments):
    return optax.chain(optax.scale_by_yogi(**moments), optax.scale_by_learning_rate(learning_rate))


def adadelta(decay, mask=None, **options):
    return optax.adadelta(rho=decay, weight_decay_mask=mask, **options)


def adafactor(weight_decay=None, mask=None, **options):
    options |= {"weight_decay_rate": weight_decay, "weight_decay_mask": mask}
    return optax.adafactor(dtype_momentum=jnp.result_type(float), **options)


def adan(learning_rate, eps, eps_root, weight_decay, mask, **shares):
    """The authors' code (sail-sg/Adan, without its proximal decay), a leaf at a time; Optax's differs."""
    b1, b2, b3 = (shares[name] for name in ("b1", "b2", "b3"))

    def leaf_init(param):
        return {name: jnp.zeros_like(param) for name in ("m", "v", "n", "g")}

    def leaf_step(g, old, first, t):
        diff = jnp.where(first, 0, g - old["g"])
        new = {
            "m": b1 * old["m"] + (1 - b1) * g,
            "v": b2 * old["v"] + (1 - b2) * diff,
            "n": b3 * old["n"] + (1 - b3) * (g + b2 * diff) ** 2,
            "g": g,
        }
        root = jnp.sqrt(new["n"] / (1 - b3**t) + eps_root) + eps
        return new, (new["m"] / (1 - b1**t) + b2 * new["v"] / (1 - b2**t)) / root

    def init(params):
        return [leaf_init(leaf) for leaf in jax.tree.leaves(params)], jnp.zeros((), jnp.int32)

    def update(updates, state, params):
        leaves, structure = jax.tree.flatten(updates)
        moments, count = state
        found = [leaf_step(g, old, count == 0, count + 1) for g, old in zip(leaves, moments, strict=True)]
        decays = jax.tree.map(lambda p, kept: weight_decay * p * kept, params, mask)
        steps = zip((step for _, step in found), jax.tree.leaves(decays), strict=True)
        steps = [-learning_rate * (step + decay) for step, decay in steps]
        return jax.tree.unflatten(structure, steps), ([new for new, _ in found], count + 1)

    return optax.GradientTransformation(init, update)


def lars(mask=True, trust_mask=True, **options):
    return optax.lars(weight_decay_mask=mask, trust_ratio_mask=trust_mask, **options)


def lbfgs(line_search=True, max_line_search_steps=20, **options):
    search = optax.scale_by_zoom_linesearch(max_line_search_steps, initial_guess_strategy="one")
    return optax.lbfgs(linesearch=search if line_search else None, **options)


def muon(momentum, mask=None, **options):
    return contrib.muon(beta=momentum, weight_decay_mask=mask, **options)


def prodigy(b1, b2, b3=None, **options):
    return contrib.prodigy(betas=(b1, b2), beta3=b3, **options)


def sam(learning_rate, rho, inner, opaque):
    ascent = optax.chain(contrib.normalize(), optax.sgd(rho))
    return contrib.sam(optax.sgd(learning_rate, **inner.keywords), ascent, 2, opaque_mode=opaque)


def schedule_free(learning_rate, b1, weight_decay, weight_lr_power=2.0, mask=None, adaptive=True, **moments):
    if not mask and not callable(learning_rate):
        options = {"b1": b1, "weight_decay": weight_decay, "weight_lr_power": weight_lr_power}
        known = contrib.schedule_free_adamw if adaptive else contrib.schedule_free_sgd
        return known(learning_rate, **options, **moments)
    base = optax.chain(
        optax.scale_by_rms(moments["b2"], moments["eps"], eps_in_sqrt=False, bias_correction=True),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    )
    # It counts from 1 where its base counts from 0.
    return contrib.schedule_free(base, lambda count: learning_rate(count - 1), b1, weight_lr_power)


def sophia(mask=None, key=None, **options):
    diagonal = contrib.hutchinson_estimator_diag_hessian(key)
    return contrib.sophia(weight_decay_mask=mask, hessian_diagonal_fn=diagonal, **options)


MOMENTS = {"b1": 0.8, "b2": 0.95, "eps": 1e-6, "eps_root": 1e-10}
ADAM = {"learning_rate": 0.05, **MOMENTS}
DELTA = {"learning_rate": 0.5, "decay": 0.8, "eps": 1e-4}
FACTOR = {"learning_rate": 0.05, "decay_rate": 0.75, "eps": 1e-3}
RMS = {"learning_rate": 0.01, "decay": 0.8, "eps": 1e-6}
SGD = {"learning_rate": 0.05, "momentum": 0.7}
SOPHIA = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.9, "eps": 1e-3, "gamma": 0.1, "weight_decay": 0.1}
MUON = {"learning_rate": 0.03, "momentum": 0.9, "eps": 1e-6, "weight_decay": 0.1}
MUON |= {"adam_b1": 0.8, "adam_b2": 0.95}
FREE = {"learning_rate": 0.05, "b1": 0.8, "weight_decay": 0.1}
PRODIGY = {"learning_rate": 0.5, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "weight_decay": 0.1}
# The oracle, the numbers (float32 in both) and the other options, under our names.
CASES = {
    "adabelief": (optax.adabelief, {**ADAM, "eps_root": 1e-8}, {}),
    "adabelief nesterov": (optax.adabelief, ADAM, {"nesterov": True}),
    "adadelta": (adadelta, DELTA, {}),
    "adadelta decay": (adadelta, {**DELTA, "weight_decay": 0.1}, {"mask": MASK}),
    "adafactor": (adafactor, FACTOR, {"min_dim_size_to_factor": 2}),
    "adafactor full": (
        adafactor,
        {**FACTOR, "momentum": 0.7, "weight_decay": 0.01, "clipping_threshold": 0.5},
        {"multiply_by_parameter_scale": False, "factored": False, "mask": MASK},
    ),
    "adafactor unclipped": (adafactor, FACTOR, {"clipping_threshold": None, "min_dim_size_to_factor": 2}),
    "adagrad": (optax.adagrad, {"learning_rate": 0.1, "eps": 1e-6}, {"initial_accumulator_value": 0.5}),
    "adam": (optax.adam, ADAM, {}),
    "adam nesterov": (optax.adam, ADAM, {"nesterov": True}),
    "adam schedule": (optax.adam, MOMENTS, {"learning_rate": RATE}),
    "adamax": (optax.adamax, {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6}, {}),
    "adamw": (optax.adamw, {**ADAM, "weight_decay": 0.1}, {}),
    "adamw mask": (optax.adamw, {**ADAM, "weight_decay": 0.1}, {"mask": MASK, "nesterov": True}),
    "adan": (adan, {**ADAM, "b3": 0.9, "weight_decay": 0.1}, {"mask": MASK}),
    "fromage": (optax.fromage, {"learning_rate": 0.05, "min_norm": 1e-3}, {}),
    "lamb": (lamb, {**ADAM, "weight_decay": 0.1, "min_norm": 0.01}, {"mask": MASK}),
    "lars": (
        lars,
        {**SGD, "learning_rate": 0.5, "weight_decay": 0.1, "trust_coefficient": 0.1, "eps": 0.01},
        {"mask": MASK, "trust_mask": MASK, "nesterov": True},
    ),
    "lbfgs": (lbfgs, {"learning_rate": 0.5}, {"memory_size": 4, "max_line_search_steps": 7}),
    "lbfgs plain": (
        lbfgs,
        {"learning_rate": 0.05},
        {"memory_size": 3, "scale_init_precond": False, "line_search": False},
    ),
    "lion": (
        optax.lion,
        {"learning_rate": 0.02, "b1": 0.8, "b2": 0.9, "weight_decay": 0.1},
        {"mask": MASK},
    ),
    "muon": (muon, MUON, {"adaptive": True, "mask": MASK}),
    "muon rms": (
        muon,
        {**MUON, "consistent_rms": 0.2, "adam_learning_rate": 0.01, "adam_weight_decay": 0.1},
        {"ns_steps": 3, "nesterov": False},
    ),
    "nadam": (optax.nadam, ADAM, {}),
    "nadamw": (optax.nadamw, {**ADAM, "weight_decay": 0.1}, {"mask": MASK}),
    "noisy_sgd": (
        optax.noisy_sgd,
        {"learning_rate": 0.05, "eta": 0.1, "gamma": 0.4},
        {"key": jax.random.key(3)},
    ),
    "novograd": (optax.novograd, {**ADAM, "eps": 1e-5, "weight_decay": 0.1}, {}),
    "prodigy": (prodigy, {**PRODIGY, "estim_lr_coef": 0.5}, {"estim_lr0": 1e-2}),
    "prodigy guard": (prodigy, {**PRODIGY, "b3": 0.9}, {"safeguard_warmup": True}),
    "radam": (optax.radam, {**ADAM, "threshold": 4.5}, {}),
    "radam nesterov": (optax.radam, {**ADAM, "threshold": 5.0}, {"nesterov": True}),
    "rmsprop": (optax.rmsprop, {**RMS, "learning_rate": 0.05}, {}),
    "rmsprop centered": (optax.rmsprop, {**RMS, "eps": 1e-3}, {"centered": True, "initial_scale": 0.2}),
    "rmsprop momentum": (optax.rmsprop, {**RMS, "momentum": 0.7}, {"nesterov": True}),
    "sam": (sam, {"learning_rate": 0.05, "rho": 0.1}, {"inner": INNER, "opaque": True}),
    "sam alternating": (sam, {"learning_rate": 0.05, "rho": 0.1}, {"inner": INNER, "opaque": False}),
    "schedule_free": (schedule_free, {**FREE, "b2": 0.95, "eps": 1e-6}, {}),
    "schedule_free rate": (
        schedule_free,
        {"b1": 0.8, "b2": 0.95, "eps": 1e-6, "weight_decay": 0.1, "weight_lr_power": 1.0},
        {"learning_rate": RISE, "mask": MASK},
    ),
    "schedule_free sgd": (schedule_free, FREE, {"adaptive": False}),
    "sgd": (optax.sgd, {"learning_rate": 0.05}, {}),
    "sgd momentum": (optax.sgd, SGD, {}),
    "sgd nesterov": (optax.sgd, SGD, {"nesterov": True}),
    "sophia": (sophia, SOPHIA, {"update_interval": 3, "key": jax.random.key(2)}),
    "sophia unclipped": (sophia, SOPHIA, {"clip_threshold": None, "mask": MASK}),
    "yogi": (yogi, ADAM, {"initial_accumulator_value": 1e-3}),
}


def start(dtype):
    draw = np.random.default_rng(0).normal
    return jax.tree.map(
        lambda shape: np.asarray(draw(size=shape), dtype),
        {"dense": {"kernel": (3, 2), "bias": (2,)}, "gain": ()},
        is_leaf=lambda leaf: isinstance(leaf, tuple),
    )


def objective(params, time):
    """A quadratic whose minimum swings with the step."""

    def one(param):
        shift = jnp.cos(time + jnp.arange(param.size, dtype=param.dtype)).reshape(param.shape)
        return jnp.sum(param**2 / 2 + param * shift)

    return sum(one(param) for param in jax.tree.leaves(params))


def path(optimizer, params):
    """The parameters after each step."""

    def step(carry, time):
        params, state = carry
        value_fn = functools.partial(objective, time=time)
        value, grad = jax.value_and_grad(value_fn)(params)
        extra = {"value": value, "grad": grad, "value_fn": value_fn, "obj_fn": value_fn}
        extra["grad_fn"] = lambda params, _: jax.grad(value_fn)(params)
        updates, following = optimizer.update(grad, state, params, **extra)
        following = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), following, state)
        return (optim.apply_updates(params, updates), following), params

    state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.asarray(leaf).dtype), optimizer.init(params))
    times = jnp.arange(STEPS, dtype=jax.tree.leaves(params)[0].dtype)
    (last, _), passed = jax.lax.scan(step, (params, state), times)
    return jax.tree.map(lambda leaves, end: jnp.concatenate([leaves, end[None]]), passed, last)


def only_known(optimizer, known):
    """Some of Optax refuse extra arguments that they do not know."""
    update = optimizer.update
    return optax.GradientTransformationExtraArgs(
        optimizer.init,
        lambda updates, state, params, **extra: update(
            updates, state, params, **{name: extra[name] for name in known}
        ),
    )


def narrow(value, dtype):
    """A number of float32, or a schedule of such numbers, as ``dtype``."""
    if callable(value):
        return lambda step: narrow(value(step), dtype)
    return jnp.asarray(value, jnp.float32).astype(dtype)


def compare(case, dtype, tolerance, quick):
    """The numbers are arguments to both programs: folded constants would round otherwise."""
    name, (oracle, numbers, options) = case.split()[0], CASES[case]
    mine = getattr(optim, name)(**numbers, **options)

    def both(params, numbers):
        rest = dict(options)
        if "learning_rate" in rest:
            rest["learning_rate"] = narrow(rest["learning_rate"], dtype)
        other = optax.with_extra_args_support(oracle(**numbers, **rest))
        return path(mine, params), path(only_known(other, KNOWN.get(name, ())), params)

    given = {name: np.asarray(np.float32(value), dtype) for name, value in numbers.items()}
    got, expected = jax.device_get(quick(both)(start(dtype), given))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == two.dtype == dtype
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_float32(case, quick):
    compare(case, jnp.float32, 1e-5, quick)


@pytest.mark.parametrize("case", CASES)
def test_float64(case, quick):
    with jax.enable_x64(True):
        compare(case, jnp.float64, 1e-12, quick)


def same(value, default):
    return isinstance(value, float | int) and value == default


def varied(name):
    """The options of an optimizer that some case sets to another value than their default."""
    parameters = inspect.signature(getattr(optim, name)).parameters
    given = [numbers | options for case, (_, numbers, options) in CASES.items() if case.split()[0] == name]
    return {
        option
        for each in given
        for option, value in each.items()
        if value is not parameters[option].default and not same(value, parameters[option].default)
    }


@pytest.mark.parametrize("name", [*ELEVEN, *FURTHER])
def test_every_option_is_compared(name):
    """Soap, which Optax lacks, has a test of its own."""
    assert set(inspect.signature(getattr(optim, name)).parameters) == varied(name)


@pytest.mark.smoke
@pytest.mark.parametrize("name", [*ELEVEN, *FURTHER, "soap"])
def test_default_options_descend(name, quick):
    optimizer = getattr(optim, name)()

    def loss(params):
        return jnp.sum(params**2) / 2

    @quick
    def run(params):
        state = optimizer.init(params)
        for _ in range(3):
            extra = {"value": loss(params), "grad": params, "value_fn": loss}
            updates, state = optimizer.update(params, state, params, **extra)
            params = optim.apply_updates(params, updates)
        return optim.evaluation_params(state, params)

    assert np.linalg.norm(run(np.array([1.0, -2.0], np.float32))) < np.sqrt(5)


def test_rectified_adam_with_a_threshold_below_four_stays_finite(quick):
    optimizer = optim.radam(0.1, threshold=2.0)

    @quick
    def step(params, state):
        updates, state = optimizer.update(params, state, params)
        return optim.apply_updates(params, updates), state

    params = jnp.ones(2)
    state = optimizer.init(params)
    for _ in range(8):
        params, state = step(params, state)
        assert np.isfinite(params).all()
