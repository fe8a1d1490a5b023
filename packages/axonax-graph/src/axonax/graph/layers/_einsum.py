"""A dense layer over any axes, in the notation of Einstein sums."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import positive
from axonax.tensor import layers

_FORM = re.compile(r"((?:\.\.\.)?[A-Za-z]*),([A-Za-z]+)->((?:\.\.\.)?[A-Za-z]*)")


@builder
def einsum_dense(
    equation: str,
    sizes: Mapping[str, int],
    *,
    bias_axes: str = "",
    activation: Activation | None = None,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A dense layer over any axes: ``y = activation(einsum(equation, x, kernel) + bias)``.

    Args:
        equation: ``"x,kernel->y"`` with a letter for each axis; ``...`` in ``x`` and ``y`` are leading axes.
        sizes: of those axes of the kernel that the input does not have.
        bias_axes: the axes of ``y`` that the bias has; none is no bias.
        activation: a name, a function or a layer that follows as a node of its own.
        kernel_initializer: of ``kernel``, whose axes the equation names.
        bias_initializer: of ``bias``, with the axes of ``y`` from the first of ``bias_axes`` on, those that
            it does not have of size 1.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer between the shapes of the equation.

    Raises:
        ValueError: no such equation, an axis of unknown size, an unknown name (the text lists near matches).

    >>> from axonax import graph as nn
    >>> heads = nn.einsum_dense("...d,dnh->...nh", {"n": 8, "h": 16}, bias_axes="nh")
    >>> model = nn.input("x", (None, 12, 64)) | heads
    """
    form = _read(equation, sizes, bias_axes)
    params = {"kernel": param(functools.partial(_shape, form=form, axes=form.kernel), kernel_initializer)}
    if bias_axes:
        start = min(form.result.index(each) for each in bias_axes)
        axes = "".join(each if each in bias_axes else "1" for each in form.result[start:])
        params["bias"] = param(functools.partial(_shape, form=form, axes=axes), bias_initializer)
    return computes(
        function=layers.einsum_dense,
        params=params,
        options={"equation": equation.replace(" ", "")},
        check=functools.partial(_check, form=form),
        then=as_activation(activation),
    )


@dataclass(frozen=True, kw_only=True)
class _Form:
    """An equation in parts: the axes of the input, the kernel and the result, and what sizes are given."""

    input: str
    kernel: str
    result: str
    sizes: Mapping[str, int]

    def known(self, x: Any) -> dict[str, int]:
        """The size of each axis for an input."""
        letters = self.input.removeprefix("...")
        return {**self.sizes, **dict(zip(letters, x.shape[x.ndim - len(letters) :], strict=True)), "1": 1}


def _read(equation: Any, sizes: Any, bias_axes: Any) -> _Form:
    who = "einsum_dense"
    found = _FORM.fullmatch(equation.replace(" ", "")) if isinstance(equation, str) else None
    if found is None or any(len(set(part)) < len(part) for part in _letters(*found.groups())):
        form = '"x,kernel->y" with each axis once in each part, such as "...d,dnh->...nh"'
        raise ValueError(f"{who}: equation must be {form}, got {equation!r}")
    x, kernel, result = _letters(*found.groups())
    new = [each for each in kernel if each not in x]
    if not isinstance(sizes, Mapping) or set(sizes) != set(new):
        needed = ", ".join(f'"{each}"' for each in new) or "nothing"
        raise ValueError(f"{who}: sizes must give {needed}, the axes of the kernel alone, got {sizes!r}")
    for each in sizes:
        positive(who, f'sizes["{each}"]', sizes[each])
    if set(result) - set(x + kernel) or ("..." in found[1]) != ("..." in found[3]):
        raise ValueError(f"{who}: the axes of y must be among those of x and the kernel, got {equation!r}")
    if not isinstance(bias_axes, str) or set(bias_axes) - set(result):
        raise ValueError(f'{who}: bias_axes must be axes of y, "{result}", got {bias_axes!r}')
    return _Form(input=found[1], kernel=kernel, result=result, sizes=sizes)


def _letters(*parts: str) -> list[str]:
    return [part.removeprefix("...") for part in parts]


def _shape(x: Any, *, form: _Form, axes: str) -> tuple[int, ...]:
    known = form.known(x)
    return tuple(known[each] for each in axes)


def _check(x: Any, *, form: _Form) -> str | None:
    letters = form.input.removeprefix("...")
    fits = x.ndim >= len(letters) if form.input.startswith("...") else x.ndim == len(letters)
    return None if fits else f'needs an input with the axes "{form.input}"'
