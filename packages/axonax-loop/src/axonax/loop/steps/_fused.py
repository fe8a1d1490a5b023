"""Many steps as one compiled loop, over stacked batches or over rows of data that lies on the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.loop.data._remainder import gathered

PyTree = Any
Step = Callable[..., Any]
# A chunk should last a fraction of a second: so much arithmetic is that, by platform.
_BUDGET = {"cpu": 4e9}
_BUDGET_ELSEWHERE = 2e12
_LONGEST = {"cpu": 32}
_LONGEST_ELSEWHERE = 256
_SHORTER = 8  # how much shorter the next static length is
_USUAL, _EXACT = 3, 4  # a length that comes so often is compiled as it is, at most so many
_HOST_BYTES = 1 << 17  # of a batch: stacking more costs a CPU what fusing saves


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many steps are run at once: one of ``lengths``, or with ``dynamic`` up to the only one.

    ``resident``: on rows of data that lies on the device.
    """

    lengths: tuple[int, ...]
    dynamic: bool
    resident: bool

    @property
    def longest(self) -> int:
        """The most steps of one call."""
        return self.lengths[0]

    def length(self, count: int) -> int:
        """How many of ``count`` steps the next call takes."""
        return next(length for length in (*self.lengths, 1) if length <= count or self.dynamic)


class Usual:
    """The lengths that come again and again, as between handlers; they follow from the counts of a run."""

    def __init__(self) -> None:
        self._seen: Counter[int] = Counter()
        self._exact: set[int] = set()

    def __contains__(self, length: int) -> bool:
        """Whether a length, which has come once more, is worth a program of its own."""
        self._seen[length] += 1
        if self._seen[length] >= _USUAL and len(self._exact) < _EXACT:
            self._exact.add(length)
        return length in self._exact


def plan(jaxpr: Any, batch: PyTree, *, resident: Callable[[], PyTree]) -> Plan | None:
    """How to run steps of this program at once; ``None`` for one by one.

    It follows from the program and the platform alone, so that the same run is always cut alike. On a CPU a
    convolution within a loop is many times slower, and where a step is long nothing is to be won.
    """
    if not stackable(batch):
        return None
    platform = jax.default_backend()
    flops, convolves = work(jaxpr)
    on_device = resident() is not None
    longest = _LONGEST.get(platform, _LONGEST_ELSEWHERE)
    length = min(longest, int(_BUDGET.get(platform, _BUDGET_ELSEWHERE) / max(flops, 1.0)))
    if platform == "cpu":
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
        if convolves or length < longest or (size > _HOST_BYTES and not on_device):
            return None
        # A length that is an argument compiles once; on other platforms it halves the speed.
        return Plan(lengths=(longest,), dynamic=True, resident=on_device)
    lengths = [longest]
    while lengths[-1] > 1:
        lengths.append(max(1, lengths[-1] // _SHORTER))
    fitting = tuple(each for each in lengths if each <= max(length, 1))
    return Plan(lengths=fitting, dynamic=False, resident=on_device) if fitting[0] > 1 else None


def work(jaxpr: Any) -> tuple[float, bool]:
    """The floating-point operations of a program's matrix products, and whether it has convolutions."""
    flops, convolves = 0.0, False
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            depth = np.prod([eqn.invars[0].aval.shape[axis] for axis in contracted], dtype=float)
            flops += 2 * float(depth) * float(np.prod(eqn.outvars[0].aval.shape, dtype=float))
        elif name == "conv_general_dilated":
            convolves = True
        times = eqn.params.get("length", 1) if name == "scan" else 1
        for inner in _inner(eqn.params):
            more, also = work(inner)
            flops, convolves = flops + times * more, convolves or also
    return flops, convolves


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    """The programs among the parameters of an operation."""
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            found = getattr(each, "jaxpr", each)
            if hasattr(found, "eqns"):
                yield found


def make_fused(step: Step, compute: Callable[[Any], dict[str, Any]], *, donate: bool) -> Any:
    """``(carry, rows, data, constant, last, wanted, count) -> (carry, values, token)``, compiled.

    ``values`` are the metrics after each step that is wanted; ``token`` is ready when the steps are done, and
    no later call takes it away. A ``count`` of ``None`` is all rows, as a constant of the program.
    """

    def run(
        carry: Any, rows: PyTree, data: PyTree, constant: PyTree, last: Any, wanted: Any, count: Any
    ) -> tuple[Any, Any, Any]:
        length = jax.tree.leaves(rows)[0].shape[0]
        values: Any = ()
        if wanted is not None:
            shapes = jax.eval_shape(compute, carry[1])
            values = jax.tree.map(lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype), shapes)

        def one(index: Any, both: tuple[Any, Any]) -> tuple[Any, Any]:
            carry, values = both
            batch = jax.tree.map(lambda leaf: leaf[index], rows)
            if data is not None:
                batch = gathered(data, batch)
            told = () if last is None else (last[index],)
            carry = step(carry, batch, constant, *told)
            if wanted is not None:
                values = jax.lax.cond(wanted[index], _put, _leave, values, carry[1], index)
            return carry, values

        def _put(values: Any, accumulators: Any, index: Any) -> Any:
            return jax.tree.map(lambda into, new: into.at[index].set(new), values, compute(accumulators))

        def _leave(values: Any, accumulators: Any, index: Any) -> Any:
            return values

        carry, values = jax.lax.fori_loop(0, length if count is None else count, one, (carry, values))
        # An evaluator without loss and metrics carries nothing.
        arrays = jax.tree.leaves(carry) or [jnp.zeros(1)]
        return carry, values, arrays[0].ravel()[:1] * 0

    return jax.jit(run, donate_argnums=0 if donate else ())


def stacked(rows: Sequence[PyTree], length: int) -> PyTree:
    """Batches of one shape as arrays with a leading axis of ``length``, filled up with zeros."""

    def stack(*leaves: Any) -> Any:
        if isinstance(leaves[0], jax.Array) and len(leaves) == length:
            return jnp.stack(leaves)
        first = np.asarray(leaves[0])
        into = np.zeros((length, *first.shape), first.dtype)
        for index, leaf in enumerate(leaves):
            into[index] = leaf
        return into

    return jax.tree.map(stack, *rows)


def stackable(batch: PyTree) -> bool:
    """Whether a batch has arrays alone: numbers would get another type when they are stacked."""
    return all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(batch))
