"""Recurrent layers with torch, whose kernels are transposed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

Tensor = torch.Tensor
Params = dict[str, Tensor]


def _weights(params: Params) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    kernel, recurrent = params["kernel"].T, params["recurrent_kernel"].T
    bias = params.get("bias", kernel.new_zeros(len(kernel)))
    inner = params.get("recurrent_bias", torch.zeros_like(bias))
    return kernel, recurrent, bias, inner


def lstm_cell(carry: tuple[Tensor, Tensor], x: Tensor, params: Params) -> tuple[Tensor, Tensor, Tensor]:
    """``layers.lstm_cell``."""
    h, c = torch.lstm_cell(x, carry[::-1], *_weights(params))
    return c, h, h


def gru_cell(carry: Tensor, x: Tensor, params: Params) -> tuple[Tensor, Tensor]:
    """``layers.gru_cell``; torch resets after the product."""
    h = torch.gru_cell(x, carry, *_weights(params))
    return h, h


def rnn_cell(carry: Tensor, x: Tensor, params: Params, activation: str) -> tuple[Tensor, Tensor]:
    """``layers.rnn_cell``."""
    cell = {"tanh": torch.rnn_tanh_cell, "relu": torch.rnn_relu_cell}[activation]
    h = cell(x, carry, *_weights(params))
    return h, h


def _fresh(x: Tensor, params: Params) -> Tensor:
    return x.new_zeros(len(x), len(params["recurrent_kernel"]))


def lstm(x: Tensor, params: Params, carry: Any) -> tuple[Tensor, Tensor, Tensor]:
    """``layers.lstm``."""
    c, h = (_fresh(x, params),) * 2 if carry is None else carry
    ys, h, c = torch.lstm(x, (h[None], c[None]), _weights(params), True, 1, 0.0, False, False, True)
    return ys, c[0], h[0]


def gru(x: Tensor, params: Params, carry: Any) -> tuple[Tensor, Tensor]:
    """``layers.gru``; torch resets after the product."""
    carry = _fresh(x, params) if carry is None else carry
    ys, h = torch.gru(x, carry[None], _weights(params), True, 1, 0.0, False, False, True)
    return ys, h[0]


def rnn(x: Tensor, params: Params, carry: Any) -> tuple[Tensor, Tensor]:
    """``layers.rnn``."""
    carry = _fresh(x, params) if carry is None else carry
    ys, h = torch.rnn_tanh(x, carry[None], _weights(params), True, 1, 0.0, False, False, True)
    return ys, h[0]


def conv_lstm_cell(carry: tuple[Tensor, Tensor], x: Tensor, params: Params) -> tuple[Tensor, Tensor, Tensor]:
    """``layers.conv_lstm_cell``, of torch's convolutions."""

    def conv(x: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(x.movedim(-1, 1), kernel.movedim((-1, -2), (0, 1)), padding="same").movedim(1, -1)

    c, h = carry
    terms = conv(x, params["kernel"]) + conv(h, params["recurrent_kernel"]) + params["bias"]
    i, f, g, o = terms.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return c, h, h


def conv_lstm(x: Tensor, params: Params, carry: Any) -> tuple[Tensor, ...]:
    """``layers.conv_lstm``."""
    ys = []
    for step in range(x.shape[1]):
        *carry, h = conv_lstm_cell(carry, x[:, step], params)
        ys.append(h)
    return torch.stack(ys, 1), *carry
