"""The vectors' layers in our names and layouts: channels last, ``(*window, in, out)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from axonax.tensor import layers


def first_to_last(x: Any) -> Any:
    return jnp.moveaxis(jnp.asarray(x), 1, -1)


def last_to_first(x: Any) -> Any:
    return jnp.moveaxis(x, -1, 1)


def kernel_to_last(kernel: Any) -> Any:
    """``(out, in, *window)`` to ``(*window, in, out)``."""
    return jnp.moveaxis(jnp.asarray(kernel), (1, 0), (-2, -1))


def options(kwargs: dict[str, Any], **names: str) -> dict[str, Any]:
    """The options by our names, lists as tuples."""
    given = {
        names.get(name, name): value for name, value in kwargs.items() if name not in ("channels", "mode")
    }
    return {name: _tuples(value) for name, value in given.items()}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def dense(x: Any, kernel: Any, bias: Any = None) -> Any:
    return layers.dense(x, kernel, _full_bias(bias, kernel))


def _full_bias(bias: Any, kernel: Any) -> Any:
    return None if bias is None else jnp.broadcast_to(jnp.asarray(bias, kernel.dtype), kernel.shape[-1:])


def convolution(op: Callable[..., Any]) -> Callable[..., Any]:
    """A convolution of one kernel."""

    def call(x: Any, kernel: Any, bias: Any = None, **kwargs: Any) -> Any:
        first = kwargs.get("channels", "last") == "first"
        if first:
            x, kernel = first_to_last(x), kernel_to_last(kernel)
        given = options(kwargs, feature_group_size="groups", batch_group_size="batch_groups")
        found = op(x, kernel, _full_bias(bias, kernel), **given)
        return last_to_first(found) if first else found

    return call


def separable(op: Callable[..., Any]) -> Callable[..., Any]:
    """The kernels and biases of the vectors come in turn."""

    def call(x: Any, *stages: Any, **kwargs: Any) -> Any:
        kernels, biases = stages[::2], stages[1::2]
        first = kwargs.get("channels", "last") == "first"
        if first:
            x, kernels = first_to_last(x), [kernel_to_last(each) for each in kernels]
        full = [_full_bias(*pair) for pair in zip(biases, kernels, strict=True)]
        found = op(x, *kernels, *full, **options(kwargs))
        return last_to_first(found) if first else found

    return call


def pool(op: Callable[..., Any]) -> Callable[..., Any]:
    """A pool of any kind; Axon's mean counts padding."""

    def call(x: Any, **kwargs: Any) -> Any:
        first = kwargs.get("channels", "last") == "first"
        given = options(kwargs, kernel_size="window", window_dilations="dilation")
        if op in (layers.max_pool, layers.avg_pool, layers.lp_pool):
            given.setdefault("window", 1)
        if op is layers.avg_pool:
            given["count_padding"] = True
        if op in (layers.adaptive_max_pool, layers.adaptive_avg_pool, layers.adaptive_lp_pool):
            given.setdefault("output_size", 1)
        found = op(first_to_last(x) if first else x, **given)
        return last_to_first(found) if first and found.ndim == x.ndim else found

    return call


def batch_norm(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **kwargs: Any) -> Any:
    """With Axon's default: a tenth of the old statistics is kept."""
    train = kwargs.get("mode") == "train"
    given = {"momentum": 0.1, **options(kwargs, epsilon="eps", channel_index="axis")}
    y, mean, var = layers.batch_norm(x, mean, var, gamma, beta, train=train, **given)
    return (y, {"mean": mean, "var": var}) if train else y


def layer_norm(x: Any, gamma: Any, beta: Any, **kwargs: Any) -> Any:
    return layers.layer_norm(x, gamma, beta, **options(kwargs, epsilon="eps", channel_index="axis"))


def bilinear(x: Any, y: Any, kernel: Any, bias: Any) -> Any:
    """The kernel of the vectors has its units in front."""
    kernel = np.moveaxis(kernel, 0, -1)
    return layers.bilinear(x, y, kernel, _full_bias(bias, kernel))


