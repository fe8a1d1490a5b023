"""Products, normalization, dropout, activations and shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import activations, layers
from ops_cases.case import Case, peer

linen = peer("flax.linen")
keras = peer("keras")

_RANDOM = np.random.default_rng(71)
KEY = jax.random.key(5)


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape).astype(np.float32)


def flax(module: linen.Module, *names: str, **state: Any) -> Callable[..., Any]:
    """A Flax module as a function of its input and its parameters by name."""

    def call(x: Any, *params: Any) -> Any:
        return module.apply({"params": dict(zip(names, params, strict=True)), **state}, x)

    return call


def hand_layer_norm(x: Any, scale: Any, offset: Any) -> Any:
    """Two passes."""
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + offset


def hand_rms_norm(x: Any, scale: Any) -> Any:
    """As the paper has it."""
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6) * scale


def hand_batch_norm(x: Any, scale: Any, offset: Any) -> Any:
    """Two passes, in training."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    variance = jnp.square(x - mean).mean(axes)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + offset


def our_batch_norm(x: Any, scale: Any, offset: Any) -> Any:
    """In training."""
    zeros = jnp.zeros(x.shape[-1])
    return layers.batch_norm(x, zeros, zeros + 1, scale, offset, train=True)[0]


def keras_batch_norm(x: Any, scale: Any, offset: Any) -> Any:
    """Moments, then the normalization."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = keras.ops.moments(x, axes)
    return keras.ops.batch_normalization(x, mean, variance, -1, offset, scale, 1e-5)


def hand_group_norm(x: Any, scale: Any, offset: Any) -> Any:
    """Eight groups, two passes."""
    grouped = x.reshape(x.shape[0], -1, 8, x.shape[-1] // 8)
    mean = grouped.mean((1, 3), keepdims=True)
    variance = jnp.square(grouped - mean).mean((1, 3), keepdims=True)
    return ((grouped - mean) * jax.lax.rsqrt(variance + 1e-5)).reshape(x.shape) * scale + offset


def hand_dropout(x: Any) -> Any:
    """Rate 0.3."""
    return jnp.where(jax.random.bernoulli(KEY, 0.7, x.shape), x / 0.7, 0)


MLP, WIDE, TOKENS, IMAGES = (128, 784), (64, 1024), (32, 256, 512), (64, 28, 28, 32)
TABLE = _array(30000, 256)
INDICES = _RANDOM.integers(0, 30000, (32, 128)).astype(np.int32)

CASES = [
    Case(
        f"dense {' x '.join(map(str, size))} to {units}",
        layers.dense,
        {
            "JAX by hand": lambda x, kernel, bias: x @ kernel + bias,
            "Flax": flax(linen.Dense(units), "kernel", "bias"),
        },
        (_array(*size), _array(size[-1], units), _array(units)),
    )
    for size, units in ((MLP, 128), (WIDE, 1024), (TOKENS, 512))
] + [
    Case(
        "bilinear 64 x 128 x 128 to 64",
        layers.bilinear,
        {"JAX by hand": lambda x, y, kernel, bias: jnp.einsum("bi,bj,iju->bu", x, y, kernel) + bias},
        (_array(64, 128), _array(64, 128), _array(128, 128, 64), _array(64)),
    ),
    Case(
        "embedding 32 x 128 of 30000 x 256",
        layers.embedding,
        {
            "JAX by hand": lambda indices, kernel: kernel[indices],
            "Flax": lambda i, kernel: linen.Embed(30000, 256).apply({"params": {"embedding": kernel}}, i),
            "Keras": lambda indices, kernel: keras.ops.take(kernel, indices, axis=0),
        },
        (INDICES, TABLE),
    ),
    Case(
        "tied logits 256 x 256 of 30000",
        layers.tied_logits,
        {"JAX by hand": lambda x, kernel: x @ kernel.T},
        (_array(256, 256), TABLE),
    ),
    Case(
        "layer norm 32 x 256 x 512",
        layers.layer_norm,
        {
            "JAX by hand": hand_layer_norm,
            "Flax": flax(linen.LayerNorm(epsilon=1e-5), "scale", "bias"),
            "Keras": lambda x, scale, offset: keras.ops.layer_normalization(x, scale, offset, -1, 1e-5),
        },
        (_array(*TOKENS), _array(512), _array(512)),
    ),
    Case(
        "rms norm 32 x 256 x 512",
        layers.rms_norm,
        {
            "JAX by hand": hand_rms_norm,
            "Flax": flax(linen.RMSNorm(epsilon=1e-6), "scale"),
            "Keras": lambda x, scale: keras.ops.rms_normalization(x, scale, -1, 1e-6),
        },
        (_array(*TOKENS), _array(512)),
    ),
    Case(
        "batch norm 64 x 28 x 28 x 32",
        our_batch_norm,
        {
            "JAX by hand": hand_batch_norm,
            "Keras": keras_batch_norm,
        },
        (_array(*IMAGES), _array(32), _array(32)),
    ),
    Case(
        "group norm 64 x 28 x 28 x 32",
        lambda x, scale, offset: layers.group_norm(x, scale, offset, groups=8),
        {
            "JAX by hand": hand_group_norm,
            "Flax": flax(linen.GroupNorm(8, epsilon=1e-5), "scale", "bias"),
        },
        (_array(*IMAGES), _array(32), _array(32)),
    ),
    Case(
        "dropout 32 x 256 x 512",
        lambda x: layers.dropout(x, 0.3, key=KEY),
        {"JAX by hand": hand_dropout},
        (_array(*TOKENS),),
    ),
    *(
        Case(f"{name} 32 x 256 x 512", getattr(activations, name), {"JAX": theirs}, (_array(*TOKENS),))
        for name, theirs in {
            "gelu": lambda x: jax.nn.gelu(x, approximate=False),
            "silu": jax.nn.silu,
            "softmax": jax.nn.softmax,
            "log_softmax": jax.nn.log_softmax,
            "mish": jax.nn.mish,
            "softplus": jax.nn.softplus,
        }.items()
    ),
]
