"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from axonax.optim._checks import Number, Schedule, given, options, whole
from axonax.optim._dtypes import like
from axonax.optim._live import descend, live
from axonax.optim._meshes import partitioned
from axonax.optim._rules import is_placeholder
from axonax.optim._slices import by_slice

PyTree = Any


class SoapState(NamedTuple):
    """Steps, the moments (the second one in the eigenbasis) and the sides of each matrix."""

    steps: jax.Array
    mu: PyTree
    nu: PyTree
    sides: PyTree


class Side(NamedTuple):
    """The running mean of ``G G^T`` (or ``G^T G``) and an orthogonal basis near its eigenvectors."""

    mean: jax.Array
    basis: jax.Array


@options
def soap(
    learning_rate: Number | Schedule = 3e-3,
    *,
    b1: Number | Schedule = 0.95,
    b2: Number | Schedule = 0.95,
    b3: Number | Schedule | None = None,
    eps: Number | Schedule = 1e-8,
    weight_decay: Number | Schedule = 0.01,
    mask: Any = None,
    frequency: int = 10,
    max_size: int = 10000,
) -> optax.GradientTransformationExtraArgs:
    """SOAP: Adam on matrices that are rotated into the eigenbasis of their gradients' second moments.

    ``L = b3 L + (1 - b3) G G^T``, ``R`` likewise of ``G^T G``; ``Q_L``, ``Q_R`` their eigenvectors. With
    ``G' = Q_L^T G Q_R`` and ``M' = Q_L^T M Q_R``, Adam's direction of ``M'`` and ``G'^2`` is rotated back.

    The first step is Adam's, and its gradient makes the first bases; they follow by one power iteration (a QR
    decomposition of ``L Q_L``) after every ``frequency`` steps. Kernels of more than two axes are matrices of
    all axes but the last, by the last. Vectors, and sides longer than ``max_size``, are not rotated.

    Args:
        learning_rate: a number, or a schedule ``step -> number``; so for every other live number here.
        b1: as in `adam`.
        b2: as in `adam`.
        b3: share of the means ``L`` and ``R`` that is kept, in [0, 1); ``None`` for ``b2``.
        eps: as in `adam`.
        weight_decay: as in `adamw`.
        mask: as in `adamw`.
        frequency: steps between two renewals of the bases.
        max_size: the longest side that is rotated.

    Returns:
        an Optax transformation; ``update`` needs ``params``.

    Raises:
        ValueError: a number lies outside its range, or an option is unknown.

    Vyas et al., "SOAP: improving and stabilizing Shampoo using Adam", 2024, algorithms 3 and 4. The authors'
    code makes no step of the first gradient.

    >>> optimizer, params = soap(0.1, weight_decay=0.0), jnp.zeros((2, 2))
    >>> updates, _ = optimizer.update(jnp.diag(jnp.array([3.0, -2.0])), optimizer.init(params), params)
    >>> [round(float(update), 3) for update in jnp.diag(updates)]
    [-0.1, 0.1]
    """
    moments = given(b1=b1, b2=b2, b3=b3, eps=eps, weight_decay=weight_decay)
    static = {
        "frequency": whole("soap", "frequency", frequency),
        "max_size": whole("soap", "max_size", max_size),
    }
    return live("soap", _soap, dict(learning_rate=learning_rate, **moments), mask=mask, **static)


def _soap(
    *, learning_rate: Any, weight_decay: Any, mask: Any, frequency: int, max_size: int, **moments: Any
) -> Any:
    rotated = functools.partial(_scale_by_soap, frequency=frequency, max_size=max_size)
    decay = optax.add_decayed_weights(weight_decay, mask)
    return descend(learning_rate, moments=partitioned(rotated, **moments), decay=decay)