def instance_norm(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **kwargs: Any) -> Any:
    """With Axon's default: a tenth of the old statistics is kept."""
    train = kwargs.get("mode") == "train"
    given = {"momentum": 0.1, **options(kwargs, epsilon="eps", channel_index="axis")}
    y, mean, var = layers.instance_norm(x, mean, var, gamma, beta, train=train, **given)
    return (y, {"mean": mean, "var": var}) if train else y


def group_norm(x: Any, gamma: Any, beta: Any, **kwargs: Any) -> Any:
    return layers.group_norm(
        x, gamma, beta, **options(kwargs, epsilon="eps", channel_index="axis", num_groups="groups")
    )


def rms_norm(x: Any, gamma: Any, *, upcast: str = "normalization", **kwargs: Any) -> Any:
    """All is computed in float32 at least, whatever ``upcast`` says."""
    return layers.rms_norm(x, gamma, **options(kwargs, epsilon="eps", channel_index="axis"))


def dropping(op: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, key: Any, *, rate: float = 0.5, mode: str = "inference") -> Any:
        return (op(x, rate, key=key), None) if mode == "train" else op(x, rate)

    return call


def pad(x: Any, *, padding_config: Any, value: float = 0, channels: str = "last") -> Any:
    widths = tuple(map(tuple, padding_config))
    if channels == "last":
        return layers.pad(x, widths, value=value)
    return last_to_first(layers.pad(first_to_last(x), widths, value=value))


def resize(x: Any, *, size: Any, channels: str = "last", **kwargs: Any) -> Any:
    if channels == "last":
        return layers.resize(x, tuple(size), **kwargs)
    return last_to_first(layers.resize(first_to_last(x), tuple(size), **kwargs))


def reshape(x: Any, *, shape: Any) -> Any:
    return layers.reshape(x, [-1 if size == "auto" else size for size in shape])


def split(x: Any, *, splits: int, axis: int = -1) -> Any:
    return layers.split(x, splits, axis)


def quantize(kernel: Any, *, type: str) -> dict[str, Any]:
    """Axon's tensor of one group, with a zero point that is 0 throughout."""
    found = layers.quantize(kernel, bits={"s8": 8}[type])
    scale = found.scale[0]
    return {"value": found.values, "scale": scale, "zero_point": jnp.zeros(scale.shape, jnp.int32)}


def quantized_dense(x: Any, kernel: Any, bias: Any = None) -> Any:
    held = layers.QuantizedKernel(values=kernel["value"], scale=kernel["scale"][None])
    return layers.quantized_dense(x, held, bias)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "layers.batch_norm": batch_norm,
    "layers.bias": layers.bias,
    "layers.bilinear": bilinear,
    "layers.separable_conv2d": separable(layers.separable_conv2d),
    "layers.separable_conv3d": separable(layers.separable_conv3d),
    **{
        f"layers.{op.__name__}": convolution(op)
        for op in (layers.conv, layers.conv_transpose, layers.depthwise_conv)
    },
    "layers.dense": dense,
    "layers.dropout": dropping(layers.dropout),
    "layers.embedding": layers.embedding,
    "layers.feature_alpha_dropout": dropping(layers.feature_alpha_dropout),
    "layers.flatten": layers.flatten,
    "layers.group_norm": group_norm,
    "layers.instance_norm": instance_norm,
    "layers.layer_norm": layer_norm,
    "layers.pad": pad,
    "layers.reshape": reshape,
    "layers.resize": resize,
    "layers.rms_norm": rms_norm,
    "layers.spatial_dropout": dropping(layers.spatial_dropout),
    "layers.split": split,
    "layers.transpose": layers.transpose,
    "quantization.from_tensor": quantize,
    "quantization.weight_only_quantized_dense": quantized_dense,
    **{
        f"layers.{op.__name__}": pool(op)
        for op in (
            layers.max_pool,
            layers.avg_pool,
            layers.lp_pool,
            layers.blur_pool,
            layers.adaptive_max_pool,
            layers.adaptive_avg_pool,
            layers.adaptive_lp_pool,
            layers.global_max_pool,
            layers.global_avg_pool,
            layers.global_lp_pool,
        )
    },
}
