"""bfloat16: products, convolutions, attention over 2048 positions and layer norm; larger on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import layers
from ops_cases.case import Case

_RANDOM = np.random.default_rng(97)
_GPU = jax.default_backend() == "gpu"
BATCH, HEADS, IMAGES = (8, 16, 64) if _GPU else (1, 2, 1)
_TOLERANCE = 3e-2


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape).astype(jnp.bfloat16)


def hand_dense(x: Any, kernel: Any, bias: Any) -> Any:
    """Summed in float32, the gradient of the bias too."""
    return (jnp.dot(x, kernel, preferred_element_type=jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)


def hand_conv(x: Any, kernel: Any) -> Any:
    """With padding for the same size."""
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=dims)


def hand_layer_norm(x: Any, scale: Any, offset: Any) -> Any:
    """Two passes in float32."""
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    variance = jnp.square(wide - mean).mean(-1, keepdims=True)
    y = (wide - mean) * jax.lax.rsqrt(variance + 1e-5) * scale.astype(jnp.float32)
    return (y + offset.astype(jnp.float32)).astype(x.dtype)


def attention(causal: bool) -> Case:
    """Beside XLA's and, on a GPU, cuDNN's."""

    def by(implementation: str) -> Callable[..., Any]:
        return lambda q, k, v: jax.nn.dot_product_attention(
            q, k, v, is_causal=causal, implementation=implementation
        )

    rivals = {"JAX": by("xla")} | ({"JAX, cuDNN": by("cudnn")} if _GPU else {})
    return Case(
        f"bfloat16 {'causal ' if causal else ''}attention {BATCH} x 2048 x {HEADS} x 64",
        lambda q, k, v: layers.dot_product_attention(q, k, v, causal=causal),
        rivals,
        tuple(_array(BATCH, 2048, HEADS, 64) for _ in range(3)),
        _TOLERANCE,
    )


CASES = [
    Case(
        "bfloat16 dense 4096 x 1024 to 1024",
        layers.dense,
        {"JAX by hand": hand_dense},
        (_array(4096, 1024), _array(1024, 1024), _array(1024)),
        _TOLERANCE,
    ),
    Case(
        f"bfloat16 conv 3x3x128, {IMAGES} x 56 x 56 x 128",
        lambda x, kernel: layers.conv(x, kernel, padding="same"),
        {"JAX by hand": hand_conv},
        (_array(IMAGES, 56, 56, 128), _array(3, 3, 128, 128)),
        _TOLERANCE,
    ),
    attention(causal=False),
    attention(causal=True),
    Case(
        "bfloat16 layer norm 32 x 256 x 512",
        layers.layer_norm,
        {"JAX by hand": hand_layer_norm},
        (_array(32, 256, 512), _array(512), _array(512)),
        _TOLERANCE,
    ),
]