def _scale_by_soap(
    *, b1: Any, b2: Any, eps: Any, frequency: int, max_size: int, b3: Any = None
) -> optax.GradientTransformation:
    share = b2 if b3 is None else b3

    def init(params: PyTree) -> SoapState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        # Sides are no copies of the parameters, which is what optax.tree.map_params asks for.
        sides = (
            jnp.zeros(())
            if is_placeholder(params)
            else jax.tree.map(lambda leaf: _sides(leaf, max_size), params)
        )
        return SoapState(jnp.zeros((), jnp.int32), zeros, zeros, sides)

    def begin(gradients: PyTree, sides: PyTree, nu: PyTree) -> tuple[PyTree, PyTree]:
        sides = jax.tree.map(lambda _, sides: _turned(sides, _eigenvectors), gradients, sides)
        squares = jax.tree.map(lambda leaf, sides: (1 - b2) * _rotate(leaf, sides) ** 2, gradients, sides)
        return sides, jax.tree.map(like, squares, nu)

    def iterate(gradients: PyTree, sides: PyTree, nu: PyTree) -> tuple[PyTree, PyTree]:
        return jax.tree.map(lambda _, sides: _turned(sides, _iterated), gradients, sides), nu

    def update(updates: PyTree, state: SoapState, params: PyTree = None) -> tuple[PyTree, SoapState]:
        count = optax.safe_increment(state.steps)
        sides = jax.tree.map(lambda leaf, sides: _averaged(leaf, sides, share), updates, state.sides)
        mu = optax.tree.update_moment(updates, state.mu, b1, 1)
        rotated = jax.tree.map(_rotate, updates, sides)
        nu = optax.tree.update_moment_per_elem_norm(rotated, state.nu, b2, 2)
        ahead = jax.tree.map(_rotate, optax.tree.bias_correction(mu, b1, count), sides)
        squares = optax.tree.bias_correction(nu, b2, count)
        adam = jax.tree.map(lambda mean, square: mean / (jnp.sqrt(square) + eps), ahead, squares)
        steps = jax.tree.map(lambda leaf, sides: _rotate(leaf, sides, back=True), adam, sides)
        # In the basis of its own a gradient has rounding beside its singular values, which Adam would blow
        # up: bases are of earlier gradients, and those of the first serve from the second on.
        due = (state.steps % frequency == 0).astype(jnp.int32)
        branches = [lambda _, *same: same, iterate, begin]
        sides, nu = jax.lax.switch(jnp.where(state.steps == 0, 2, due), branches, updates, sides, nu)
        return steps, SoapState(count, mu, nu, sides)

    return by_slice(optax.GradientTransformation(init, update))


def _sides(leaf: Any, max_size: int) -> dict[str, Side]:
    if leaf.ndim < 2:
        return {}
    sizes = {"left": math.prod(leaf.shape[:-1]), "right": leaf.shape[-1]}
    return {
        name: Side(jnp.zeros((size, size), leaf.dtype), jnp.eye(size, dtype=leaf.dtype))
        for name, size in sizes.items()
        if size <= max_size
    }


def _averaged(leaf: Any, sides: dict[str, Side], share: Any) -> dict[str, Side]:
    gradient, found = _matrix(leaf), {}
    for name, side in sides.items():
        square = _dot(gradient, gradient.T) if name == "left" else _dot(gradient.T, gradient)
        found[name] = Side(share * side.mean + (1 - share) * square, side.basis)
    return found


def _turned(sides: dict[str, Side], turn: Any) -> dict[str, Side]:
    """``sides`` with the bases that ``turn`` makes of their means and bases."""
    return {name: Side(side.mean, turn(*side)) for name, side in sides.items()}


def _eigenvectors(mean: Any, basis: Any) -> Any:
    # The largest first: another order is no fixed point of the iteration.
    return jnp.linalg.eigh(mean)[1][:, ::-1]


def _iterated(mean: Any, basis: Any) -> Any:
    return jnp.linalg.qr(_dot(mean, basis))[0]


def _rotate(leaf: Any, sides: dict[str, Side], *, back: bool = False) -> Any:
    """``Q_L^T leaf Q_R`` in the shape of ``leaf``, or ``Q_L leaf Q_R^T``."""
    if not sides:
        return leaf
    matrix = _matrix(leaf)
    if "left" in sides:
        basis = sides["left"].basis
        matrix = _dot(basis if back else basis.T, matrix)
    if "right" in sides:
        basis = sides["right"].basis
        matrix = _dot(matrix, basis.T if back else basis)
    return matrix.reshape(leaf.shape)


def _matrix(leaf: Any) -> Any:
    return leaf.reshape(-1, leaf.shape[-1]) if leaf.ndim > 1 else leaf


def _dot(left: Any, right: Any) -> Any:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
