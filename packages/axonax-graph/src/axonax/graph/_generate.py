"""Text from a causal model, a token at a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from axonax.graph.data._layer import Applied, Layer, order
from axonax.graph.data._swap import remade, swapped
from axonax.graph.program._functions import build, functions
from axonax.graph.program._infer import Facts
from axonax.graph.program._keys import check_key
from axonax.graph.program._plan import Plan, Step, plan
from axonax.graph.program._run import struct
from axonax.tensor import activations, layers, trees
from axonax.tensor.contracts import Buildable, Closed, Model, ModelState

_CACHED = {"multi_head_attention", "position_embedding", "sinusoidal_positions"}
_OF_A_BLOCK = {"repeat", "remat"}
# What gives the same for a token whatever stands beside it, over the last axis alone.
_TOKENWISE = {
    *activations.available(),
    *("input", "embedding", "tied_logits", "dense", "bias", "layer_norm", "rms_norm", "dropout"),
    *("placeholder", "add", "subtract", "multiply", "divide", "negative", "constant", "container"),
}


def generate(
    model: Buildable,
    state: ModelState,
    prompt: Any,
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    eos_token: int | None = None,
    key: Any = None,
    cache: bool | None = None,
) -> jax.Array:
    """Go on with a prompt by the predictions of a causal language model.

    The prompt runs through the model at once and each new token by itself, against keys and values kept of
    those before, all in one compiled program. A model with layers that keep nothing of the past (recurrent
    ones, custom ones, attention that is applied twice) runs over all tokens for each new one instead: the
    same tokens, more slowly.

    Args:
        model: from tokens ``(batch, time)`` to logits ``(batch, time, vocabulary)``, or to their softmax.
        state: the state of the model.
        prompt: integers ``(batch, time)`` or ``(time,)``, all rows of one length, of at least one token.
        max_new_tokens: how many to add.
        temperature: 0 takes the most probable token; above it draws by ``softmax(logits / temperature)``.
        top_k: draw of so many most probable tokens alone.
        top_p: draw of the fewest most probable tokens that have this share together.
        eos_token: after it a row is filled up with it; when all rows have it, generation ends.
        key: what is drawn from; needed where ``temperature`` is above 0.
        cache: ``True`` insists on the faster way, ``False`` on the slower; ``None`` chooses.

    Returns:
        integers ``(batch, time + max_new_tokens)``, the prompt included; without the batch where it has none.

    Raises:
        ValueError: a model of several inputs, a layer that sees later tokens or another sequence, more
            tokens than there are positions, an option out of range, no key to draw from, or ``cache=True``
            for a layer that cannot keep the past; the text names the layer.
        TypeError: no model, no state, or a prompt that is no array of integers.

    >>> from axonax import graph as nn
    >>> tokens = nn.input("tokens", (None, None), dtype="int32")
    >>> model = tokens | nn.embedding(9, 8) | nn.multi_head_attention(2, causal=True) | nn.dense(9)
    >>> state = nn.build(model).init(jax.random.key(0))
    >>> nn.generate(model, state, jnp.array([1, 2, 3]), max_new_tokens=4).shape
    (7,)
    """
    if not isinstance(model, Applied):
        raise TypeError(f"generate: needs a node, got {type(model).__name__}")
    if not isinstance(state, ModelState):
        raise TypeError(f"generate: needs the ModelState of the model, got {type(state).__name__}")
    tokens = _tokens(prompt)
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise ValueError(f"generate: max_new_tokens must be a positive integer, got {max_new_tokens!r}")
    _check_options(temperature, top_k, top_p, eos_token, key)
    _check_vocabulary(plan(model), tokens)
    options = (float(temperature), top_k, top_p, eos_token)
    run = _program(model, tokens.shape, max_new_tokens, options, cache)
    found, causal = run(state, tokens, jax.random.key(0) if key is None else key)
    if not isinstance(causal, jax.core.Tracer) and not causal:
        suspect = _keeps_nothing(plan(model)) or "the model"
        raise ValueError(
            f"generate: predictions change with the tokens that follow: {suspect}, or a layer after it, "
            "sees later tokens"
        )
    return found[0] if jnp.ndim(prompt) == 1 else found


def _check_options(temperature: Any, top_k: Any, top_p: Any, eos_token: Any, key: Any) -> None:
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not 0 <= temperature < math.inf:
        raise ValueError(f"generate: temperature must be a number of at least 0, got {temperature!r}")
    if temperature and key is None:
        raise ValueError(
            "generate: drawing needs key=jax.random.key(...); temperature=0 takes the most probable"
        )
    if not temperature and (top_k is not None or top_p is not None):
        raise ValueError("generate: top_k and top_p are for drawing: they need a temperature above 0")
    for name, value, kind in (("top_k", top_k, int), ("eos_token", eos_token, int), ("top_p", top_p, float)):
        fits = isinstance(value, kind | int) and not isinstance(value, bool) and value >= 0
        if value is not None and not fits:
            what = "an integer" if kind is int else "a number"
            raise ValueError(f"generate: {name} must be {what} of at least 0, got {value!r}")
    if key is not None:
        check_key("generate", key)


def _tokens(prompt: Any) -> jax.Array:
    tokens = jnp.asarray(prompt)
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise TypeError(f"generate: prompt must be integers, got {tokens.dtype}")
    if tokens.ndim not in (1, 2) or not tokens.shape[-1]:
        raise ValueError(
            f"generate: prompt must be (batch, time) with one token at least, got {tokens.shape}"
        )
    return jnp.atleast_2d(tokens)


def _check_vocabulary(steps: Plan, tokens: jax.Array) -> None:
    """Refuse a prompt of tokens that the model has no row for, where the tokens are at hand."""
    if isinstance(tokens, jax.core.Tracer) or not tokens.is_fully_addressable or not tokens.size:
        return
    least, most = int(tokens.min()), int(tokens.max())
    for step in steps.steps:
        if step.layer.op == "embedding" and step.sources == tuple(steps.inputs):
            size = step.layer.arguments["vocabulary"]
            if least < 0 or most >= size:
                wrong = least if least < 0 else most
                raise ValueError(f"generate: prompt has token {wrong}, {step} takes 0 to {size - 1}")


@functools.lru_cache(maxsize=32)
def _program(
    model: Any, shape: tuple[int, int], count: int, options: tuple[Any, ...], cache: bool | None
) -> Callable[..., tuple[jax.Array, Any]]:
    """The compiled function ``(state, tokens, key) -> (tokens, causal)``, kept for the next such prompt."""
    total = shape[1] + count
    steps = plan(model)
    _check(steps, total)
    unfit = _keeps_nothing(steps)
    if cache and unfit is not None:
        raise ValueError(f"generate: {unfit} keeps nothing of the tokens before: leave out cache=True")
    if cache or (cache is None and unfit is None):
        # Its layers take no more tokens than they keep: nothing follows from open sizes.
        pair = functions(plan(_decoding(model, total)), Facts())
        return jax.jit(functools.partial(_with_cache, pair, count, options))
    return jax.jit(functools.partial(_from_the_start, build(model), count, options))


def _check(steps: Plan, total: int) -> None:
    if len(steps.inputs) != 1:
        raise ValueError(f"generate: needs a model of one input, the tokens, got {len(steps.inputs)}")
    for step in _every(steps):
        arguments = step.layer.arguments
        if step.layer.op == "multi_head_attention" and not arguments["causal"]:
            raise ValueError(f"generate: {step} sees later tokens: it must have causal=True")
        backward = "return_sequences" in arguments and arguments["reverse"]
        if step.layer.op == "bidirectional" or backward:
            raise ValueError(f"generate: {step} sees later tokens: it must go forward alone")
        if step.layer.op in ("multi_head_attention", *_OF_A_BLOCK) and (
            len(set(step.sources)) > 1 or step.named
        ):
            raise ValueError(f"generate: {step} takes more than the sequence itself")
        if step.layer.op == "position_embedding" and total > arguments["length"]:
            raise ValueError(
                f"generate: {total} tokens in all do not fit the {arguments['length']} of {step}"
            )


def _every(steps: Plan) -> Iterator[Step]:
    """All steps, with those of the blocks within."""
    for step in steps.steps:
        yield step
        if step.layer.op in _OF_A_BLOCK:
            yield from _every(plan(step.layer.arguments["block"]))


def _keeps_nothing(steps: Plan) -> Step | None:
    """The first step that sees several tokens and cannot keep them, as far as is known."""
    for step in _every(steps):
        op = step.layer.op
        # Applied twice, a layer would mix what it keeps of both.
        keeps = op in _CACHED | _OF_A_BLOCK and not step.use
        if not keeps and not (op in _TOKENWISE and step.layer.arguments.get("axis", -1) == -1):
            return step
    return None


def _decoding(model: Any, capacity: int) -> Any:
    """The model whose layers keep what they need of up to so many tokens."""
    table: dict[Layer, Layer] = {}
    for layer in dict.fromkeys(node.layer for node in order(model)):
        if layer.op in _CACHED:
            table[layer] = remade(layer, cache=capacity)
        elif layer.op in _OF_A_BLOCK:
            table[layer] = remade(layer, block=_decoding(layer.arguments["block"], capacity))
    return swapped(model, table)


def _logits(pair: Model) -> Callable[..., tuple[Any, Any]]:
    """The ``apply`` that gives logits."""
    return pair.unclosed.apply if isinstance(pair, Closed) else pair.apply


def _with_cache(pair: Model, count: int, options: tuple[Any, ...], state: Any, tokens: Any, key: Any) -> Any:
    apply = _logits(pair)
    empty = jax.eval_shape(pair.init, key, struct(tokens.shape, tokens.dtype))
    own = trees.flatten(state.buffers)
    buffers = jax.tree_util.tree_map_with_path(
        lambda keys, leaf: own.get(trees.path(keys), jnp.zeros(leaf.shape, leaf.dtype)), empty.buffers
    )
    state = state.replace(buffers=buffers)
    logits, buffers = apply(state, tokens)

    def step(token: Any, place: Any, filled: Any, buffers: Any) -> tuple[Any, Any]:
        logits, buffers = apply(state.replace(buffers=buffers), token[:, None])
        return logits[:, -1], buffers

    return _extended(step, logits[:, -1], buffers, tokens, count, options, key), True


def _from_the_start(
    pair: Model, count: int, options: tuple[Any, ...], state: Any, tokens: Any, key: Any
) -> Any:
    apply = _logits(pair)

    def step(token: Any, place: Any, filled: Any, buffers: Any) -> tuple[Any, Any]:
        logits, _ = apply(state, filled)
        return jax.lax.dynamic_index_in_dim(logits, place, 1, keepdims=False), buffers

    def first(fill: int) -> Any:
        filled = jnp.pad(tokens, ((0, 0), (0, count)), constant_values=fill)
        return step(None, tokens.shape[1] - 1, filled, ())[0]

    logits = first(0)
    causal = _agree(logits, first(logits.shape[-1] - 1))
    return _extended(step, logits, (), tokens, count, options, key), causal


def _agree(one: Any, other: Any) -> Any:
    """Whether predictions are the same up to rounding."""
    return jnp.allclose(one, other, rtol=0, atol=1e-4 * jnp.max(jnp.abs(one)), equal_nan=True)


def _extended(
    step: Callable[..., Any], logits: Any, buffers: Any, tokens: Any, count: int, options: Any, key: Any
) -> Any:
    """The tokens with new ones behind them, in one loop that ends early where all rows have ended."""
    temperature, top_k, top_p, eos = options
    first = tokens.shape[1]
    fill = 0 if eos is None else eos
    filled = jnp.pad(tokens, ((0, 0), (0, count)), constant_values=fill)

    def drawn(logits: Any, place: Any) -> Any:
        if not temperature:
            return layers.greedy(logits)
        own = jax.random.fold_in(key, place)
        return layers.sample(logits, key=own, temperature=temperature, top_k=top_k, top_p=top_p)

    def body(carry: Any) -> Any:
        place, filled, ended, logits, buffers = carry
        token = drawn(logits, place).astype(filled.dtype)
        if eos is not None:
            token = jnp.where(ended, jnp.asarray(eos, filled.dtype), token)
            ended = ended | (token == eos)
        filled = jax.lax.dynamic_update_index_in_dim(filled, token, place, 1)
        logits, buffers = step(token, place, filled, buffers)
        return place + 1, filled, ended, logits, buffers

    def more(carry: Any) -> Any:
        place, _, ended, _, _ = carry
        return (place < first + count) & ~jnp.all(ended)

    ended = jnp.zeros(tokens.shape[0], bool)
    start = (jnp.asarray(first), filled, ended, logits, buffers)
    return jax.lax.while_loop(more, body, start)[1]
