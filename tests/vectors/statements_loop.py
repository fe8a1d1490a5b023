"""The sentences of the vectors about scales of a loss as tests."""

from __future__ import annotations

import inspect

import jax.numpy as jnp
import numpy as np

from axonax.loop import loss_scale


def static_default() -> None:
    state = loss_scale.static().init()
    assert float(state.scale) == 2**15
    for finite in (True, False):
        assert loss_scale.static().adjust(state, finite) == state


def overflow_guard() -> None:
    each = loss_scale.dynamic(3e38, period=1)
    assert float(each.adjust(each.init(), True).scale) == np.float32(3e38)


def four_functions() -> None:
    """To unscale and to adjust are two functions: a step looks at the gradients between them."""
    each = loss_scale.dynamic(8.0)
    assert list(inspect.signature(each.adjust).parameters) == ["state", "finite"]
    gradients = each.scale({"w": jnp.ones(2)}, each.init())
    assert each.unscale(gradients, each.init())["w"].tolist() == [1.0, 1.0]


def nan_is_an_overflow() -> None:
    each = loss_scale.dynamic(8.0)
    assert float(each.adjust(each.init(), jnp.isfinite(jnp.nan)).scale) == 4.0


PASSING = (static_default, overflow_guard)
