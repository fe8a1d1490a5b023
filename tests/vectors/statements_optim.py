"""The sentences of the vectors about optimizers, updates and schedules as tests."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax import optim

PARAMS = {"kernel": jnp.array([[1.0, 2.0], [3.0, 5.0]]), "bias": jnp.array([1.0, -1.0])}
GRADIENTS = {"kernel": jnp.array([[3.0, -1.0], [0.5, 2.0]]), "bias": jnp.array([0.0, 4.0])}


def once(transformation: Any, gradients: Any = GRADIENTS, params: Any = PARAMS) -> Any:
    return transformation.update(gradients, transformation.init(params), params)[0]


def alone(transformation: Any, gradients: list[float]) -> Any:
    return once(transformation, jnp.array(gradients), jnp.array(gradients))


def same(one: Any, two: Any, **tolerance: float) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, two)


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters
    return {name: each.default for name, each in parameters.items() if each.default is not each.empty}


def pair() -> None:
    for made in (optim.adam(), optim.clip(), optim.chain(optim.trace(0.9), optim.scale(-1.0))):
        init, update = made
        updates, state = update(GRADIENTS, init(PARAMS), PARAMS)
        assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)
        assert jax.tree.structure(state) == jax.tree.structure(init(PARAMS))


def state_order() -> None:
    """In the order of the chain, as in Optax; a part without numbers and moments has no leaf but its step."""
    state = optim.chain(optim.trace(0.5), optim.identity(), optim.scale(2.0)).init(PARAMS)
    assert isinstance(state, tuple)
    assert list(optim.hyperparams(state)) == ["decay", "scale"]
    assert float(optim.hyperparams((state[2],))["scale"]) == 2.0
    assert not jax.tree.leaves(optim.chain(optim.identity(), optim.identity()).init(PARAMS))


def apply_updates() -> None:
    params = {"half": jnp.ones(2, jnp.bfloat16), "count": jnp.array([3])}
    new = optim.apply_updates(params, {"half": jnp.full(2, 0.5, jnp.float32), "count": jnp.array([2.0])})
    assert (new["half"].dtype, new["count"].dtype) == (jnp.bfloat16, params["count"].dtype)
    assert (new["half"].tolist(), new["count"].tolist()) == ([1.5, 1.5], [5])


def containers() -> None:
    params = {"a": ({"b": jnp.ones(2)}, (), {}), "c": [jnp.zeros(())], "d": {}}
    chain = optim.chain(optim.clip_by_global_norm(1.0), optim.trace(0.9), optim.scale_by_adam())
    same(once(chain, params, params), jax.tree.map(jnp.sign, params), rtol=1e-4)


def rms_defaults() -> None:
    for factory in (optim.scale_by_rms, optim.scale_by_stddev):
        assert defaults(factory) == {"decay": 0.9, "eps": 1e-8, "initial_scale": 0.0}
    same(
        once(optim.scale_by_rms()),
        jax.tree.map(lambda g: g / jnp.sqrt(0.1 * g**2 + 1e-8), GRADIENTS),
        rtol=1e-5,
    )
    same(
        once(optim.scale_by_stddev()),
        jax.tree.map(lambda g: g / jnp.sqrt(0.1 * g**2 - (0.1 * g) ** 2 + 1e-8), GRADIENTS),
        rtol=1e-5,
    )


def radam_rho() -> None:
    """From b2, as in the paper (algorithm 2): with b2 = 0.9 the length passes 5 in step 6."""
    update = optim.scale_by_radam(0.0, 0.9, eps=0.0)
    state, steps = update.init(jnp.ones(())), []
    for _ in range(8):
        found, state = update.update(jnp.full((), 2.0), state)
        steps.append(float(found))
    t, limit = np.arange(1, 9), 2 / (1 - 0.9) - 1
    length = limit - 2 * t * 0.9**t / (1 - 0.9**t)
    root = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * np.maximum(length, 1))
    np.testing.assert_allclose(
        steps, np.where(length >= 5, np.sqrt(np.where(length >= 5, root, 1)), 2.0), rtol=1e-5
    )
    assert (length >= 5).tolist() == [False] * 5 + [True] * 3


def trust_ratio_defaults() -> None:
    assert defaults(optim.scale_by_trust_ratio) == {"min_norm": 0.0, "trust_coefficient": 1.0, "eps": 0.0}
    update = optim.scale_by_trust_ratio()
    assert once(update, jnp.array([3.0, 4.0]), jnp.array([0.0, 2.5])).tolist() == [1.5, 2.0]
    assert once(update, jnp.array([3.0, 4.0]), jnp.zeros(2)).tolist() == [3.0, 4.0]
    assert once(update, jnp.zeros(2), jnp.ones(2)).tolist() == [0.0, 0.0]


def clip_defaults() -> None:
    assert alone(optim.clip(), [-3.0, 1.5, 7.0]).tolist() == [-2.0, 1.5, 2.0]
    np.testing.assert_allclose(alone(optim.clip_by_global_norm(), [3.0, 4.0]), [0.6, 0.8], rtol=1e-6)


def centralize_rank() -> None:
    gradients = {"kernel": jnp.arange(12.0).reshape(2, 3, 2) ** 2, "bias": jnp.array([1.0, 3.0])}
    found = once(optim.centralize(), gradients, gradients)
    kernel = gradients["kernel"] - gradients["kernel"].mean((1, 2), keepdims=True)
    same(found, {"kernel": kernel, "bias": gradients["bias"]}, rtol=1e-5, atol=1e-5)


def noise_defaults() -> None:
    """As the paper has it (equation 1), eta / (1 + count)^gamma is the variance, not the deviation."""
    assert defaults(optim.add_noise) == {"eta": 0.01, "gamma": 0.55, "key": 0}
    assert {name: defaults(optim.noisy_sgd)[name] for name in ("eta", "gamma")} == {
        "eta": 0.01,
        "gamma": 0.55,
    }
    update, zeros = optim.add_noise(), jnp.zeros(20_000)
    state = update.init(zeros)
    for count in range(3):
        noise, state = update.update(zeros, state)
        np.testing.assert_allclose(np.var(noise), 0.01 / (1 + count) ** 0.55, rtol=0.05)


def schedule_count() -> None:
    update, state = optim.scale_by_schedule(lambda step: 10.0 + step), None
    state = update.init(jnp.ones(()))
    for expected in (10.0, 11.0, 12.0):
        found, state = update.update(jnp.ones(()), state)
        assert float(found) == expected


def lr_state() -> None:
    """Under its own name, positive, in the same place whatever the optimizer: rmsprop and noisy_sgd too."""
    made = (optim.sgd(0.25), optim.adam(0.25), optim.rmsprop(0.25, momentum=0.9), optim.noisy_sgd(0.25))
    for state in (each.init(PARAMS) for each in made):
        assert state.signature.names[0] == "learning_rate"
        assert float(state.values[0]) == float(optim.hyperparams(state)["learning_rate"]) == 0.25


def lr_schedule() -> None:
    found = once(optim.sgd(lambda step: 0.5 + step))
    same(found, jax.tree.map(lambda g: -0.5 * g, GRADIENTS))


def callable() -> None:
    for made in (
        optim.constant(0.1),
        optim.cosine_decay(0.1, 5),
        optim.exponential_decay(0.1),
        optim.linear_decay(0.1, steps=5),
        optim.polynomial_decay(0.1),
    ):
        np.testing.assert_allclose(made(0), 0.1, rtol=1e-6)
        np.testing.assert_allclose(jax.jit(made)(jnp.int32(3)), made(3), rtol=1e-6)
        assert jnp.shape(made(jnp.int32(3))) == ()


def exponential_defaults() -> None:
    made, oracle = optim.exponential_decay(0.1), optax.exponential_decay(0.1, 10, 0.95, staircase=False)
    for step in (0, 1, 5, 10, 33):
        np.testing.assert_allclose(made(step), oracle(step), rtol=1e-6)
