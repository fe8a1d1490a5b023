"""What the callback of `minimize` raises."""

import jax
import jax.numpy as jnp
import pytest

from axonax import optim


class Stop(Exception):
    """What a callback raises."""


def test_what_a_callback_raises_arrives_as_it_is():
    raised, steps = [], []

    def stop(result):
        steps.append(int(result.steps))
        if len(steps) % 3 == 0:
            raised.append(Stop(f"after {steps[-1]}"))
            raise raised[-1]

    def search():
        return optim.minimize(lambda x: jnp.sum(x**2), jnp.ones(2), optim.sgd(0.1), callback=stop)

    for turn in range(2):
        with pytest.raises(Stop, match="after 3") as caught:
            search()
        assert caught.value is raised[turn]
        assert [each.name for each in caught.traceback][-1] == "stop"
    assert steps == [1, 2, 3] * 2
    with pytest.raises(jax.errors.JaxRuntimeError, match="Stop: after 3"):
        jax.block_until_ready(jax.jit(search)())
