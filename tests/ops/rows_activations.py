"""Rows of ``axonax.tensor.activations``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import REDUCTION, Bound, Case, OpRow, case

_RANDOM = np.random.default_rng(11)
GENERIC = np.round(_RANDOM.normal(size=(3, 5)) * 2, 2) + 0.013
SWEEP = np.concatenate(
    [np.linspace(-12, 12, 120), np.geomspace(1e-6, 80, 40), -np.geomspace(1e-6, 80, 40), [0, 1, 1e4, -1e4]]
)
EDGES = np.array([0.0, -0.0, 1e-30, -1e-30, 1e-40, 3.0, -3.0, 6.0, 40.0, -40.0, 90.0, -90.0, 1e4, -1e4])
SCALAR, EMPTY = np.array(0.7), np.zeros((0, 3))
MASK = np.array([[True, False, True, True, False], [False] * 5, [True] * 5])

_erfc = np.vectorize(math.erfc, otypes=[np.float64])
_tanh = np.tanh


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def gelu(x: np.ndarray, approximate: bool = False) -> np.ndarray:
    if approximate:
        # (1 + tanh(u)) / 2 is sigmoid(2 u), without the cancellation.
        return x * sigmoid(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return 0.5 * x * _erfc(-x / np.sqrt(2))


def elu(x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def logsumexp(x: np.ndarray, axis: int = -1, where: Any = True, keepdims: bool = False) -> np.ndarray:
    x = np.where(where, x, -np.inf)
    top = np.max(x, axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    found = np.log(np.sum(np.exp(x - top), axis, keepdims=True)) + top
    return found if keepdims else np.squeeze(found, axis)


def softmax(x: np.ndarray, axis: int = -1, where: Any = True) -> np.ndarray:
    total = logsumexp(x, axis, where, keepdims=True)
    return np.where(where & np.isfinite(total), np.exp(x - np.where(np.isfinite(total), total, 0)), 0.0)


def log_softmax(x: np.ndarray, axis: int = -1, where: Any = True) -> np.ndarray:
    total = logsumexp(x, axis, where, keepdims=True)
    return np.where(where & np.isfinite(total), x - np.where(np.isfinite(total), total, 0), -np.inf)


def standardize(x: np.ndarray, axis: int = -1, eps: float = 1e-5) -> np.ndarray:
    return (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + eps)


def squareplus(x: np.ndarray, b: float = 4.0) -> np.ndarray:
    """For negative x the sum cancels, its conjugate does not."""
    root = np.hypot(x, np.sqrt(b))
    return np.where(x > 0, (x + root) / 2, b / 2 / (root + np.abs(x)))


def sparse_plus(x: np.ndarray) -> np.ndarray:
    return np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4))


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.split(x, 2, axis=-1))  # type: ignore[return-value]


def row(name: str, formula: str, oracle: Callable[..., Any], **rest: Any) -> OpRow:
    """A row over `GENERIC`, `SWEEP`, a scalar and nothing, unless ``cases`` are given."""
    variants = rest.pop("variants", ({},))
    generic = rest.pop("generic", GENERIC)
    cases: tuple[Case, ...] = tuple(case(generic, **options) for options in variants)
    cases += (*(case(SWEEP, **options) for options in variants), case(SCALAR), case(EMPTY))
    given = {
        "cases": cases,
        "edges": (case(EDGES),),
        "smooth": len(variants),
        "oracle_name": "closed form in float64",
        "peers": "jax.nn, torch",
        **rest,
    }
    return OpRow(name=f"activations.{name}", formula=formula, oracle=oracle, **given)


def along(name: str, formula: str, oracle: Callable[..., Any], *, masked: bool = True, **rest: Any) -> OpRow:
    """A row of a function over an axis."""
    large = np.array([[1e4, 0.0, -1e4, 1e4, 9999.0], [0.0] * 5, [-1e4] * 5])
    cases = [case(GENERIC), case(GENERIC, axis=0), case(large), case(np.zeros((0, 3)))]
    edges = [case(large)]
    if masked:
        cases.append(case(GENERIC, where=MASK))
        edges.append(case(GENERIC, where=MASK))
    given = {
        "cases": tuple(cases),
        "edges": tuple(edges),
        "oracle_name": "shifted sum in float64",
        "peers": "jax.nn, torch",
        "bound": REDUCTION,
        **rest,
    }
    return OpRow(name=f"activations.{name}", formula=formula, oracle=oracle, **given)


def gradient_at_zero(value: float) -> Callable[[Any], None]:
    """The law that the derivative at 0 is ``value``."""

    def law(op: Any) -> None:
        assert jax.grad(op)(0.0) == value

    law.__name__ = f"gradient_at_zero_is_{value}"
    return law


def nothing_allowed(value: float) -> Callable[[Any], None]:
    """The law that a row of which nothing is allowed is ``value`` with gradient 0."""

    def law(op: Any) -> None:
        x, where = jnp.ones((2, 3)), jnp.array([[True, True, False], [False] * 3])
        cotangent = jnp.where(where, 1.0, 0.0)
        result, pull = jax.vjp(lambda x: op(x, where=where), x)
        assert (np.asarray(result)[1] == value).all()
        assert (np.asarray(pull(cotangent)[0])[1] == 0).all()

    law.__name__ = f"nothing_allowed_is_{value}"
    return law


def masked_by_infinity(op: Any) -> None:
    """A logit of -inf takes no share and gets no gradient."""
    x = jnp.array([1.0, -jnp.inf, 2.0])
    found, pull = jax.vjp(op, x)
    np.testing.assert_allclose(found[jnp.array([0, 2])], op(x[jnp.array([0, 2])]), rtol=1e-6)
    assert np.isfinite(pull(jnp.array([1.0, 0.0, 0.0]))[0]).all()


_TAIL = "its argument in the tail is rounded in float32: exp(-x^2/2) turns half an ulp of x into x^2/2 ulp"

ROWS: tuple[OpRow, ...] = (
    row(
        "celu",
        "max(x, 0) + min(0, alpha (exp(x / alpha) - 1))",
        lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        variants=({}, {"alpha": 0.5}),
        torch="F.celu(x, alpha)",
    ),
    row(
        "elu",
        "x if x > 0 else alpha (exp(x) - 1)",
        elu,
        variants=({}, {"alpha": 0.5}),
        torch="F.elu(x, alpha)",
    ),
    row("exp", "exp(x)", np.exp, torch="torch.exp(x)", edges=(case(EDGES[:9]),)),
    row(
        "gelu",
        "x Phi(x), Phi the normal distribution; or its tanh approximation",
        gelu,
        variants=({"approximate": False}, {"approximate": True}),
        bound=Bound(4, absolute=2e-7, reason=_TAIL),
        torch="F.gelu(x, approximate='tanh' if approximate else 'none')",
    ),
    row(
        "glu",
        "a sigmoid(b), x = [a, b]",
        lambda x, axis=-1: _halves(x)[0] * sigmoid(_halves(x)[1]),
        cases=(case(GENERIC[:, :4]), case(SWEEP.reshape(-1, 2)), case(np.zeros((0, 2)))),
        edges=(case(EDGES),),
        torch="F.glu(x, axis)",
    ),
    row(
        "hard_sigmoid",
        "min(max(slope x + offset, 0), 1)",
        lambda x, slope=1 / 6, offset=0.5: np.clip(slope * x + offset, 0, 1),
        variants=({}, {"slope": 0.2, "offset": 0.2}),
        bound=Bound(4, absolute=1e-7, reason="x + 3 cancels near -3"),
        torch="F.relu6(6 * (slope * x + offset)) / 6",
    ),
    row(
        "hard_silu",
        "x hard_sigmoid(x)",
        lambda x, slope=1 / 6, offset=0.5: x * np.clip(slope * x + offset, 0, 1),
        variants=({}, {"slope": 0.2, "offset": 0.5}),
        bound=Bound(4, absolute=3e-7, reason="x + 3 cancels near -3"),
        torch="x * F.relu6(6 * (slope * x + offset)) / 6",
    ),
    row("hard_tanh", "min(max(x, -1), 1)", lambda x: np.clip(x, -1, 1), torch="F.hardtanh(x)"),
    row(
        "leaky_relu",
        "x if x > 0 else negative_slope x",
        lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
        variants=({}, {"negative_slope": 0.5}),
        torch="F.leaky_relu(x, negative_slope)",
    ),
    row("linear", "x", lambda x: x, torch="x * 1", peers="Keras, torch"),
    row("log_sigmoid", "-log(1 + exp(-x))", lambda x: -softplus(-x), torch="F.logsigmoid(x)"),
    along(
        "log_softmax",
        "x - logsumexp(x)",
        log_softmax,
        torch="F.log_softmax(x, axis)",
        bound=Bound(16, absolute=1e-6, relative=1e-6, reason="cancels where one class has all"),
        laws=(nothing_allowed(-np.inf),),
    ),
    along(
        "logsumexp",
        "log sum exp(x)",
        logsumexp,
        bound=Bound(16, absolute=1e-6, relative=1e-6, reason="the logarithm cancels near a sum of 1"),
        torch="torch.logsumexp(x, axis, keepdim=keepdims)",
    ),
    row("mish", "x tanh(softplus(x))", lambda x: x * np.tanh(softplus(x)), torch="F.mish(x)"),
    row("relu", "max(x, 0)", lambda x: np.maximum(x, 0), torch="F.relu(x)", laws=(gradient_at_zero(0.0),)),
    row(
        "relu6",
        "min(max(x, 0), 6)",
        lambda x: np.clip(x, 0, 6),
        torch="F.relu6(x)",
        laws=(gradient_at_zero(0.0),),
    ),
    row(
        "selu",
        "1.0507 (x if x > 0 else 1.6733 (exp(x) - 1))",
        lambda x: 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717),
        torch="F.selu(x)",
    ),
    row("sigmoid", "1 / (1 + exp(-x))", sigmoid, torch="torch.sigmoid(x)"),
    row("silu", "x sigmoid(x)", lambda x: x * sigmoid(x), torch="F.silu(x)"),
    along(
        "softmax",
        "exp(x) / sum exp(x)",
        softmax,
        torch="F.softmax(x, axis)",
        laws=(nothing_allowed(0.0), masked_by_infinity),
    ),
    row("softplus", "log(1 + exp(x))", softplus, torch="F.softplus(x)"),
    row("softsign", "x / (1 + |x|)", lambda x: x / (1 + np.abs(x)), torch="F.softsign(x)"),
    row(
        "sparse_plus",
        "0 if x <= -1, (x + 1)^2 / 4, x if x >= 1",
        sparse_plus,
        peers="jax.nn",
        bound=Bound(4, absolute=1e-7, reason="x + 1 cancels near -1"),
        no_torch="torch has none",
    ),
    row(
        "sparse_sigmoid",
        "min(max((x + 1) / 2, 0), 1)",
        lambda x: np.clip((x + 1) / 2, 0, 1),
        peers="jax.nn",
        bound=Bound(4, absolute=1e-7, reason="x + 1 cancels near -1"),
        no_torch="torch has none",
    ),
    row(
        "squareplus",
        "(x + sqrt(x^2 + b)) / 2",
        squareplus,
        variants=({}, {"b": 1.0}),
        peers="jax.nn",
        no_torch="torch has none",
    ),
    along(
        "standardize",
        "(x - mean) / sqrt(variance + eps)",
        standardize,
        masked=False,
        peers="jax.nn",
        cases=(case(GENERIC), case(GENERIC, axis=0)),
        edges=(case(np.ones((2, 3))),),
        no_torch="as layer_norm without parameters: see layers.layer_norm",
    ),
    row("tanh", "tanh(x)", np.tanh, torch="torch.tanh(x)"),
)
