"""Write what torch makes of the cases in the table of ops, or with --check compare what is committed.

Runs where torch is installed beside the packages (``nox -s oracle``); the tests read the files without it.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from ops import stored  # noqa: E402
from ops.row import Case, OpRow  # noqa: E402
from ops.rows_layers_windows import each, pads  # noqa: E402
from ops.table import OPS  # noqa: E402

Tensor = torch.Tensor


def channels_first(x: Tensor) -> Tensor:
    """``(batch, *spatial, channels)`` as torch has it."""
    return x.movedim(-1, 1)


def padded(x: Tensor, padding: Any, window: Any, strides: Any, dilation: Any, fill: float) -> Tensor:
    """``x``, channels first, with the padding written out: torch knows no uneven one."""
    found = pads(padding, x.shape[2:], window, strides, dilation)
    return F.pad(x, [size for pair in reversed(found) for size in pair], value=fill)


def conv(
    x: Tensor, kernel: Tensor, bias: Any, strides: Any, padding: Any, kernel_dilation: Any, groups: int
) -> Tensor:
    """``layers.conv``."""
    axes = x.ndim - 2
    strides, dilation = each(strides, axes), each(kernel_dilation, axes)
    x = padded(channels_first(x), padding, kernel.shape[:-2], strides, dilation, 0.0)
    kernel = kernel.movedim((-1, -2), (0, 1))
    op = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return op(x, kernel, bias, strides, 0, dilation, groups).movedim(1, -1)


def max_pool(x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any) -> Tensor:
    """``layers.max_pool``."""
    axes = x.ndim - 2
    window, dilation = each(window, axes), each(dilation, axes)
    strides = window if strides is None else each(strides, axes)
    x = padded(channels_first(x), padding, window, strides, dilation, -np.inf)
    op = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    return op(x, window, strides, 0, dilation).movedim(1, -1)


def _windows(x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any, fill: float) -> Tensor:
    """``(batch, channels, *positions, elements)``: every window of ``x``, padded."""
    axes = x.ndim - 2
    window, dilation = each(window, axes), each(dilation, axes)
    strides = window if strides is None else each(strides, axes)
    x = padded(channels_first(x), padding, window, strides, dilation, fill)
    for axis, (size, stride, step) in enumerate(zip(window, strides, dilation, strict=True), 2):
        x = x.unfold(axis, (size - 1) * step + 1, stride)[..., ::step]
    return x.flatten(2 + axes)


def avg_pool(
    x: Tensor, window: Any, strides: Any, padding: Any, dilation: Any, count_padding: bool
) -> Tensor:
    """``layers.avg_pool``."""
    total = _windows(x, window, strides, padding, dilation, 0.0).sum(-1)
    ones = _windows(torch.ones_like(x), window, strides, padding, dilation, float(count_padding)).sum(-1)
    return (total / ones.clamp(min=1)).movedim(1, -1)


def lp_pool(x: Tensor, window: Any, norm: float, strides: Any, padding: Any, dilation: Any) -> Tensor:
    """``layers.lp_pool``."""
    held = _windows(x, window, strides, padding, dilation, 0.0)
    return torch.linalg.vector_norm(held, norm, -1).movedim(1, -1)


def adaptive_pool(kind: str, x: Tensor, output_size: Any) -> Tensor:
    """``layers.adaptive_max_pool`` and ``layers.adaptive_avg_pool``."""
    axes = x.ndim - 2
    op = getattr(F, f"adaptive_{kind}_pool{axes}d")
    return op(channels_first(x), each(output_size, axes)).movedim(1, -1)


def batch_norm(
    x: Tensor, mean: Tensor, var: Tensor, scale: Any, offset: Any, *, train: bool, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    """``layers.batch_norm``; torch keeps the unbiased variance, so the running one is not compared."""
    mean, var = mean.detach().clone(), var.detach().clone()
    y = F.batch_norm(channels_first(x), mean, var, scale, offset, train, 1 - momentum, eps)
    return y.movedim(1, -1), mean


def instance_norm(
    x: Tensor, mean: Any, var: Any, scale: Any, offset: Any, *, train: bool, momentum: float, eps: float
) -> tuple[Tensor, ...]:
    """``layers.instance_norm``; the running variance is not compared."""
    held = None if mean is None else mean.detach().clone()
    spread = None if var is None else var.detach().clone()
    own = train or mean is None
    y = F.instance_norm(channels_first(x), held, spread, scale, offset, own, 1 - momentum, eps)
    return (y.movedim(1, -1),) if held is None else (y.movedim(1, -1), held)


def binary(y_true: Tensor, y_pred: Tensor, from_logits: bool, positive_weight: Any) -> Tensor:
    """``losses.binary_cross_entropy``."""
    if from_logits:
        weight = torch.as_tensor(positive_weight, dtype=y_pred.dtype)
        values = F.binary_cross_entropy_with_logits(y_pred, y_true, pos_weight=weight, reduction="none")
    else:
        # torch has no second derivative with respect to the labels, and its first by another route.
        values = F.binary_cross_entropy(y_pred, y_true.detach(), reduction="none")
    return values.mean(-1) if values.ndim > 1 else values


def categorical(
    y_true: Tensor,
    y_pred: Tensor,
    from_logits: bool,
    class_weights: Any,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
) -> Tensor:
    """``losses.categorical_cross_entropy``."""
    y_true = y_true if y_true.is_floating_point() else y_true.long()
    options = {"weight": class_weights, "reduction": reduction}
    if not y_true.is_floating_point():
        options["ignore_index"] = -100 if ignore_index is None else ignore_index
    if from_logits:
        return F.cross_entropy(y_pred, y_true, label_smoothing=label_smoothing, **options)
    if y_true.is_floating_point():
        return -(y_true * y_pred.log()).sum(-1)
    return F.nll_loss(y_pred.log(), y_true, **options)


def normal_kl(y_true: Any, y_pred: tuple[Tensor, Tensor]) -> Tensor:
    """``losses.gaussian_kl``."""
    prior = y_true or (torch.zeros_like(y_pred[0]), torch.zeros_like(y_pred[1]))
    posterior, prior = (
        torch.distributions.Normal(mean, (logarithm / 2).exp()) for mean, logarithm in (y_pred, prior)
    )
    return torch.distributions.kl_divergence(posterior, prior).sum(-1)


def ctc(
    y_true: Any, y_pred: Tensor, blank: int, from_logits: bool, input_lengths: Any, zero_infinity: bool
) -> Tensor:
    """``losses.connectionist_temporal_classification``; the gradient of torch is that of logits."""
    lengths, labels = y_true
    log_p = F.log_softmax(y_pred, -1) if from_logits else y_pred
    steps = torch.full(lengths.shape, y_pred.shape[1]) if input_lengths is None else input_lengths
    labels = torch.where(torch.arange(labels.shape[1]) < lengths[:, None], labels, 1)
    log_p, steps, lengths = log_p.movedim(0, 1), steps.long(), lengths.long()
    return F.ctc_loss(log_p, labels.long(), steps, lengths, blank, "none", zero_infinity)


NAMES = {
    "F": F,
    "torch": torch,
    "conv": conv,
    "max_pool": max_pool,
    "avg_pool": avg_pool,
    "lp_pool": lp_pool,
    "adaptive_pool": adaptive_pool,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
    "binary": binary,
    "categorical": categorical,
    "ctc": ctc,
    "normal_kl": normal_kl,
}


def applies(row: OpRow, one: Case) -> bool:
    """Whether torch's expression knows every option of a case, and the case is not empty."""
    # A name before "=" is torch's own.
    known = set(re.findall(r"\b[a-z]\w*\b(?!=)", row.torch or ""))
    return row.torch is not None and set(one.options) <= known and all(each.size for each in one.arrays)


