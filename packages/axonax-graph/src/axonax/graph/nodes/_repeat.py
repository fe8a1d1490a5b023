"""Depth at constant compile time: one block many times over, and values computed anew."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, Param
from axonax.graph.layers._builder import recorded
from axonax.graph.layers._checks import positive
from axonax.graph.nodes._node import Node
from axonax.graph.nodes._part import Part, as_part
from axonax.graph.program._run import Call, spec
from axonax.tensor import initializers, layers


@functools.partial(recorded, op="repeat", model=True)
def repeat(
    block: Callable[..., Any] | Node,
    times: int,
    *,
    unroll: int | bool = 1,
    remat: bool | str | None = None,
    name: str | None = None,
) -> Layer:
    """One block many times over, each with parameters of its own, compiled once.

    ``repeat(block, 24)`` computes what 24 blocks in a row do, as a loop. A leaf of the block is one array
    with the depth in front: ``repeat_0[24]/dense_0/kernel``. Its first values are drawn for each depth by
    itself, buffers of each depth go on by themselves, and so do the draws of dropout.

    Args:
        block: a function of nodes, called once. The value of the first goes from each time to the next and
            keeps its shape and dtype; the others are the same for each. A layer, a `block`, or a model of one
            input will do.
        times: how often, the depth.
        unroll: how many to write out at a time; ``True`` writes out all of them, which runs faster and
            compiles for longer.
        remat: whether to compute what a block makes on its way anew for its gradient rather than keep it;
            the name of a policy of ``jax.checkpoint_policies`` says what is kept after all.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer of as many inputs as ``block`` takes.

    Raises:
        TypeError: ``block`` is no function of nodes.
        ValueError: ``times`` or ``unroll`` is not positive, an unknown policy (the text lists near matches),
            a function that takes nodes from outside; (at build) a block that does not keep the shape.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 8)) | nn.repeat(lambda x: x + (x | nn.dense(8, activation="gelu")), 24)
    >>> nn.build(model).init(jax.random.key(0))
    ModelState
      params
        repeat_0[24]/dense_0/bias float32[24, 8]
        repeat_0[24]/dense_0/kernel float32[24, 8, 8]
    """
    times = positive("repeat", "times", times)
    unroll = unroll if unroll is True else positive("repeat", "unroll", unroll)
    _check_policy("repeat", "remat", remat)
    node = as_part("repeat", block)
    if node is not block:
        return repeat(node, times, unroll=unroll, remat=remat, name=name)
    part = Part(node)
    return computes(
        _Repeated(part=part, times=times, unroll=unroll, remat=remat),
        params={path: _stacked(each, times) for path, each in part.params(trained=True).items()},
        buffers={path: _stacked(each, times) for path, each in part.params(trained=False).items()},
        needs=part.needs,
        arity=part.arity,
        check=functools.partial(_check, part=part),
        mark=f"[{times}]",
        casts=False,
    )


@functools.partial(recorded, op="remat", model=True)
def remat(block: Callable[..., Any] | Node, policy: str | None = None, *, name: str | None = None) -> Layer:
    """A part of a model whose gradient computes anew what it made on its way, rather than keep it.

    It takes less memory and more time. Its leaves have the paths that those of a `block` of its name have, so
    that states fit both.

    Args:
        block: a function of nodes, called once. A layer, a `block`, or a model of one input will do.
        policy: what is kept after all, the name of a policy of ``jax.checkpoint_policies``; ``None`` keeps
            the inputs alone.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer of as many inputs as ``block`` takes.

    Raises:
        TypeError: ``block`` is no function of nodes.
        ValueError: an unknown policy (the text lists near matches), a function that takes nodes from outside.

    >>> from axonax import graph as nn
    >>> part = nn.remat(lambda x: x | nn.dense(64, activation="gelu") | nn.dense(8), name="encoder")
    >>> list(nn.build(nn.input("x", (None, 8)) | part).init(jax.random.key(0)).params["encoder"])
    ['dense_0', 'dense_1']
    """
    _check_policy("remat", "policy", policy)
    node = as_part("remat", block)
    if node is not block:
        return remat(node, policy, name=name)
    part = Part(node)
    return computes(
        _Once(part=part, policy=policy),
        params=part.params(trained=True),
        buffers=part.params(trained=False),
        needs=part.needs,
        arity=part.arity,
        check=functools.partial(_complaint, part=part),
        casts=False,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Once:
    """A part that runs under ``jax.checkpoint``."""

    part: Part
    policy: str | None

    def __call__(self, *inputs: Any, train: bool = False, key: Any = None, **leaves: Any) -> Any:
        variables, buffers = _separated(self.part, leaves)

        def run(inputs: Any, variables: Any, buffers: Any, key: Any) -> Any:
            call = Call(variables=variables, buffers=dict(buffers), train=train, key=key)
            return self.part.run(inputs, call), call.buffers

        value, news = layers.remat(run, self.policy)(inputs, variables, buffers, key)
        return (value, news) if buffers else value


@dataclass(frozen=True, kw_only=True, eq=False)
class _Repeated:
    """A part that runs in a loop over stacked leaves."""

    part: Part
    times: int
    unroll: int | bool
    remat: bool | str | None

    def __call__(self, *inputs: Any, train: bool = False, key: Any = None, **leaves: Any) -> Any:
        x, *shared = self.part.cast(inputs)
        complaint = _changed(self.part, [spec(each) for each in (x, *shared)], _described)
        if complaint:
            raise ValueError(complaint)
        rows = _separated(self.part, leaves)

        def once(x: Any, row: Any, index: Any) -> Any:
            variables, buffers = row
            own = None if key is None else jax.random.fold_in(key, index)
            call = Call(variables=variables, buffers=dict(buffers), train=train, key=own)
            return self.part.run((x, *shared), call), call.buffers

        value, news = layers.repeat(once, x, rows, times=self.times, unroll=self.unroll, remat=self.remat)
        return (value, news) if rows[1] else value


def _separated(part: Part, leaves: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers."""
    variables = {path: value for path, value in leaves.items() if part.leaves[path].trained}
    return variables, {path: value for path, value in leaves.items() if path not in variables}


