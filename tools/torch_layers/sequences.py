"""Recurrent layers, attention and the layers of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torch_layers.case import Case, called

SEQUENCE, UNITS, GATES = (2, 5, 3), 4, {"RNN": 1, "GRU": 3, "LSTM": 4}
MODEL, CONTEXT, HEADS, HIDDEN = 6, 4, 2, 8
PROJECTIONS = ("query", "key", "value")
SEEN = np.tril(np.ones((1, 1, 1, 5, 5), bool), -1)
SEEN[..., 0, 0] = True


def _recurrent(kind: str, both: bool = False) -> Any:
    """A recurrent module on the parameters of one direction or two, with all that it returns."""
    module = getattr(torch.nn, kind)(SEQUENCE[-1], UNITS, batch_first=True, bidirectional=both)

    def run(p: Mapping[str, Any], _: Any, train: bool, x: Any) -> Any:
        given = {}
        for side, suffix in (("forward/", ""), ("backward/", "_reverse")) if both else (("", ""),):
            given |= _weights(p, side, suffix)
        outputs, state = called(module, given, x)
        if both:
            return outputs
        # Torch's state is (h, c), with layers and directions in front.
        parts = state[::-1] if isinstance(state, tuple) else (state,)
        return outputs, tuple(each[0] for each in parts)

    return run


def _weights(p: Mapping[str, Any], side: str, suffix: str) -> dict[str, Any]:
    bias = p[f"{side}bias"]
    return {
        f"weight_ih_l0{suffix}": p[f"{side}kernel"].T,
        f"weight_hh_l0{suffix}": p[f"{side}recurrent_kernel"].T,
        f"bias_ih_l0{suffix}": bias,
        f"bias_hh_l0{suffix}": p.get(f"{side}recurrent_bias", torch.zeros_like(bias)),
    }


def _leaves(gates: int, side: str = "", recurrent_bias: bool = False) -> dict[str, tuple[int, ...]]:
    width = gates * UNITS
    shapes: dict[str, tuple[int, ...]] = {
        "kernel": (SEQUENCE[-1], width),
        "recurrent_kernel": (UNITS, width),
        "bias": (width,),
    }
    if recurrent_bias:
        shapes["recurrent_bias"] = (width,)
    return {f"{side}{name}": shape for name, shape in shapes.items()}


def _projected(p: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Torch's parameters of attention."""
    kernels = [p[f"{at}{part}/kernel"].flatten(1).T for part in PROJECTIONS]
    biases = torch.cat([p[f"{at}{part}/bias"].flatten() for part in PROJECTIONS])
    packed = len({each.shape for each in kernels}) == 1
    inner = (
        {"in_proj_weight": torch.cat(kernels)}
        if packed
        else {f"{part[0]}_proj_weight": each for part, each in zip(PROJECTIONS, kernels, strict=True)}
    )
    out = {
        "out_proj.weight": p[f"{at}output/kernel"].flatten(0, 1).T,
        "out_proj.bias": p[f"{at}output/bias"],
    }
    return inner | {"in_proj_bias": biases} | out


def _attention(context: int | None = None, causal: bool = False) -> Any:
    sizes = {} if context is None else {"kdim": context, "vdim": context}
    module = torch.nn.MultiheadAttention(MODEL, HEADS, batch_first=True, **sizes)

    def run(p: Any, _: Any, train: bool, x: Any, other: Any = None, mask: Any = None) -> Any:
        other = x if other is None else other
        hidden = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
        hidden = ~mask[0, 0] if mask is not None else hidden
        return called(module, _projected(p), x, other, other, attn_mask=hidden, need_weights=False)[0]

    return run


def _kernels(context: int = MODEL, at: str = "") -> dict[str, tuple[int, ...]]:
    size = MODEL // HEADS
    found: dict[str, tuple[int, ...]] = {
        f"{at}output/kernel": (HEADS, size, MODEL),
        f"{at}output/bias": (MODEL,),
    }
    for part in PROJECTIONS:
        found[f"{at}{part}/kernel"] = (MODEL if part == "query" else context, HEADS, size)
        found[f"{at}{part}/bias"] = (HEADS, size)
    return found


