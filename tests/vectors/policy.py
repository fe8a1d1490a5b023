"""Where we differ from Axon on purpose: by operation and option, with the reason and OUR expected value."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
from ops import rows_layers_norms as norms
from ops import rows_layers_pools as pools
from ops import rows_layers_windows as windows
from ops import rows_losses as losses
from ops import rows_losses_margins as margins
from ops import rows_losses_real as real

from vectors import adapter_layers, adapter_loop, adapter_optim


@dataclass(frozen=True, kw_only=True)
class Policy:
    """One difference."""

    op: str
    """its name, or a pattern of names"""
    applies: Callable[[dict[str, Any]], bool]
    """whether a case, as it is written, is one of them"""
    reason: str
    expected: Callable[..., Any]
    """our value from an independent source, of its inputs and options; or what we raise"""
    wide: bool = False
    """whether the two are compared in float64, since the formula itself cancels in float32"""


def _strided_same(case: dict[str, Any]) -> bool:
    return case["kind"] == "numeric" and case["kwargs"].get("padding") == "same"


def _conv(x: Any, kernel: Any, bias: Any = 0.0, **kwargs: Any) -> np.ndarray:
    if kwargs.get("channels") == "first":
        x, kernel = adapter_layers.first_to_last(x), adapter_layers.kernel_to_last(kernel)
    found = windows.conv(x, kernel, bias, **adapter_layers.options(kwargs, feature_group_size="groups"))
    return np.moveaxis(found, -1, 1) if kwargs.get("channels") == "first" else found


def _pool(oracle: Callable[..., Any], **more: Any) -> Callable[..., Any]:
    def expected(x: Any, **kwargs: Any) -> np.ndarray:
        x = adapter_layers.first_to_last(x) if kwargs.get("channels") == "first" else x
        found = oracle(
            x, **adapter_layers.options(kwargs, kernel_size="window", window_dilations="dilation"), **more
        )
        return np.moveaxis(found, -1, 1) if kwargs.get("channels") == "first" else found

    return expected


def _instance_norm(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **kwargs: Any) -> Any:
    given = adapter_layers.options(kwargs, epsilon="eps", channel_index="axis")
    return norms.instance_norm(x, mean, var, gamma, beta, train=True, **given)


def _numeric(case: dict[str, Any]) -> bool:
    return case["kind"] == "numeric"


def _by_default(case: dict[str, Any]) -> bool:
    return case["kind"] == "numeric" and not case["kwargs"]


def _chain_of(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda case: tuple(each["name"] for each in case["kwargs"]["chain"]) == names


def _hard_sigmoid(x: Any) -> np.ndarray:
    return np.clip(x.astype(np.float64) / 6 + 0.5, 0, 1)


def _soft_margin(y: Any, p: Any, *, reduction: str = "none") -> np.ndarray:
    each = np.logaddexp(0, -y.astype(np.float64) * p)
    return losses.reduced(each if each.ndim < 2 else each.sum(-1), reduction)


def _cosine(y: Any, p: Any, *, axes: Any = (-1,), eps: float = 0.0, reduction: str = "none") -> np.ndarray:
    return losses.reduced(margins.cosine(y, p, axis=axes[0], eps=eps), reduction)


def _belief(params: Any, *gradients: Any, learning_rate: float = 1e-3, **moments: float) -> list[Any]:
    oracle = optax.adabelief(learning_rate, **{"eps": 0.0, "eps_root": 1e-16, **moments})
    return adapter_optim.path(oracle, params, *gradients)


def _belief_update(params: Any, *gradients: Any, chain: Any) -> dict[Any, Any]:
    oracle = optax.scale_by_belief(**{"eps": 0.0, "eps_root": 1e-16, **chain[0]["kwargs"]})
    state, found = oracle.init(params), {}
    for step, gradient in enumerate(gradients):
        updates, state = oracle.update(gradient, state, params)
        found[step] = (updates, (state._asdict(),))
    return found


def _rectified(
    *gradients: Any,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    eps_root: float = 0.0,
    threshold: float = 5.0,
) -> dict[Any, Any]:
    """Algorithm 2 of the paper in float64: by step the directions, and the moments after it."""
    mu = nu = jax.tree.map(lambda g: np.zeros(np.shape(g)), gradients[0])
    limit, found = 2 / (1 - b2) - 1, {}
    for t, gradient in enumerate(gradients, 1):
        mu = jax.tree.map(lambda old, g: b1 * old + (1 - b1) * np.float64(g), mu, gradient)
        nu = jax.tree.map(lambda old, g: b2 * old + (1 - b2) * np.float64(g) ** 2, nu, gradient)
        length = limit - 2 * t * b2**t / (1 - b2**t)
        updates = jax.tree.map(lambda m, t=t: m / (1 - b1**t), mu)
        if length >= threshold and length > 4:
            root = np.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
            updates = jax.tree.map(
                lambda m, v, t=t, r=root: r * m / (np.sqrt(v / (1 - b2**t) + eps_root) + eps), updates, nu
            )
        found[t - 1] = (updates, ({"mu": mu, "nu": nu, "count": t},))
    return found


def _radam(params: Any, *gradients: Any, learning_rate: float = 1e-3, **moments: float) -> list[Any]:
    passed = [params]
    for updates, _ in _rectified(*gradients, **moments).values():
        passed.append(jax.tree.map(lambda p, u: p - learning_rate * u, passed[-1], updates))
    return passed[1:]


_HARD = "the slope of jax.nn, Flax and PyTorch; Axon's by slope=0.2, offset=0.2"
_RADAM = "the length of the moving average by the decay of the squares, as in RAdam's paper and in Optax"
_BELIEF = "the squared distance to the running mean, as in AdaBelief's paper (algorithm 2) and in Optax"
_WINDOWS = "windows that cover all inputs where sizes do not divide, as in PyTorch"
_SAME = "same padding takes the stride into account, as in XLA, JAX and TensorFlow"


def _has_nan(case: dict[str, Any]) -> bool:
    return any("nan" in each["data"] for each in case["inputs"])


POLICIES: tuple[Policy, ...] = (
    Policy(
        op="loss_scale.dynamic.run",
        applies=_has_nan,
        reason="NaN is an overflow too: a scale that grows on it never recovers",
        expected=adapter_loop.run_by_hand,
    ),
    Policy(op="layers.conv", applies=_strided_same, reason=_SAME, expected=_conv),
    Policy(op="layers.max_pool", applies=_strided_same, reason=_SAME, expected=_pool(windows.max_pool)),
    Policy(
        op="layers.avg_pool",
        applies=_strided_same,
        reason=_SAME,
        expected=_pool(pools.avg_pool, count_padding=True),
    ),
    Policy(op="layers.lp_pool", applies=_strided_same, reason=_SAME, expected=_pool(pools.lp_pool)),
    *(
        Policy(op=f"layers.adaptive_{kind}_pool", applies=_numeric, reason=_WINDOWS, expected=_pool(oracle))
        for kind, oracle in pools.ADAPTIVE.items()
    ),
    Policy(
        op="layers.instance_norm",
        applies=lambda case: case["kwargs"].get("mode") == "train",
        reason="the running statistics keep their shape: a mean over the batch, as in PyTorch",
        expected=_instance_norm,
    ),
    Policy(
        op="layers.mask",
        applies=_numeric,
        reason="a mask is true where a step counts, as in Keras",
        expected=lambda x, eos_token: x != eos_token,
    ),
    Policy(
        op="layers.dense",
        applies=lambda case: case["kind"] == "raises" and len(case["inputs"][0]["shape"]) == 1,
        reason="one example without a batch axis is a product like any other, as in jax.numpy.matmul",
        expected=lambda x, kernel, bias: x @ kernel + bias,
    ),
    Policy(op="activations.hard_sigmoid", applies=_by_default, reason=_HARD, expected=_hard_sigmoid),
    Policy(
        op="activations.hard_silu",
        applies=_by_default,
        reason=_HARD,
        expected=lambda x: x * _hard_sigmoid(x),
    ),
    Policy(
        op="losses.binary_cross_entropy",
        applies=lambda case: {"positive_weight", "negative_weight"} & case["kwargs"].keys(),
        reason="a weighted loss is reduced as any other is",
        expected=losses.averaged(losses.binary_elements),
    ),
    Policy(
        op="losses.huber",
        applies=_numeric,
        reason="one value an example, as of every loss here",
        expected=losses.averaged(real.huber),
    ),
    Policy(
        op="losses.soft_margin",
        applies=_numeric,
        reason="one value an example: the sum is over the last axis rather than over the examples",
        expected=_soft_margin,
    ),
    Policy(
        op="losses.cosine_similarity",
        applies=_numeric,
        reason="a loss is less where the prediction is better: the negative similarity",
        expected=_cosine,
    ),
    Policy(
        op="initializers.*",
        applies=lambda case: case["kind"] == "distribution" and len(case["kwargs"]["shape"]) < 2,
        reason="a vector has no fan in and out: jax.nn.initializers and Flax refuse it too",
        expected=lambda **kwargs: ValueError,
    ),
    Policy(op="optimizers.adabelief", applies=_numeric, reason=_BELIEF, expected=_belief),
    Policy(op="optimizers.radam", applies=_numeric, reason=_RADAM, expected=_radam, wide=True),
    Policy(op="updates.run", applies=_chain_of("scale_by_belief"), reason=_BELIEF, expected=_belief_update),
    Policy(
        op="updates.run",
        applies=_chain_of("scale_by_radam"),
        reason=_RADAM,
        expected=lambda params, *gradients, chain: _rectified(*gradients, **chain[0]["kwargs"]),
        wide=True,
    ),
)


def policy_of(case: dict[str, Any]) -> Policy | None:
    """The difference that a case is an instance of."""
    found = [each for each in POLICIES if fnmatch.fnmatch(case["op"], each.op) and each.applies(case)]
    return found[0] if found else None
