"""Windows that slide over spatial axes: padding and output sizes, for convolutions and pools alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from axonax.tensor import names

Pairs = tuple[tuple[int, int], ...]
Padding = Literal["valid", "same", "causal"] | int | Sequence[int | tuple[int, int]]
_KINDS = {"valid": "valid", "same": "same", "causal": "causal"}


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A window on each spatial axis, over sizes that dilation and padding have yet to widen."""

    op: str
    sizes: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    input_dilation: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """The window with its gaps."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.window, self.dilation, strict=True))

    @property
    def spread(self) -> tuple[int, ...]:
        """The input with its gaps."""
        pairs = zip(self.sizes, self.input_dilation, strict=True)
        return tuple((n - 1) * d + 1 if n else 0 for n, d in pairs)

    def pads(self, padding: Padding) -> Pairs:
        """How much to pad each axis in front and behind.

        Raises:
            ValueError: an unknown kind, numbers that do not fit the axes, or a window that is larger than
                the padded input.
        """
        pads = self._named(padding) if isinstance(padding, str) else self._explicit(padding)
        padded = tuple(n + low + high for n, (low, high) in zip(self.spread, pads, strict=True))
        if any(0 < n < k for n, k in zip(padded, self.reach, strict=True)):
            raise ValueError(f"{self.op}: window {self.reach} does not fit the padded input {padded}")
        return pads

    def _named(self, padding: str) -> Pairs:
        kind = names.lookup(_KINDS, padding, f"{self.op} padding")
        if kind == "valid":
            return ((0, 0),) * len(self.sizes)
        if kind == "causal":
            if len(self.sizes) != 1:
                raise ValueError(f"{self.op}: causal padding is for 1 spatial axis, got {len(self.sizes)}")
            return ((self.reach[0] - 1, 0),)
        totals = (
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, s, k in zip(self.spread, self.strides, self.reach, strict=True)
        )
        return tuple((total // 2, total - total // 2) for total in totals)

    def _explicit(self, padding: int | Sequence[int | tuple[int, int]]) -> Pairs:
        count = len(self.sizes)
        given = tuple(padding) if isinstance(padding, Sequence) else (padding,) * count
        pairs = tuple(tuple(each) if isinstance(each, Sequence) else (each, each) for each in given)
        whole = all(len(pair) == 2 and all(isinstance(n, Integral) for n in pair) for pair in pairs)
        if len(pairs) != count or not whole:
            raise ValueError(
                f'{self.op}: padding must be "valid", "same", "causal", a number, or a number or a pair '
                f"(front, behind) for each of {count} axes, got {padding}"
            )
        if any(n < 0 for pair in pairs for n in pair):
            raise ValueError(f"{self.op}: padding must not be negative, got {padding}")
        return tuple((int(low), int(high)) for low, high in pairs)
