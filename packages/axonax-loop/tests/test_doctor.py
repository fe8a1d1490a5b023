"""What a strict run finds: the operation of a NaN, what compiles again, who makes the device wait."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import loop
from axonax.loop.engine._doctor import origin

X, Y = np.ones((4, 3), np.float32), np.ones((4,), np.float32)


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    return {"w": jnp.ones(3)}


def apply(params: Any, x: Any) -> jax.Array:
    with jax.named_scope("head/logs"):
        return jnp.log(x @ params["w"])


def squared(y_true: Any, y_pred: Any) -> Any:
    return (y_true - y_pred) ** 2


def trainer() -> loop.Loop:
    return loop.trainer((init, apply), squared, optax.sgd(1e-3))


def test_the_operation_its_scope_and_its_batch_are_named() -> None:
    data = [(X, Y)] * 3 + [(-X, Y)] + [(X, Y)] * 3
    with pytest.raises(loop.NonFiniteError) as caught:
        trainer().run(data, strict=True)
    text = str(caught.value)
    assert text.startswith(
        "strict: the loss is not finite at iteration 4 (batch 3 of epoch 1): first by log in"
    )
    assert "head/logs" in text
    assert text.endswith("of float32[4]")
    assert caught.value.result.iteration == 4  # type: ignore[attr-defined]
    bad = [(X, Y), (X * np.nan, Y)]
    with pytest.raises(loop.NonFiniteError, match=r"what the step was given .* is not finite already"):
        trainer().run(bad, strict=True)


def test_origin_goes_into_calls() -> None:
    def inner(x: Any) -> Any:
        return jax.jit(lambda y: jnp.sqrt(y) + 1)(x) * 2

    assert origin(inner, jnp.array([-1.0])).startswith(
        "first by sqrt outside of any named scope, of float32[1]"
    )
    assert origin(inner, jnp.array([1.0])) == "no single operation gives it"
    scanned = origin(
        lambda x: jax.lax.scan(lambda c, _: (jnp.log(c), None), x, None, length=3)[0], jnp.ones(2)
    )
    assert scanned.startswith("first by scan")


def test_what_compiles_again_is_named() -> None:
    def wider(state: loop.State) -> loop.State:
        return state.replace(model_state={"w": jnp.ones(3), "b": jnp.ones(3)})

    base = trainer().on("epoch_started", wider, once=2)
    with pytest.raises(loop.RecompileError, match="a handler at epoch_started changed the step state.*b"):
        base.run([(X, Y)] * 2, epochs=2, strict=True)
    ragged = [[(X, Y)] * 2, [(X, Y), (X[:2], Y[:2])]]
    with pytest.raises(
        loop.RecompileError, match=r"batch 1 of epoch 2 is unlike .*: 0 float32\[2, 3\], 1 float32\[2\]"
    ):
        trainer().run(lambda epoch: ragged[epoch - 1], epochs=2, strict=True)
    assert trainer().run([(X, Y), (X[:2], Y[:2])], epochs=2, strict=True).status == "completed"


def test_who_waits_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("axonax.loop.engine._board._pending", lambda state: not state.metrics.was_read)

    def reads(state: loop.State) -> None:
        assert state.metrics["loss"] >= 0

    base = trainer().on("iteration_completed", reads).on("iteration_completed", lambda state: None)
    base.run([(X, Y)] * 3, strict=True)
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[1] for text in said] == [
        ' handler "reads" at iteration_completed waited for the device'
    ]


def test_a_strict_run_gives_what_any_other_gives() -> None:
    strict, plain = (trainer().run([(X, Y)] * 4, strict=strict) for strict in (True, False))
    np.testing.assert_array_equal(strict.model_state["w"], plain.model_state["w"])
