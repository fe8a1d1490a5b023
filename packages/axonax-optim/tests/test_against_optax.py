"""Every optimizer, step by step, against Optax: float32 to 1e-5, float64 to 1e-12."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from axonax import optim

STEPS = 100
KNOWN = {"lbfgs": ("value", "grad", "value_fn"), "sam": ("grad_fn",), "sophia": ("obj_fn",)}
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
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


def lamb(learning_rate, min_norm, weight_decay, **moments):
    return optax.chain(
        optax.scale_by_adam(**moments),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_trust_ratio(min_norm),
        optax.scale_by_learning_rate(learning_rate),
    )


def yogi(learning_rate, **moments):
    return optax.chain(optax.scale_by_yogi(**moments), optax.scale_by_learning_rate(learning_rate))


def adadelta(decay, mask=None, **options):
    return optax.adadelta(rho=decay, weight_decay_mask=mask, **options)


def adafactor(weight_decay=None, mask=None, **options):
    return optax.adafactor(weight_decay_rate=weight_decay, weight_decay_mask=mask, **options)


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


def muon(momentum, **options):
    return contrib.muon(beta=momentum, **options)


def prodigy(b1, b2, b3=None, **options):
    return contrib.prodigy(betas=(b1, b2), beta3=b3, **options)


def sam(learning_rate, rho, opaque):
    ascent = optax.chain(contrib.normalize(), optax.sgd(rho))
    return contrib.sam(optax.sgd(learning_rate, momentum=0.5), ascent, 2, opaque_mode=opaque)


def climber(learning_rate, **options):
    return optim.sam(learning_rate, inner=lambda rate: optim.sgd(rate, momentum=0.5), **options)


def schedule_free(adaptive=True, **options):
    if adaptive:
        return contrib.schedule_free_adamw(**options)
    options.pop("b2"), options.pop("eps")
    return contrib.schedule_free_sgd(**options)


ADAM = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "eps_root": 1e-10}
FACTOR = {"learning_rate": 0.05, "decay_rate": 0.75, "eps": 1e-20}
SGD = {"learning_rate": 0.05, "momentum": 0.7}
SOPHIA = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.9, "eps": 1e-3, "gamma": 0.1, "weight_decay": 0.1}
MUON = {"learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.1, "adam_b1": 0.8, "adam_b2": 0.95}
FREE = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "weight_decay": 0.1}
PRODIGY = {"learning_rate": 0.5, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "weight_decay": 0.1}
CASES = {
    "adabelief": (optim.adabelief, optax.adabelief, {**ADAM, "eps_root": 1e-8}, {}),
    "adabelief nesterov": (optim.adabelief, optax.adabelief, ADAM, {"nesterov": True}),
    "adadelta": (optim.adadelta, adadelta, {"learning_rate": 0.5, "decay": 0.8, "eps": 1e-4}, {}),
    "adadelta decay": (
        optim.adadelta,
        adadelta,
        {"learning_rate": 0.5, "decay": 0.8, "eps": 1e-4, "weight_decay": 0.1},
        {"mask": MASK},
    ),
    "adafactor": (
        optim.adafactor,
        adafactor,
        FACTOR,
        {"min_dim_size_to_factor": 2},
    ),
    "adafactor full": (
        optim.adafactor,
        adafactor,
        {**FACTOR, "momentum": 0.7, "weight_decay": 0.01, "clipping_threshold": 0.5},
        {"multiply_by_parameter_scale": False, "factored": False, "mask": MASK},
    ),
    "adafactor unclipped": (
        optim.adafactor,
        adafactor,
        FACTOR,
        {"clipping_threshold": None, "min_dim_size_to_factor": 2},
    ),
    "adagrad": (
        optim.adagrad,
        optax.adagrad,
        {"learning_rate": 0.1, "eps": 1e-6},
        {"initial_accumulator_value": 0.5},
    ),
    "adam": (optim.adam, optax.adam, ADAM, {}),
    "adam nesterov": (optim.adam, optax.adam, ADAM, {"nesterov": True}),
    "adam schedule": (optim.adam, optax.adam, {"b1": 0.8, "eps_root": 1e-10}, {"learning_rate": RATE}),
    "adamax": (optim.adamax, optax.adamax, {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-6}, {}),
    "adamw": (optim.adamw, optax.adamw, {**ADAM, "weight_decay": 0.1}, {}),
    "adamw mask": (optim.adamw, optax.adamw, {**ADAM, "weight_decay": 0.1}, {"mask": MASK}),
    "adan": (optim.adan, adan, {**ADAM, "b3": 0.9, "weight_decay": 0.1}, {"mask": MASK}),
    "fromage": (optim.fromage, optax.fromage, {"learning_rate": 0.05, "min_norm": 1e-3}, {}),
    "lamb": (optim.lamb, lamb, {**ADAM, "weight_decay": 0.1, "min_norm": 0.01}, {}),
    "lars": (
        optim.lars,
        lars,
        {"learning_rate": 0.5, "momentum": 0.7, "weight_decay": 0.1, "trust_coefficient": 0.1, "eps": 0.01},
        {"mask": MASK, "trust_mask": MASK, "nesterov": True},
    ),
    "lbfgs": (optim.lbfgs, optax.lbfgs, {}, {"memory_size": 4}),
    "lbfgs plain": (
        lambda **options: optim.lbfgs(line_search=False, **options),
        lambda **options: optax.lbfgs(linesearch=None, **options),
        {"learning_rate": 0.05},
        {"memory_size": 3, "scale_init_precond": False},
    ),
    "lion": (
        optim.lion,
        optax.lion,
        {"learning_rate": 0.02, "b1": 0.8, "b2": 0.9, "weight_decay": 0.1},
        {"mask": MASK},
    ),
    "muon": (optim.muon, muon, MUON, {}),
    "muon rms": (
        optim.muon,
        muon,
        {**MUON, "consistent_rms": 0.2, "adam_learning_rate": 0.01, "adam_weight_decay": 0.1},
        {"ns_steps": 3, "nesterov": False},
    ),
    "nadam": (optim.nadam, optax.nadam, ADAM, {}),
    "nadamw": (optim.nadamw, optax.nadamw, {**ADAM, "weight_decay": 0.1}, {"mask": MASK}),
    "noisy_sgd": (
        optim.noisy_sgd,
        optax.noisy_sgd,
        {"learning_rate": 0.05, "eta": 0.1, "gamma": 0.4},
        {"key": jax.random.key(3)},
    ),
    "novograd": (optim.novograd, optax.novograd, {**ADAM, "weight_decay": 0.1}, {}),
    "prodigy": (optim.prodigy, prodigy, PRODIGY, {"estim_lr0": 1e-2}),
    "prodigy guard": (optim.prodigy, prodigy, {**PRODIGY, "b3": 0.9}, {"safeguard_warmup": True}),
    "radam": (optim.radam, optax.radam, {**ADAM, "threshold": 4.5}, {}),
    "radam nesterov": (optim.radam, optax.radam, {**ADAM, "threshold": 5.0}, {"nesterov": True}),
    "rmsprop": (optim.rmsprop, optax.rmsprop, {"learning_rate": 0.05, "decay": 0.8, "eps": 1e-6}, {}),
    "rmsprop centered": (
        optim.rmsprop,
        optax.rmsprop,
        {"learning_rate": 0.05, "decay": 0.8, "eps": 1e-3},
        {"centered": True, "initial_scale": 0.2},
    ),
    "rmsprop momentum": (
        optim.rmsprop,
        optax.rmsprop,
        {"learning_rate": 0.01, "decay": 0.8, "eps": 1e-6, "momentum": 0.7},
        {"nesterov": True},
    ),
    "sam": (climber, sam, {"learning_rate": 0.05, "rho": 0.1}, {"opaque": True}),
    "sam alternating": (climber, sam, {"learning_rate": 0.05, "rho": 0.1}, {"opaque": False}),
    "schedule_free": (optim.schedule_free, schedule_free, {**FREE, "weight_lr_power": 2.0}, {}),
    "schedule_free sgd": (optim.schedule_free, schedule_free, FREE, {"adaptive": False}),
    "sgd": (optim.sgd, optax.sgd, {"learning_rate": 0.05}, {}),
    "sgd momentum": (optim.sgd, optax.sgd, SGD, {}),
    "sgd nesterov": (optim.sgd, optax.sgd, SGD, {"nesterov": True}),
    "sophia": (optim.sophia, contrib.sophia, SOPHIA, {"update_interval": 3}),
    "sophia unclipped": (optim.sophia, contrib.sophia, SOPHIA, {"clip_threshold": None}),
    "yogi": (optim.yogi, yogi, ADAM, {"initial_accumulator_value": 1e-3}),
}
# Steps that follow a sign, a search or a cancelled difference multiply rounding.
ROUNDED = {
    "adam schedule": 1e-8,  # a schedule's value is rounded to float32 as every hyperparameter is
    "adafactor": 1e-5,  # Optax computes the share that is kept in float32
}
LOOSE = {"muon": 1e-3, "muon rms": 1e-3, "lbfgs": 1e-3, "lbfgs plain": 1e-3, "prodigy guard": 1e-4}


def start(dtype):
    draw = np.random.default_rng(0).normal
    return jax.tree.map(
        lambda shape: jnp.asarray(draw(size=shape), dtype),
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


def compare(case, dtype, tolerance):
    ours, theirs, numbers, options = CASES[case]
    rounded = {name: float(np.float32(value)) for name, value in numbers.items()}
    mine, other = ours(**numbers, **options), theirs(**rounded, **options)
    other = only_known(optax.with_extra_args_support(other), KNOWN.get(case.split()[0], ()))
    both = jax.jit(lambda params: (path(mine, params), path(other, params)))
    got, expected = both.lower(start(dtype)).compile(QUICK)(start(dtype))
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == two.dtype == dtype
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)


# The further options of an optimizer differ in no rounding: float64 tells more, and each compile costs.
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if " " in case else case for case in CASES]
)
def test_float32(case):
    compare(case, jnp.float32, LOOSE.get(case, 1e-5))


@pytest.mark.parametrize("case", CASES)
def test_float64(case):
    with jax.enable_x64(True):
        compare(case, jnp.float64, ROUNDED.get(case.split(" ", 1)[0], ROUNDED.get(case, 1e-12)))


def test_every_optimizer_is_compared():
    assert {case.split()[0] for case in CASES} == {*ELEVEN, *FURTHER}


@pytest.mark.smoke
@pytest.mark.parametrize("name", [*ELEVEN, *FURTHER, "soap"])
def test_default_options_descend(name):
    optimizer = getattr(optim, name)()

    def loss(params):
        return jnp.sum(params**2) / 2

    @jax.jit
    def run(params):
        state = optimizer.init(params)
        for _ in range(3):
            extra = {"value": loss(params), "grad": params, "value_fn": loss}
            updates, state = optimizer.update(params, state, params, **extra)
            params = optim.apply_updates(params, updates)
        return optim.evaluation_params(state, params)

    assert float(jnp.linalg.norm(run(jnp.array([1.0, -2.0])))) < np.sqrt(5)


def test_rectified_adam_with_a_threshold_below_four_stays_finite():
    optimizer = optim.radam(0.1, threshold=2.0)
    params = jnp.ones(2)
    state = optimizer.init(params)
    for _ in range(8):
        updates, state = optimizer.update(params, state, params)
        params = optim.apply_updates(params, updates)
        assert bool(jnp.all(jnp.isfinite(params)))
