"""Products, convolutions, normalizations and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from torch_layers.case import Case, back, called, front, turned

CONVS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
IMAGE = (2, 5, 6, 4)
MOMENTUM = 0.8  # ours, which keeps the old statistics; torch's is 1 less it
STATISTICS = {"mean": np.zeros(4), "var": np.ones(4)}


def _dense(p: Any, _: Any, train: bool, x: Any) -> Any:
    return F.linear(x, p["kernel"].T, p.get("bias"))


def _bilinear(p: Any, _: Any, train: bool, x: Any, y: Any) -> Any:
    return F.bilinear(x, y, p["kernel"].movedim(-1, 0), p["bias"])


def _embedding(p: Any, _: Any, train: bool, x: Any) -> Any:
    return F.embedding(x, p["kernel"])


def _conv(**options: Any) -> Any:
    def run(p: Any, _: Any, train: bool, x: Any) -> Any:
        return back(CONVS[x.ndim - 2](front(x), turned(p["kernel"]), p.get("bias"), **options))

    return run


def _conv_transpose(groups: int = 1, **options: Any) -> Any:
    """Torch's kernel is ``(in, out / groups, *window)`` and flipped."""

    def run(p: Any, _: Any, train: bool, x: Any) -> Any:
        axes = x.ndim - 2
        parts = torch.flip(p["kernel"], tuple(range(axes))).chunk(groups, -1)
        kernel = torch.cat([part.movedim((-2, -1), (0, 1)) for part in parts], 0)
        return back(TRANSPOSED[axes](front(x), kernel, p.get("bias"), groups=groups, **options))

    return run


def _separable(p: Any, _: Any, train: bool, x: Any) -> Any:
    x, axes = front(x), x.ndim - 2
    for place in range(1, axes + 1):
        x = CONVS[axes](x, turned(p[f"kernel_{place}"]), p[f"bias_{place}"], groups=x.shape[1])
    return back(x)


