"""What an editor knows of a model while it is written: for type checkers (`nox -s lint`)."""

from __future__ import annotations

from typing import Any, assert_type

import jax

from axonax import graph as nn
from axonax import tensor


def chains(x: nn.Node) -> None:
    assert_type(nn.input("x", (None, 3)), nn.Node)
    assert_type(nn.dense(2, activation="relu"), nn.Layer)
    assert_type(x | nn.dense(2), nn.Node)
    assert_type(x | nn.dense(2) | nn.relu() | nn.dropout(0.5), nn.Node)
    assert_type(nn.dense(2)(x), nn.Node)
    assert_type(x | nn.multi_head_attention(2, causal=True), nn.Node)
    assert_type(x | nn.repeat(lambda x: x + (x | nn.dense(2)), 3), nn.Node)
    assert_type(x * 2 + x @ x - x[:, :1] / (-x), nn.Node)
    assert_type(nn.hook(x, print), nn.Node)
    assert_type(nn.constant(2.0), nn.Node)


def residual(x: nn.Node) -> nn.Node:
    return x + (x | nn.dense(2))


def both(x: nn.Node) -> tuple[nn.Node, nn.Node]:
    return x | nn.dense(2), x | nn.dense(3)


def functions_of_nodes(x: nn.Node) -> None:
    """After ``|`` a function gives what it returns."""
    assert_type(x | residual, nn.Node)
    assert_type(x | both, tuple[nn.Node, nn.Node])


def results_in_parts(x: nn.Node) -> None:
    """What may be a node or a tuple of nodes by its arguments has no type of its own, and is unpacked."""
    sequence, (h, c) = x | nn.lstm(4, return_state=True)
    mean, spread = sequence | nn.split(2)
    model: nn.Node = nn.lstm(4)(mean + spread, initial_state=(h, c))
    joined: nn.Node = nn.add(model, x) | nn.block(residual)
    assert_type(joined | nn.dense(2), nn.Node)


def what_is_built_of_them(x: nn.Node) -> None:
    built = nn.build(x)
    assert_type(built, tensor.Model)
    state: tensor.ModelState = built.init(jax.random.key(0))
    assert_type(nn.generate(x, state, jax.numpy.ones(3), max_new_tokens=2), jax.Array)
    assert_type(nn.merge_lora(x, state), tuple[nn.Node, tensor.ModelState])
    assert_type(nn.quantize(x, state), tuple[nn.Node, tensor.ModelState])
    assert_type(nn.capture(x, "dense_*"), nn.Node)
    assert_type(nn.pin(x), nn.Node)
    assert_type(nn.carry(x, state), tensor.ModelState)
    assert_type(nn.dumps(x), str)
    assert_type(nn.loads(""), nn.Node)
    assert_type(nn.load("m.safetensors"), tuple[nn.Node, tensor.ModelState | None])
    assert_type(nn.diff(x, x), nn.Difference)
    assert_type(nn.table(x), nn.Table)
    prediction: Any = nn.predict(x, state, jax.numpy.ones((1, 3)))
    assert prediction is not None


def mistakes(x: nn.Node) -> None:
    """An editor reports them."""
    nn.dense(2) | nn.dense(3)  # type: ignore[operator]  # pyright: ignore
    x | 3  # type: ignore[operator]  # pyright: ignore
    nn.dens(2)  # type: ignore[attr-defined]  # pyright: ignore
    nn.dense(unit=2)  # type: ignore[call-arg]  # pyright: ignore
