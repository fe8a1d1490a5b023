"""Convolutions and pools beside JAX by hand, Flax and Keras.

Convolutions come alone and, named "in a scan", within `jax.lax.scan`, as a step of training has them when the
loop runs on the device: those take their gradient in the loop, so that only their forward row says something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import layers
from ops_cases.case import Case, peer

nn = peer("flax.linen")
keras = peer("keras")

Op = Callable[..., Any]
_SCANNED = 2
_AXES = {1: "W", 2: "HW", 3: "DHW"}


def drawn(seed: int, *shapes: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Normal numbers in float32."""
    random = np.random.default_rng(seed)
    return tuple(random.normal(size=shape).astype(np.float32) for shape in shapes)


def by_hand(stride: int, padding: str, groups: int = 1) -> Op:
    """`jax.lax.conv_general_dilated`."""

    def call(x: Any, kernel: Any) -> Any:
        axes = _AXES[x.ndim - 2]
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride,) * len(axes),
            padding.upper(),
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            feature_group_count=groups,
        )

    return call


def scanned(op: Op) -> Op:
    """``op`` within a scan, its gradient too: each step moves the kernel down its slope."""

    def call(x: Any, kernel: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            y = op(x, kernel)
            return jnp.vdot(y, y) / y.size

        def step(kernel: Any, _: Any) -> tuple[Any, Any]:
            value, (by_x, by_kernel) = jax.value_and_grad(loss, (0, 1))(x, kernel)
            return kernel - 1e-3 * by_kernel, value + by_x.sum()

        return jax.lax.scan(step, kernel, None, length=_SCANNED)[1]

    # The harness differentiates each case; steps of training are not differentiated again.
    return lambda x, kernel: jax.lax.stop_gradient(call(x, kernel))


def flax_conv(stride: int, padding: str, groups: int = 1) -> Op:
    """`flax.linen.Conv`."""

    def call(x: Any, kernel: Any) -> Any:
        *window, _, out = kernel.shape
        layer = nn.Conv(
            out, window, stride, padding=padding.upper(), feature_group_count=groups, use_bias=False
        )
        return layer.apply({"params": {"kernel": kernel}}, x)

    return call


def convolution(
    name: str, x: tuple[int, ...], kernel: tuple[int, ...], stride: int = 1, padding: str = "same"
) -> list[Case]:
    """A convolution, alone and in a scan."""
    groups = x[-1] // kernel[-2]

    def ours(x: Any, kernel: Any) -> Any:
        return layers.conv(x, kernel, strides=stride, padding=padding, groups=groups)

    hand = by_hand(stride, padding, groups)
    rivals: dict[str, Op] = {"JAX by hand": hand, "Flax": flax_conv(stride, padding, groups)}
    if groups == 1:
        rivals["Keras"] = lambda x, k: keras.ops.conv(x, k, strides=stride, padding=padding)
    arrays = drawn(0, x, kernel)
    return [
        Case(f"conv {name}", ours, rivals, arrays),
        Case(f"conv {name}, in a scan", scanned(ours), {"JAX by hand": scanned(hand)}, arrays),
    ]


def transposed(x: tuple[int, ...], kernel: tuple[int, ...], stride: int) -> Case:
    """A transposed convolution with "same" padding."""
    dims = ("NHWC", "HWIO", "NHWC")

    def hand(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_transpose(x, kernel, (stride, stride), "SAME", dimension_numbers=dims)

    def ours(x: Any, kernel: Any) -> Any:
        return layers.conv_transpose(x, kernel, strides=stride, padding="same")

    return Case("conv_transpose 3x3 by 2", ours, {"JAX by hand": hand}, drawn(0, x, kernel))


_WINDOWS = {
    "max": (jax.lax.max, -np.inf),
    "min": (jax.lax.min, np.inf),
    "avg": (jax.lax.add, 0.0),
    "lp": (jax.lax.add, 0.0),
}


def window_by_hand(kind: str, window: int, stride: int) -> Op:
    """`jax.lax.reduce_window`."""
    combine, start = _WINDOWS[kind]

    def call(x: Any) -> Any:
        axes = x.ndim - 2
        sizes, steps = (1, *(window,) * axes, 1), (1, *(stride,) * axes, 1)
        found = jax.lax.reduce_window(
            x * x if kind == "lp" else x, np.float32(start), combine, sizes, steps, "VALID"
        )
        if kind == "lp":
            return jnp.sqrt(found)
        return found / window**axes if kind == "avg" else found

    return call


def pool(kind: str, window: int, stride: int, x: tuple[int, ...] = (32, 28, 28, 32)) -> Case:
    """A pool, as ``reduce_window`` and as the peers that have it."""
    op = getattr(layers, f"{kind}_pool")
    rivals: dict[str, Op] = {"JAX by hand": window_by_hand(kind, window, stride)}
    axes = len(x) - 2
    if kind in ("max", "avg"):
        flax = getattr(nn, f"{kind}_pool")
        rivals["Flax"] = lambda x: flax(x, (window,) * axes, (stride,) * axes, "VALID")
        peer = keras.ops.max_pool if kind == "max" else keras.ops.average_pool
        rivals["Keras"] = lambda x: peer(x, window, stride, "valid")
    name = f"{kind}_pool {axes}d {window} by {stride}"
    return Case(name, lambda x: op(x, window=window, strides=stride), rivals, drawn(0, x))


def blur_by_hand(x: Any) -> Any:
    """A depthwise convolution with the filter."""
    kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
    full = np.tile(kernel[..., None, None], (1, 1, 1, x.shape[-1]))
    pads = ((1, 1), (1, 1))
    return jax.lax.conv_general_dilated(
        x,
        full,
        (2, 2),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


IMAGES = drawn(0, (32, 28, 28, 32))
OTHERS = [
    Case("blur_pool 3 by 2", lambda x: layers.blur_pool(x, strides=2), {"JAX by hand": blur_by_hand}, IMAGES),
    Case(
        "adaptive_max_pool 7",
        lambda x: layers.adaptive_max_pool(x, output_size=7),
        {"JAX by hand": window_by_hand("max", 4, 4)},
        IMAGES,
    ),
    Case(
        "adaptive_avg_pool 7",
        lambda x: layers.adaptive_avg_pool(x, output_size=7),
        {"JAX by hand": window_by_hand("avg", 4, 4)},
        IMAGES,
    ),
    Case("global_max_pool", layers.global_max_pool, {"JAX by hand": lambda x: x.max((1, 2))}, IMAGES),
    Case("global_avg_pool", layers.global_avg_pool, {"JAX by hand": lambda x: x.mean((1, 2))}, IMAGES),
    Case(
        "unfold 3",
        lambda x: layers.unfold(x, window=3),
        {
            "JAX by hand": lambda x: (
                jax.lax.conv_general_dilated_patches(
                    x, (3, 3), (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
                .reshape(32, 26, 26, 32, 9)
                .swapaxes(-1, -2)
                .reshape(32, 26, 26, -1)
            )
        },
        IMAGES,
    ),
]

CASES: list[Case] = [
    *convolution("MNIST 1st, 3x3x32", (64, 28, 28, 1), (3, 3, 1, 32), padding="valid"),
    *convolution("MNIST 2nd, 3x3x64", (64, 13, 13, 32), (3, 3, 32, 64), padding="valid"),
    *convolution("1x1x128", (32, 14, 14, 64), (1, 1, 64, 128)),
    *convolution("3x3x256", (4, 14, 14, 256), (3, 3, 256, 256)),
    *convolution("3x3x128 by 2", (16, 28, 28, 64), (3, 3, 64, 128), 2),
    *convolution("5x5x32", (16, 28, 28, 32), (5, 5, 32, 32)),
    *convolution("7x7x64 by 2", (4, 112, 112, 3), (7, 7, 3, 64), 2),
    *convolution("1d 5x64", (32, 128, 64), (5, 64, 64)),
    *convolution("3d 3x3x3x16", (4, 12, 12, 12, 8), (3, 3, 3, 8, 16)),
    *convolution("3x3x64 in 4 groups", (16, 28, 28, 64), (3, 3, 16, 64)),
    *convolution("depthwise 3x3x64", (16, 28, 28, 64), (3, 3, 1, 64)),
    transposed((16, 14, 14, 64), (3, 3, 64, 32), 2),
    *(pool(kind, *sizes) for kind in ("max", "avg") for sizes in ((2, 2), (3, 2), (2, 1), (7, 2), (7, 7))),
    *(pool(kind, *sizes) for kind in ("min", "lp") for sizes in ((2, 2), (3, 2))),
    *(pool("max", 2, 2, shape) for shape in ((32, 256, 64), (4, 14, 14, 14, 16))),
    *OTHERS,
]