def _complaint(*specs: Any, part: Part) -> str | None:
    try:
        part.facts(specs)
    except ValueError as error:
        return f"its block fails: {error}"
    return None


def _check(*specs: Any, part: Part) -> str | None:
    # Inputs are cast before a block runs, so only shapes are asked here.
    return _complaint(*specs, part=part) or _changed(part, specs, lambda leaf: str(leaf.shape))


def _changed(part: Part, specs: Any, described: Callable[[Any], str]) -> str | None:
    """What is wrong with a block that does not give what it takes."""
    given, made = specs[0], part.facts(specs).values[-1]
    takes, gives = (str(jax.tree.map(described, each)).replace("'", "") for each in (given, made))
    return None if takes == gives else f"its block must give what it takes, {takes}, and gives {gives}"


def _described(leaf: Any) -> str:
    return f"{leaf.dtype.name}{list(leaf.shape)}"


def _stacked(param: Param, times: int) -> Param:
    return replace(
        param,
        shape=functools.partial(_stacked_shape, param=param, times=times),
        initializer=_Stacked(param.initializer, times),
    )


def _stacked_shape(*specs: Any, param: Param, times: int) -> tuple[int, ...]:
    return times, *param.shape_for(*specs)


@dataclass(frozen=True)
class _Stacked:
    """An initializer of stacked leaves: each by its own key, since fans are those of one."""

    initializer: str | Initializer
    times: int

    def __call__(self, key: Any, shape: tuple[int, ...], dtype: Any) -> Any:
        return _drawn(key, self, tuple(shape), jnp.dtype(dtype).name)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _drawn(key: Any, stacked: _Stacked, shape: tuple[int, ...], dtype: str) -> Any:
    def one(index: Any) -> Any:
        draw = initializers.by_name(stacked.initializer)
        return draw(jax.random.fold_in(key, index), shape[1:], jnp.dtype(dtype))

    return jax.vmap(one)(jnp.arange(stacked.times))


def _check_policy(who: str, name: str, policy: Any) -> None:
    if isinstance(policy, str):
        layers.remat(_check_policy, policy)  # of whatever function: it looks the name up
    elif policy is not None and not (isinstance(policy, bool) and name == "remat"):
        kinds = "True, the name of a policy" if name == "remat" else "the name of a policy"
        raise ValueError(f"{who}: {name} must be {kinds} or None, got {policy!r}")
