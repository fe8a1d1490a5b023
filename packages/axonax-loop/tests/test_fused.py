"""Many steps as one compiled loop: the same bits, the same events, reading handlers served in order."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop._filters import make_filter
from axonax.loop.engine import _machine
from axonax.loop.steps import _fused

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3)).astype(np.float32)
Y = (X @ np.array([1.0, 2.0, 3.0], np.float32)).astype(np.float32)
DATA = loop.arrays(X, Y, batch_size=8, shuffle=True)  # 9 batches, the last of 6 rows


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jax.random.normal(key, (3,))}


def apply(params: Any, x: Any, train: bool = False, key: Any = None) -> jax.Array:
    return (x * jax.random.bernoulli(key, 0.8, x.shape) if train else x) @ params["w"]


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


@functools.cache
def trainer() -> loop.Loop:
    return loop.trainer((init, apply), squared, optax.adam(0.1)).metric(squared, "mse")


@functools.cache
def by_steps() -> loop.Result:
    return trainer().run(DATA, epochs=3, fuse=False)


def static(jaxpr: Any, batch: Any, *, resident: Any) -> _fused.Plan:
    return _fused.Plan(lengths=(4, 2, 1), dynamic=False, resident=resident() is not None)


def same(one: loop.Result, other: loop.Result) -> None:
    for left, right in zip(
        jax.tree.leaves((one.step_state, one.metrics)),
        jax.tree.leaves((other.step_state, other.metrics)),
        strict=True,
    ):
        if not jnp.issubdtype(getattr(left, "dtype", float), jax.dtypes.prng_key):
            np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("source", ["arrays", "host", "list"])
@pytest.mark.parametrize("lengths", ["dynamic", "static"])
def test_the_same_bits_as_step_by_step(source: str, lengths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lengths == "static":
        monkeypatch.setattr(_machine._fused, "plan", static)
    batches = functools.partial(DATA.batches, key=jax.random.fold_in(jax.random.key(0), 2))
    host = loop.arrays(X, Y, batch_size=8, shuffle=True, device=False)
    data: Any = {"arrays": DATA, "host": host, "list": lambda epoch: list(batches(epoch))}[source]
    same(trainer().run(data, epochs=3), by_steps())


@pytest.mark.parametrize("lengths", ["dynamic", "static"])
def test_handlers_see_every_step_that_they_asked_for(lengths: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if lengths == "static":
        monkeypatch.setattr(_machine._fused, "plan", static)

    def seen_by(fuse: bool) -> list[Any]:
        seen: list[Any] = []

        def note(name: str) -> Any:
            return lambda state: seen.append((name, state.epoch, state.iteration, state.metrics["mse"]))

        base = (
            trainer()
            .on("iteration_started", note("start"), every=5)
            .on("iteration_completed", note("on"), every=4)
        )
        base = base.attach(Reading(seen=seen, every=3)).attach(Reading(seen=seen, every=1))
        base.run(DATA, epochs=2, fuse=fuse)
        return seen

    fused, plain = seen_by(True), seen_by(False)
    assert [each[:3] for each in fused] == [each[:3] for each in plain]
    np.testing.assert_array_equal([each[3] for each in fused], [each[3] for each in plain])
    assert sum(each[0] == "read 1" for each in fused) == 18


class Reading:
    """An attachment that reads at counts, and counts how often in its memory."""

    def __init__(self, seen: list[Any], every: int) -> None:
        self.name, self._seen, self._every = f"read_{every}", seen, every

    def memory(self) -> int:
        return 0

    def open(self, job: Any, run: Any) -> Any:
        def read(state: loop.State, memory: int) -> int:
            self._seen.append((f"read {self._every}", state.epoch, state.iteration, state.metrics["mse"]))
            return memory + 1

        handler = loop.Handler(
            event="iteration_completed", function=read, when=make_filter(every=self._every), reads=True
        )
        return contextlib.nullcontext((handler,))


def test_reading_cuts_no_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths: list[int] = []
    original = _machine.Machine.advance

    def counted(self: Any, *arguments: Any) -> Any:
        advance = original(self, *arguments)
        lengths.append(advance.steps)
        return advance

    monkeypatch.setattr(_machine.Machine, "advance", counted)
    result = trainer().attach(Reading(seen=[], every=2)).run(DATA, epochs=2)
    assert lengths == [8, 1, 8, 1]
    assert result.memory["read_2"] == 9


def test_what_is_fused() -> None:
    def jaxpr(function: Any, *arguments: Any) -> Any:
        return jax.make_jaxpr(function)(*arguments).jaxpr

    small, nothing = np.ones((4, 4), np.float32), lambda: None
    matmul = jaxpr(lambda x: x @ x, small)
    assert _fused.work(matmul) == (2 * 4 * 4 * 4, False)
    scanned = jaxpr(lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=5)[0], small)
    assert _fused.work(scanned) == (5 * 2 * 4 * 4 * 4, False)
    image, kernel = np.ones((1, 1, 8), np.float32), np.ones((1, 1, 3), np.float32)
    conv = jaxpr(lambda x: jax.lax.conv(x, kernel, (1,), "SAME"), image)
    assert _fused.work(conv)[1]
    plan = _fused.plan(matmul, small, resident=nothing)
    assert plan == _fused.Plan(lengths=(32,), dynamic=True, resident=False)
    assert _fused.plan(conv, image, resident=nothing) is None
    assert _fused.plan(matmul, (small, 3), resident=nothing) is None
    large = np.ones((300, 300), np.float32)
    assert _fused.plan(matmul, large, resident=nothing) is None
    assert _fused.plan(matmul, large, resident=lambda: large) is not None


def test_lengths_that_come_again_get_a_program_of_their_own() -> None:
    usual = _fused.Usual()
    assert [50 in usual for _ in range(4)] == [False, False, True, True]
    assert [length in usual for length in (1, 2, 3, 4) for _ in range(3)][2::3] == [True, True, True, False]


def test_where_rows_lie() -> None:
    with pytest.raises(ValueError, match="arrays: device must be True, False or \"auto\", got 'gpu'"):
        loop.arrays(X, batch_size=2, device="gpu")
    assert loop.arrays(X, batch_size=2, device=False).resident is None
    assert isinstance(loop.arrays(X, batch_size=2).resident, jax.Array)


def test_a_loop_that_carries_nothing_runs() -> None:
    model = (lambda key: jnp.ones(2), lambda params, inputs: inputs @ params)
    result = loop.evaluator(model).run([(jnp.ones((4, 2)), jnp.ones(4))] * 3, jnp.ones(2))
    assert (result.status, result.iteration, dict(result.metrics)) == ("completed", 3, {})
