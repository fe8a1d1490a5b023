"""What a layer of torch is given, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Shape = tuple[int, ...]
Given = Shape | np.ndarray
"""A shape, to be filled with normal numbers for each step, or an array with the steps in front."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A layer of torch on arrays in our layout.

    Args:
        run: called as ``run(params, buffers, train, *inputs, **named)``, with dicts of tensors by our names;
            it puts new values into ``buffers``, and returns a tensor or (nested) tuples of them.
        inputs: those that come in order.
        params: shapes by our names.
        named: inputs by name.
        buffers: first values by our names.
        steps: how many steps of training, each on inputs of its own.
    """

    run: Callable[..., Any]
    inputs: tuple[Given, ...]
    params: Mapping[str, Shape] = field(default_factory=dict)
    named: Mapping[str, Given] = field(default_factory=dict)
    buffers: Mapping[str, np.ndarray] = field(default_factory=dict)
    steps: int = 1


def front(x: torch.Tensor) -> torch.Tensor:
    """Channels, from the last axis to that behind the batch."""
    return x.movedim(-1, 1)


def back(x: torch.Tensor) -> torch.Tensor:
    """Channels, from behind the batch to the last axis."""
    return x.movedim(1, -1)


def turned(kernel: torch.Tensor) -> torch.Tensor:
    """A kernel ``(*window, in, out)`` as torch's ``(out, in, *window)``."""
    return kernel.movedim((-1, -2), (0, 1))


def called(module: torch.nn.Module, params: Mapping[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
    """A module of torch with these parameters, by torch's own names, in the place of its own."""
    return torch.func.functional_call(module, dict(params), args, kwargs)
