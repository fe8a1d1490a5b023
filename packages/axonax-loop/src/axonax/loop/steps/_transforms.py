"""What a training step does beside the gradient and the optimizer, as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from axonax.loop.loss_scale import LossScale
from axonax.loop.steps._averages import Average
from axonax.loop.steps._gradients import Clip
from axonax.tensor.precision import Policy


@dataclass(frozen=True, kw_only=True)
class Transforms:
    """The transforms of a step. Their order is fixed, whatever the order in which they were asked for.

    Scale the loss, differentiate, unscale, look whether all is finite, accumulate, clip, update, average.
    """

    precision: Policy | None = None
    loss_scale: LossScale | None = None
    skip_nonfinite: bool = False
    accumulate: int = 1
    clip: Clip | None = None
    average: Average | None = None

    @property
    def guards(self) -> bool:
        """Whether steps that are not finite are left out."""
        return self.skip_nonfinite or (self.loss_scale is not None and self.loss_scale.guards)

    def having(self, **one: Any) -> Transforms:
        """These transforms and one more.

        Raises:
            ValueError: there is one of its kind already.
        """
        ((name, value),) = one.items()
        if getattr(self, name) != getattr(Transforms(), name):
            was = getattr(self, name)
            said = f"{was.name} ({was.text})" if isinstance(was, Average) else name
            raise ValueError(f"{value.name if isinstance(value, Average) else name}: there is {said} already")
        return replace(self, **{name: value})


def steps_of(count: Any) -> int:
    """The batches of an accumulated step.

    Raises:
        ValueError: no whole number of at least 1.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"accumulate: takes a whole number of batches of at least 1, got {count!r}")
    return count
