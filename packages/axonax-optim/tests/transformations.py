"""Every public transformation, with options under which all of it runs: the table of the sweeps."""

import inspect

import jax
import jax.numpy as jnp

from axonax import optim

PARAMS = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([0.5, -1.0])}
INNER = optim.sgd(0.1, momentum=0.9)
REQUIRED = {
    "factor": 1.0,
    "learning_rate": 0.1,
    "inner": INNER,
    "optimizers": {"kernel": INNER},
    "schedule": optim.constant(0.1),
    "steps": 2,
    "function": lambda updates, params: updates,
    "init": lambda params: {"seen": params},
    "update": lambda updates, state, params: (updates, {"seen": updates}),
}
OPTIONS = {"groups": {"default": optim.adam(0.1)}, "masked": {"mask": {"kernel": True, "bias": False}}}
# Wrappers of others, and options that make another state or another program.
FURTHER = {
    "accumulate chain": {"inner": optim.chain(optim.clip_by_global_norm(1.0), optim.adam(), optim.ema())},
    "adafactor factored": {"momentum": 0.9, "weight_decay": 0.1, "min_dim_size_to_factor": 2},
    "adamw mask": {"mask": {"kernel": True, "bias": False}, "weight_decay": 0.1},
    "chain clip": {"parts": (optim.clip(1.0), optim.adaptive_clip(), optim.lion())},
    "chain sam": {"parts": (optim.sam(opaque=False),)},
    "lbfgs plain": {"line_search": False},
    "lookahead adam": {"inner": optim.skip_nonfinite(optim.adam())},
    "masked pattern": {"inner": optim.adam(), "mask": None, "patterns": ("kernel",)},
    "muon rms": {"consistent_rms": 0.2},
    "rmsprop centered": {"centered": True, "momentum": 0.9},
    "sam alternating": {"opaque": False},
    "schedule_free sgd": {"adaptive": False},
    "skip_nonfinite accumulate": {"inner": optim.accumulate(optim.adam(), 2)},
}
MAKERS = {
    name: inspect.signature(each).parameters
    for name, each in vars(optim).items()
    if inspect.isfunction(each)
    and inspect.signature(each).return_annotation == "optax.GradientTransformationExtraArgs"
}
CASES = [*MAKERS, *FURTHER]


def options(case):
    """What the factory of a case is called with."""
    name = case.split()[0]
    needed = {
        key: REQUIRED[key]
        for key, each in MAKERS[name].items()
        if each.default is each.empty and key in REQUIRED
    }
    return {**needed, **OPTIONS.get(name, {}), **FURTHER.get(case, {})}


def make(case):
    """The transformation of a case."""
    chosen = options(case)
    parts = chosen.pop("parts", ())
    inner = [chosen.pop("inner")] if "patterns" in chosen else []
    return getattr(optim, case.split()[0])(*inner, *parts, *chosen.pop("patterns", ()), **chosen)


def loss(params):
    """A quadratic."""
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params)) / 2


def step(transformation, params, state):
    """One update, with what searches and curvature ask for."""
    value, gradients = jax.value_and_grad(loss)(params)
    return transformation.update(gradients, state, params, value=value, value_fn=loss)
