"""A GPT-2-small-sized training step in bfloat16: a trainer of a graph beside JAX by hand, in turns.

    python benchmarks/gpt2.py                 # on a GPU: 12 blocks of 768, 1024 tokens, batch 16
    python benchmarks/gpt2.py --smoke         # a tiny one, to try the script

Prints milliseconds a step and the floating-point operations a second, as Markdown.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax import graph as nn
from axonax import loop
from axonax.tensor.precision import Policy


@dataclass(frozen=True, kw_only=True)
class Size:
    """The sizes of the model and of a batch."""

    vocabulary: int = 50304
    length: int = 1024
    units: int = 768
    heads: int = 12
    depth: int = 12
    batch: int = 16

    def flops(self, parameters: int) -> float:
        """The floating-point operations of a step: six a weight and token, and the causal attention."""
        tokens = self.batch * self.length
        attention = 6 * self.depth * self.units * self.length * tokens
        return 6.0 * (parameters - self.vocabulary * self.units) * tokens + attention


def graph(size: Size) -> nn.Node:
    """The model as a graph, its blocks one after the other."""
    node = nn.input("tokens", (None, size.length), dtype="int32") | nn.embedding(size.vocabulary, size.units)
    for _ in range(size.depth):
        node = node | nn.transformer_encoder(size.units, heads=size.heads, causal=True)
    model = node | nn.layer_norm() | nn.dense(size.vocabulary)
    return nn.with_policy(model, Policy(params="float32", compute="bfloat16", output="bfloat16"))


def initial(size: Size, key: jax.Array) -> Any:
    """The parameters by hand."""
    units, normal = size.units, jax.nn.initializers.normal(0.02)
    shapes = {"q": (units, units), "k": (units, units), "v": (units, units), "o": (units, units)}
    shapes |= {"up": (units, 4 * units), "down": (4 * units, units)}

    def block(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(shapes))
        kernels = {
            name: normal(each, shape) for each, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        biases = {f"{name}_bias": jnp.zeros(shape[1]) for name, shape in shapes.items()}
        norms = {
            f"{name}_{part}": jnp.ones(units) for name in ("first", "second") for part in ("scale", "offset")
        }
        return {**kernels, **biases, **norms}

    keys = jax.random.split(key, size.depth + 2)
    return {
        "embedding": normal(keys[0], (size.vocabulary, units)),
        "blocks": [block(each) for each in keys[2:]],
        "scale": jnp.ones(units),
        "offset": jnp.zeros(units),
        "head": normal(keys[1], (units, size.vocabulary)),
        "head_bias": jnp.zeros(size.vocabulary),
    }


def norm(x: jax.Array, scale: jax.Array, offset: jax.Array) -> jax.Array:
    """Layer norm in float32."""
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    variance = jnp.square(wide - mean).mean(-1, keepdims=True)
    return ((wide - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(x.dtype) * scale + offset


def by_hand(params: Any, tokens: jax.Array, size: Size, fused: bool) -> jax.Array:
    """The logits of the same model, written down in JAX."""
    p = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    x = p["embedding"][tokens]
    split = (*tokens.shape, size.heads, size.units // size.heads)
    for block in p["blocks"]:
        y = norm(x, block["first_scale"], block["first_offset"])
        q, k, v = ((y @ block[name] + block[f"{name}_bias"]).reshape(split) for name in "qkv")
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn" if fused else "xla")
        x = x + y.reshape(x.shape) @ block["o"] + block["o_bias"]
        y = norm(x, block["second_scale"], block["second_offset"])
        x = x + jax.nn.gelu(y @ block["up"] + block["up_bias"]) @ block["down"] + block["down_bias"]
    return norm(x, p["scale"], p["offset"]) @ p["head"] + p["head_bias"]


def hand_step(size: Size, optimizer: optax.GradientTransformation, fused: bool) -> Any:
    """The donated step by hand."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, opt_state: Any, tokens: jax.Array, targets: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            logits = by_hand(params, tokens, size, fused).astype(jnp.float32)
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    return step


def main() -> None:
    """Measure both in turns."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    size = Size(vocabulary=64, length=32, units=32, heads=2, depth=2, batch=2) if options.smoke else Size()
    fused = jax.default_backend() == "gpu"
    optimizer = optax.adamw(3e-4)
    rng = np.random.default_rng(0)
    text = rng.integers(0, size.vocabulary, (options.steps * size.batch, size.length + 1)).astype(np.int32)
    data = loop.arrays(text[:, :-1], text[:, 1:], batch_size=size.batch)

    trainer = loop.trainer(
        graph(size), "categorical_cross_entropy", optimizer, loss_options={"from_logits": True}
    )
    began = time.perf_counter()
    state = trainer.run(data, epochs=1).step_state
    compiled = {"Axonax": time.perf_counter() - began}
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.model_state))

    began = time.perf_counter()
    params = initial(size, jax.random.key(0))
    opt_state, step = optimizer.init(params), hand_step(size, optimizer, fused)
    batches = list(data)
    params, opt_state, value = step(params, opt_state, *batches[0])
    value.block_until_ready()
    compiled["JAX by hand"] = time.perf_counter() - began

    times: dict[str, list[float]] = {"Axonax": [], "JAX by hand": []}
    for _ in range(options.rounds):
        result = trainer.run(data, state=state, epochs=1)
        state = result.step_state
        times["Axonax"].append(result.history[-1]["seconds"] / options.steps)
        began = time.perf_counter()
        for batch in batches:
            params, opt_state, value = step(params, opt_state, *batch)
        value.block_until_ready()
        times["JAX by hand"].append((time.perf_counter() - began) / options.steps)

    device = jax.devices()[0].device_kind
    print(f"{device}, JAX {jax.__version__}: {size}, {parameters / 1e6:.1f} million parameters\n")
    print("| | ms a step, median (least to most) | TFLOP/s | s to the first steps |\n|---|---|---|---|")
    for name, each in times.items():
        median = statistics.median(each)
        spread = f"{1e3 * median:.1f} ({1e3 * min(each):.1f} to {1e3 * max(each):.1f})"
        print(f"| {name} | {spread} | {size.flops(parameters) / median / 1e12:.0f} | {compiled[name]:.1f} |")
    ratios = [hand / ours for ours, hand in zip(times["Axonax"], times["JAX by hand"], strict=True)]
    print(f"\nAxonax against JAX by hand: {statistics.median(ratios):.3f} of its speed")


if __name__ == "__main__":
    main()