def evaluate(row: OpRow, one: Case, dtype: Any, smooth: bool) -> dict[str, np.ndarray]:
    """Inputs, results and, off the kinks, gradients of one case, by name."""
    arrays = one.cast(dtype)
    tensors = [torch.tensor(each) for each in arrays]
    chosen = row.differentiable(one)
    for index in chosen:
        tensors[index].requires_grad_()
    args, options = one.fill(tensors)
    bound = inspect.signature(row.op).bind(*args, **options)
    bound.apply_defaults()
    result = eval(row.torch or "", {**NAMES, **bound.arguments})
    results = list(result) if isinstance(result, tuple) else [result]
    found = {f"in{index}": each for index, each in enumerate(arrays)}
    found |= {f"out{index}": each.detach().numpy() for index, each in enumerate(results)}
    if smooth:
        cotangent = torch.tensor(stored.cotangent(tuple(results[0].shape), dtype))
        wrt = [tensors[index] for index in chosen]
        gradients = torch.autograd.grad(results[0], wrt, cotangent, allow_unused=True)
        for index, gradient in zip(chosen, gradients, strict=True):
            if gradient is not None:
                found[f"grad{index}"] = gradient.numpy()
    return found


@functools.cache
def everything() -> dict[str, dict[str, np.ndarray]]:
    """All arrays by area and name."""
    areas: dict[str, dict[str, np.ndarray]] = {}
    for row in OPS:
        for number, one in enumerate(row.cases):
            if not applies(row, one):
                continue
            smooth = row.gradient != "none" and number < (row.smooth or len(row.cases))
            for dtype in ("float64", "float32") if number == 0 else ("float64",):
                for name, value in evaluate(row, one, dtype, smooth).items():
                    areas.setdefault(row.area, {})[f"{row.name}|{number}|{dtype}|{name}"] = value
    return areas


def check() -> list[str]:
    """The differences between what is committed and what torch gives now."""
    wrong = []
    for area, arrays in everything().items():
        committed = stored.read(area)
        wrong += [f"{name} is missing or stale" for name in arrays.keys() ^ committed.keys()]
        for name in arrays.keys() & committed.keys():
            rtol = 1e-12 if "float64" in name else 1e-5
            if not np.allclose(arrays[name], committed[name], rtol=rtol, atol=rtol, equal_nan=True):
                wrong.append(f"{name} differs")
    return sorted(wrong)


def main() -> int:
    """Write the fixtures, or compare them."""
    torch.set_num_threads(1)
    if "--check" in sys.argv:
        wrong = check()
        print("\n".join(wrong) or "the committed fixtures are what torch gives")
        return bool(wrong)
    for area, arrays in everything().items():
        path = stored.write(area, arrays)
        print(f"{path.relative_to(ROOT)}: {len(arrays)} arrays, {path.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