def _batch_norm(p: Any, b: Any, train: bool, x: Any) -> Any:
    return _running(F.batch_norm, p, b, train, x, x.numel() // x.shape[-1])


def _instance_norm(p: Any, b: Any, train: bool, x: Any) -> Any:
    if not b:
        return back(F.instance_norm(front(x), None, None, p["scale"], p["offset"], True))
    return _running(F.instance_norm, p, b, train, x, x.numel() // x.shape[-1] // x.shape[0])


def _running(function: Any, p: Any, b: Any, train: bool, x: Any, count: int) -> Any:
    """A normalization with running statistics.

    Torch's running variance takes in ``n / (n - 1)`` times the variance of ``count = n`` values: what a step
    adds to it is scaled back by that.
    """
    mean, var = b["mean"].clone(), b["var"].clone()
    y = function(front(x), mean, var, p.get("scale"), p.get("offset"), train, 1 - MOMENTUM, 1e-5)
    if train:
        kept = MOMENTUM * b["var"]
        b["mean"], b["var"] = mean, kept + (var - kept) * (count - 1) / count
    return back(y)


def _layer_norm(p: Any, _: Any, train: bool, x: Any) -> Any:
    return F.layer_norm(x, p["scale"].shape, p["scale"], p.get("offset"), 1e-5)


def _rms_norm(p: Any, _: Any, train: bool, x: Any) -> Any:
    return F.rms_norm(x, p["scale"].shape, p["scale"], 1e-6)


def _group_norm(p: Any, _: Any, train: bool, x: Any) -> Any:
    return back(F.group_norm(front(x), 2, p["scale"], p["offset"], 1e-5))


def _local_response_norm(p: Any, _: Any, train: bool, x: Any) -> Any:
    return back(F.local_response_norm(front(x), 3, 0.5, 0.75, 1.0))


def _weight_norm(p: Any, _: Any, train: bool, x: Any) -> Any:
    kernel = torch._weight_norm(p["kernel"].T, p["scale"][:, None], 0)
    return F.linear(x, kernel, p["bias"])


def _spectral_norm(p: Any, b: Any, train: bool, x: Any) -> Any:
    """Torch's kernel stands the other way round: our right vector ``u`` is its left one.

    It keeps the other vector as well, which follows from this one by the kernel of the last step; we take
    that by the kernel of this step, and so does torch here.
    """
    module = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(1, 1)).train(train)
    u, place = b["u"].clone(), "parametrizations.weight"
    given = {
        f"{place}.original": p["kernel"].T,
        f"{place}.0._u": u,
        f"{place}.0._v": F.normalize(p["kernel"].detach() @ u, dim=0),
        "bias": p["bias"],
    }
    y = called(module, given, x)
    b["u"] = u
    return y


CASES = {
    "dense": Case(run=_dense, inputs=((3, 7, 5),), params={"kernel": (5, 4), "bias": (4,)}),
    "dense no bias": Case(run=_dense, inputs=((3, 5),), params={"kernel": (5, 4)}),
    "bilinear": Case(run=_bilinear, inputs=((3, 5), (3, 2)), params={"kernel": (5, 2, 4), "bias": (4,)}),
    "embedding": Case(
        run=_embedding, inputs=(np.array([[[1, 5, 0], [5, 5, 2]]]),), params={"kernel": (6, 4)}
    ),
    "conv 1d": Case(run=_conv(), inputs=((2, 9, 4),), params={"kernel": (3, 4, 6), "bias": (6,)}),
    "conv 3d": Case(run=_conv(), inputs=((2, 3, 4, 3, 2),), params={"kernel": (2, 2, 2, 2, 3), "bias": (3,)}),
    "conv strides": Case(
        run=_conv(stride=(2, 1), padding=1), inputs=(IMAGE,), params={"kernel": (3, 3, 4, 6), "bias": (6,)}
    ),
    "conv same": Case(
        run=_conv(padding="same", dilation=2), inputs=(IMAGE,), params={"kernel": (3, 2, 4, 6), "bias": (6,)}
    ),
    "conv groups": Case(run=_conv(groups=2), inputs=(IMAGE,), params={"kernel": (2, 3, 2, 6)}),
    "conv_transpose": Case(
        run=_conv_transpose(stride=2), inputs=((2, 5, 4),), params={"kernel": (3, 4, 6), "bias": (6,)}
    ),
    "conv_transpose groups": Case(
        run=_conv_transpose(groups=2, stride=(2, 1), dilation=2),
        inputs=(IMAGE,),
        params={"kernel": (3, 2, 2, 6), "bias": (6,)},
    ),
    "depthwise_conv": Case(
        run=_conv(groups=4), inputs=(IMAGE,), params={"kernel": (3, 2, 1, 8), "bias": (8,)}
    ),
    "separable_conv2d": Case(
        run=_separable,
        inputs=(IMAGE,),
        params={"kernel_1": (3, 1, 1, 8), "bias_1": (8,), "kernel_2": (1, 2, 1, 8), "bias_2": (8,)},
    ),
    "separable_conv3d": Case(
        run=_separable,
        inputs=((2, 3, 4, 3, 2),),
        params={
            **{"kernel_1": (2, 1, 1, 1, 4), "bias_1": (4,), "kernel_2": (1, 3, 1, 1, 4), "bias_2": (4,)},
            **{"kernel_3": (1, 1, 2, 1, 4), "bias_3": (4,)},
        },
    ),
    "batch_norm": Case(
        run=_batch_norm,
        inputs=(IMAGE,),
        params={"scale": (4,), "offset": (4,)},
        buffers=STATISTICS,
        steps=5,
    ),
    "batch_norm plain": Case(run=_batch_norm, inputs=((6, 4),), buffers=STATISTICS, steps=5),
    "instance_norm": Case(run=_instance_norm, inputs=(IMAGE,), params={"scale": (4,), "offset": (4,)}),
    "instance_norm running": Case(
        run=_instance_norm,
        inputs=(IMAGE,),
        params={"scale": (4,), "offset": (4,)},
        buffers=STATISTICS,
        steps=5,
    ),
    "layer_norm": Case(run=_layer_norm, inputs=((3, 5, 4),), params={"scale": (4,), "offset": (4,)}),
    "layer_norm axes": Case(run=_layer_norm, inputs=((3, 5, 4),), params={"scale": (5, 4), "offset": (5, 4)}),
    "rms_norm": Case(run=_rms_norm, inputs=((3, 5, 4),), params={"scale": (4,)}),
    "group_norm": Case(run=_group_norm, inputs=(IMAGE,), params={"scale": (4,), "offset": (4,)}),
    "local_response_norm": Case(run=_local_response_norm, inputs=(IMAGE,)),
    "weight_norm": Case(
        run=_weight_norm, inputs=((3, 5),), params={"kernel": (5, 4), "bias": (4,), "scale": (4,)}
    ),
    "spectral_norm": Case(
        run=_spectral_norm,
        inputs=((3, 5),),
        params={"kernel": (5, 4), "bias": (4,)},
        buffers={"u": np.array([0.1, -0.7, 0.1, 0.7])},
        steps=5,
    ),
}
"""Products, convolutions, normalizations, embeddings: a case a row."""
