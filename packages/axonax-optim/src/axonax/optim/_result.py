"""What `minimize` is asked to reach and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

PyTree = Any

RUNNING, GRADIENT, VALUE, STEP, LIMIT, NOT_FINITE, STALLED, STEEP = range(8)
REASONS = (
    "still running",
    "converged: the gradient norm is within its tolerance",
    "converged: the value changed by no more than its tolerance",
    "converged: the step is within its tolerance",
    "max_steps reached",
    "not finite: the objective or its gradient, one step beyond x",
    "no progress: no better point was found, x is as good as the precision allows",
    "no progress: the value hardly changes although its gradient is not zero, another start may lead further",
)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """When `minimize` has converged: as soon as one of these holds; ``None`` leaves a test out.

    ``gradient`` bounds the Euclidean norm of the gradient, ``value`` the change of the objective in one
    step, ``step`` the Euclidean norm of one step. With ``relative`` they are shares: of the gradient's
    norm at ``x0``, of the value, and of each element of ``x`` (the largest share counts).
    """

    gradient: float | None = 1e-6
    value: float | None = None
    step: float | None = None
    relative: bool = False


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class Result:
    """Where a minimization ended; a pytree, so it passes through ``jit`` and ``vmap``.

    ``x`` is the last point at which the objective was finite; ``value`` and ``gradient_norm`` belong to it;
    ``steps`` counts the updates that led there, ``evaluations`` the points at which the objective was
    evaluated on the way (with its gradient, at most once each; what an optimizer evaluates within its update,
    as SAM does, is not counted). Where the optimizer keeps an average (schedule-free, EMA, SWA, lookahead),
    ``x`` is `evaluation_params`, unless a minimum without noise was reached before: callback and history
    follow the points of the steps. Within bounds, ``gradient_norm`` is that of
    :math:`x - P(x - g)`, zero at a minimum. ``aux`` is what the objective returned besides its value
    at ``x``; ``history`` holds ``"value"`` and ``"gradient_norm"`` from ``x0`` on, after the last step again
    what they were there.
    Both are ``None`` unless asked for.
    """

    x: PyTree
    value: jax.Array
    gradient_norm: jax.Array
    steps: jax.Array
    evaluations: jax.Array
    code: jax.Array
    aux: PyTree = None
    history: dict[str, jax.Array] | None = None

    @property
    def converged(self) -> Any:
        """Whether a tolerance was met: a bool, or an array of them for a batch of starts."""
        # Read on the host: an operation on the device would cost more than a small minimization.
        code = self.code if isinstance(self.code, jax.core.Tracer) else np.asarray(self.code)
        met = (code >= GRADIENT) & (code <= STEP)
        return met if isinstance(met, jax.core.Tracer) or met.ndim else bool(met)

    @property
    def reason(self) -> Any:
        """Why it ended, in words; a (nested) list of them for a batch of starts."""
        if isinstance(self.code, jax.core.Tracer):
            return "not known while tracing"
        return np.asarray(REASONS)[np.asarray(self.code)].tolist()

    def __str__(self) -> str:
        """The reason and the numbers; of a batch of starts, how many ended for which reason."""
        if not is_known(self.code):
            return repr(self)
        if np.ndim(self.code):
            codes, counts = np.unique(np.asarray(self.code), return_counts=True)
            return "\n".join(f"{count} x {REASONS[code]}" for code, count in zip(codes, counts, strict=True))
        return (
            f"{self.reason}\n"
            f"value {float(self.value):.6g}, gradient norm {float(self.gradient_norm):.3g}, "
            f"{int(self.steps)} steps, {int(self.evaluations)} evaluations"
        )


def is_known(array: Any) -> bool:
    """Whether an array has values: it is not traced, and no shape that stands for one."""
    return isinstance(array, (jax.Array, np.ndarray, np.generic)) and not isinstance(array, jax.core.Tracer)
