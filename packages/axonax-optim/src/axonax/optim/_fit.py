"""Fit a function to data, with the errors of its parameters."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from axonax.optim._bounds import Box, box, free
from axonax.optim._checks import is_number, options
from axonax.optim._inputs import as_start
from axonax.optim._minimize import as_method, minimize
from axonax.optim._norms import global_norm
from axonax.optim._precision import epsilon, rounding
from axonax.optim._problem import hashable, raveling, vector
from axonax.optim._result import STEEP, STEP, VALUE, Result, Tolerance, is_known
from axonax.tensor import trees
from axonax.tensor.precision import promoted

PyTree = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Fit:
    """What `fit` found; a pytree.

    ``covariance`` is a matrix in the order of ``jax.flatten_util.ravel_pytree(params)``, infinite where the
    data do not determine the parameters; ``standard_errors`` are the roots of its diagonal, in the
    structure of ``params``; ``residual`` is ``ydata - f(xdata, params)``; ``result`` is that of
    `minimize`, whose value is half the sum of squares of the residuals over ``sigma``.
    """

    params: PyTree
    covariance: jax.Array
    standard_errors: PyTree
    residual: jax.Array
    result: Result

    @property
    def converged(self) -> Any:
        """Whether a tolerance was met."""
        return self.result.converged

    @property
    def reason(self) -> Any:
        """Why it ended, in words."""
        return self.result.reason

    def __str__(self) -> str:
        """Each parameter with its standard error, and why the search ended."""
        if not is_known(self.covariance) or self.covariance.ndim > 2:
            return repr(self)
        errors = trees.flatten(self.standard_errors)
        lines = [
            f"{path or 'parameter'}: {np.array2string(np.asarray(value), precision=6)} "
            f"± {np.array2string(np.asarray(errors[path]), precision=3)}"
            for path, value in trees.flatten(self.params).items()
        ]
        return "\n".join([*lines, str(self.result)])


@options
def fit(
    f: Callable[[Any, PyTree], Any],
    xdata: PyTree,
    ydata: Any,
    p0: PyTree,
    *,
    sigma: Any = None,
    absolute_sigma: bool = False,
    bounds: Any = None,
    method: Any = "levenberg_marquardt",
    max_steps: int = 1000,
    tolerance: float | Tolerance | None = None,
) -> Fit:
    r"""Fit ``f(xdata, params)`` to ``ydata`` by least squares, as ``scipy.optimize.curve_fit`` does.

    .. math::
        \min_p \tfrac12 r^T \Sigma^{-1} r, \quad r = y - f(x, p), \quad
        \mathrm{cov}(p) = (J^T \Sigma^{-1} J)^{-1} s^2

    with :math:`\Sigma` from ``sigma``, the Jacobian :math:`J` at the minimum, and :math:`s^2` the sum of
    squares by degrees of freedom, or 1 with ``absolute_sigma``. Works under ``jit``, ``vmap`` and ``grad``.

    Args:
        f: ``(xdata, params) -> array`` of the shape of ``ydata``.
        xdata: whatever ``f`` takes, a pytree of arrays.
        ydata: the observations.
        p0: where to start: any pytree of floating-point arrays or numbers.
        sigma: standard deviations of ``ydata``, a number or of its shape; or for ``ydata`` of shape
            ``(n,)`` their covariance ``(n, n)``; ``None``: all alike.
        absolute_sigma: whether ``sigma`` is known in absolute terms, not only up to a factor.
        bounds: ``(lower, upper)``, as for `minimize`.
        method: as for `minimize`; those for least squares know the problem best.
        max_steps: the most updates to make.
        tolerance: as for `minimize`; ``None``: as near as the precision of the parameters allows.

    Returns:
        a `Fit`: ``params``, ``covariance``, ``standard_errors``, ``residual``, ``converged``, ``reason``.

    Raises:
        ValueError: ``ydata`` or ``sigma`` is not finite, ``sigma`` not positive or of another shape; ``f``
            does not return the shape of ``ydata``; whatever `minimize` refuses.

    >>> x = jnp.linspace(0.0, 1.0, 20)
    >>> found = fit(lambda x, p: p["a"] * jnp.exp(-p["b"] * x), x, 2 * jnp.exp(-3 * x), {"a": 1.0, "b": 1.0})
    >>> {name: round(float(value), 3) for name, value in found.params.items()}, found.converged
    ({'a': 2.0, 'b': 3.0}, True)
    """
    p0 = as_start("fit", "p0", p0)
    sides = box("fit", bounds, p0, "p0")
    ydata = _observations(ydata)
    sigma, correlated = _deviations(sigma, ydata)
    chosen = as_method(method)
    residuals = _Residuals(hashable(f), correlated)
    shape = jax.eval_shape(f, xdata, p0)
    if not isinstance(shape, jax.ShapeDtypeStruct) or shape.shape != ydata.shape:
        came = getattr(shape, "shape", f"a {type(shape).__name__}")
        raise ValueError(f"fit: f must return the shape of ydata, {ydata.shape}, got {came}")
    precise = tolerance is None
    if tolerance is None:
        near = epsilon(raveling(p0)[0]) ** (2 / 3)
        tolerance = Tolerance(gradient=None, value=near**1.5, step=near, relative=True)
    objective = _Objective(residuals, not chosen.residual)
    data = (xdata, ydata, sigma)
    result = minimize(
        objective, p0, chosen, args=data, bounds=bounds, max_steps=max_steps, tolerance=tolerance
    )
    found = _spread(residuals, bool(absolute_sigma), result.x, data)
    code = _judged(residuals, result, data, sides) if precise else result.code
    return Fit(
        params=result.x,
        covariance=found.covariance,
        standard_errors=found.errors,
        residual=ydata - f(xdata, result.x),
        result=dataclasses.replace(result, value=found.value, code=code),
    )


@dataclass(frozen=True)
class _Residuals:
    """Residuals of unit variance."""

    function: Callable[..., Any]
    correlated: bool

    def __call__(self, params: PyTree, xdata: PyTree, ydata: jax.Array, sigma: Any) -> Any:
        return self.whiten(self.function(xdata, params) - ydata, sigma)

    def whiten(self, array: jax.Array, sigma: Any) -> jax.Array:
        """``array`` in units of its standard deviations."""
        if self.correlated:
            return jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(sigma), array, lower=True)
        return jnp.atleast_1d(array if sigma is None else array / sigma)


@dataclass(frozen=True)
class _Objective:
    """The residuals and one that is constant, or half the sum of the squares of all.

    The constant makes a change of the value that lies below the rounding of ``ydata`` a small share of it.
    """

    residuals: _Residuals
    summed: bool

    def __call__(self, params: PyTree, xdata: PyTree, ydata: jax.Array, sigma: Any) -> Any:
        residual = self.residuals(params, xdata, ydata, sigma)
        floor = epsilon(ydata) ** 0.5 * global_norm(self.residuals.whiten(ydata, sigma))
        both = jnp.append(residual, floor.astype(residual.dtype))
        return jnp.vdot(both, both) / 2 if self.summed else both


class _Linear(NamedTuple):
    """The residuals around a point, and ``jacobian = left @ diag(singular) @ right * size``."""

    flat: jax.Array
    residual: jax.Array
    jacobian: jax.Array
    left: jax.Array
    singular: jax.Array
    right: jax.Array
    size: jax.Array

    @property
    def is_known(self) -> jax.Array:
        """Which combinations of parameters the data determine."""
        least = epsilon(self.flat) * max(self.residual.size, self.flat.size)
        return self.singular > least * self.singular[0]


def _linearized(residuals: _Residuals, params: PyTree, data: Any, sides: Box | None = None) -> _Linear:
    """The residuals around ``params``, without what ``sides`` hold where it is."""
    flat, unravel = raveling(params)
    residual = jnp.ravel(residuals(params, *data))
    jacobian = jax.jacfwd(lambda flat: jnp.ravel(residuals(unravel(flat), *data)))(flat)
    if sides is not None:
        bounds = Box(vector(sides.lower), vector(sides.upper))
        jacobian = jnp.where(free(bounds, flat, residual @ jacobian)[None, :], jacobian, 0)
    # Columns of one length: whether the data determine a parameter does not hang on its unit.
    size = jnp.linalg.norm(jacobian, axis=0)
    size = jnp.where(size > 0, size, 1)
    left, singular, right = jnp.linalg.svd(jacobian / size[None, :], full_matrices=False)
    return _Linear(flat, residual, jacobian, left, singular, right, size)


@functools.partial(jax.jit, static_argnums=0)
def _judged(residuals: _Residuals, result: Result, data: Any, sides: Box | None) -> jax.Array:
    """The code of ``result``; `STEEP` where it converged by value or step, but the gradient is not zero.

    That is, where the linear model promises more than a share of the sum of squares, or of what rounds in
    the observations and in the parameters.
    """
    linear = _linearized(residuals, result.x, data, sides)
    promised = jnp.sum(jnp.where(linear.is_known, linear.residual @ linear.left, 0) ** 2)
    own = vector(jax.tree.map(lambda leaf: jnp.abs(leaf) * epsilon(leaf), result.x))
    rounded = jnp.abs(linear.jacobian) @ own
    _, ydata, sigma = data
    level = global_norm(residuals.whiten(ydata, sigma)) * epsilon(ydata) ** 0.5
    total = jnp.vdot(linear.residual, linear.residual) + level**2
    steep = promised > rounding(total) + jnp.vdot(rounded, rounded)
    settled = (result.code == VALUE) | (result.code == STEP)
    return jnp.where(settled & steep, STEEP, result.code)


class _Spread(NamedTuple):
    """Half the sum of squares, covariance and standard errors at the minimum."""

    value: jax.Array
    covariance: jax.Array
    errors: PyTree


@functools.partial(jax.jit, static_argnums=(0, 1))
def _spread(residuals: _Residuals, absolute: bool, params: PyTree, data: Any) -> _Spread:
    """How well the data determine the parameters."""
    linear = _linearized(residuals, params, data)
    flat, residual, size = linear.flat, linear.residual, linear.size
    known = linear.is_known[-1]
    factor = linear.right.T / jnp.where(linear.singular > 0, linear.singular, 1)[None, :] / size[:, None]
    freedom = residual.size - flat.size
    if not absolute:
        factor = factor * jnp.sqrt(jnp.vdot(residual, residual) / max(freedom, 1))
    determined = known if freedom > 0 or (absolute and freedom == 0) else jnp.asarray(False)
    covariance = jnp.where(determined, factor @ factor.T, jnp.inf)
    # Not the root of the diagonal: squares of small numbers underflow.
    errors = jnp.where(determined, jax.vmap(global_norm)(factor), jnp.inf)
    return _Spread(jnp.vdot(residual, residual) / 2, covariance, raveling(params)[1](errors))


def _observations(ydata: Any) -> jax.Array:
    given = _numbers("ydata", ydata)
    observed: jax.Array = given.astype(promoted(given.dtype, jnp.float32))
    if observed.size == 0:
        raise ValueError(f"fit: ydata must hold observations, got shape {observed.shape}")
    _refuse("ydata", "finite", observed, jnp.isfinite(observed))
    return observed


def _deviations(sigma: Any, ydata: jax.Array) -> tuple[Any, bool]:
    """``sigma`` as an array, and whether it is a covariance."""
    if sigma is None:
        return None, False
    sigma = _numbers("sigma", sigma).astype(ydata.dtype)
    correlated = ydata.ndim == 1 and sigma.shape == ydata.shape * 2
    if not correlated and sigma.shape not in ((), ydata.shape):
        raise ValueError(
            f"fit: sigma must be a number, of the shape of ydata, {ydata.shape}, or for one axis a square "
            f"covariance, got shape {sigma.shape}"
        )
    if correlated:
        _refuse("sigma", "positive definite", sigma, jnp.isfinite(jnp.linalg.cholesky(sigma)))
    else:
        _refuse("sigma", "positive and finite", sigma, jnp.isfinite(sigma) & (sigma > 0))
    return sigma, correlated


def _numbers(name: str, value: Any) -> jax.Array:
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fit: {name} must be an array of real numbers: {error}") from error
    if not is_number(array):
        raise ValueError(f"fit: {name} must be an array of real numbers, got {array.dtype}")
    return array


def _refuse(name: str, wanted: str, array: jax.Array, good: jax.Array) -> None:
    """An error about the first element that is not ``good``; traced values pass."""
    if isinstance(good, jax.core.Tracer):
        return
    places = np.argwhere(~np.asarray(good))
    if len(places):
        index = tuple(int(each) for each in places[0])
        where = f"{float(array[index]):g} at {name}{list(index) if index else ''}"
        raise ValueError(f"fit: {name} must be {wanted}, got {where}")