def _encoder(activation: str, norm_first: bool) -> Any:
    module = torch.nn.TransformerEncoderLayer(
        MODEL, HEADS, HIDDEN, 0.0, activation, norm_first=norm_first, batch_first=True
    )

    def run(p: Any, _: Any, train: bool, x: Any) -> Any:
        return called(module, _block(p, {"attention": "self_attn"}), x)

    return run


def _decoder(activation: str, norm_first: bool) -> Any:
    module = torch.nn.TransformerDecoderLayer(
        MODEL, HEADS, HIDDEN, 0.0, activation, norm_first=norm_first, batch_first=True
    )
    later = torch.ones(5, 5, dtype=torch.bool).triu(1)

    def run(p: Any, _: Any, train: bool, x: Any, context: Any) -> Any:
        given = _block(p, {"attention": "self_attn", "cross_attention": "multihead_attn"})
        return called(module, given, x, context, tgt_mask=later)

    return run


def _block(p: Mapping[str, Any], attentions: Mapping[str, str]) -> dict[str, Any]:
    """Torch's parameters of a transformer's layer, whose attentions have these names there."""
    given = {}
    for ours, theirs in attentions.items():
        given |= {f"{theirs}.{name}": each for name, each in _projected(p, f"{ours}/").items()}
    for place, part in enumerate((*attentions, "dense"), 1):
        given |= {
            f"norm{place}.weight": p[f"{part}_norm/scale"],
            f"norm{place}.bias": p[f"{part}_norm/offset"],
        }
    for place in (1, 2):
        given[f"linear{place}.weight"] = p[f"dense_{place - 1}/kernel"].T
        given[f"linear{place}.bias"] = p[f"dense_{place - 1}/bias"]
    return given


def _norm(part: str) -> dict[str, tuple[int, ...]]:
    return {f"{part}_norm/scale": (MODEL,), f"{part}_norm/offset": (MODEL,)}


ENCODER: dict[str, tuple[int, ...]] = {
    **_kernels(at="attention/"),
    **_norm("attention"),
    **_norm("dense"),
    "dense_0/kernel": (MODEL, HIDDEN),
    "dense_0/bias": (HIDDEN,),
    "dense_1/kernel": (HIDDEN, MODEL),
    "dense_1/bias": (MODEL,),
}
DECODER = ENCODER | _kernels(at="cross_attention/") | _norm("cross_attention")
CASES = {
    "rnn": Case(run=_recurrent("RNN"), inputs=(SEQUENCE,), params=_leaves(1)),
    "gru": Case(run=_recurrent("GRU"), inputs=(SEQUENCE,), params=_leaves(3, recurrent_bias=True)),
    "lstm": Case(run=_recurrent("LSTM"), inputs=(SEQUENCE,), params=_leaves(4), steps=2),
    "bidirectional": Case(
        run=_recurrent("LSTM", both=True),
        inputs=(SEQUENCE,),
        params=_leaves(4, "forward/") | _leaves(4, "backward/"),
    ),
    "attention": Case(run=_attention(), inputs=((2, 5, MODEL),), params=_kernels()),
    "attention causal": Case(run=_attention(causal=True), inputs=((2, 5, MODEL),), params=_kernels()),
    "attention masked": Case(
        run=_attention(), inputs=((2, 5, MODEL),), named={"mask": SEEN}, params=_kernels()
    ),
    "attention across": Case(
        run=_attention(CONTEXT), inputs=((2, 5, MODEL), (2, 3, CONTEXT)), params=_kernels(CONTEXT)
    ),
    "transformer_encoder": Case(run=_encoder("gelu", True), inputs=((2, 5, MODEL),), params=ENCODER),
    "transformer_encoder post": Case(run=_encoder("relu", False), inputs=((2, 5, MODEL),), params=ENCODER),
    "transformer_decoder": Case(
        run=_decoder("gelu", True), inputs=((2, 5, MODEL), (2, 3, MODEL)), params=DECODER
    ),
    "transformer_decoder post": Case(
        run=_decoder("relu", False), inputs=((2, 5, MODEL), (2, 3, MODEL)), params=DECODER
    ),
}
