"""Sampling: what is refused, and classes beyond the first thousands."""

import jax
import jax.numpy as jnp
import pytest

from axonax.tensor import layers
from axonax.tensor.layers import _sampling

KEY = jax.random.key(0)
LOGITS = jnp.zeros((2, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.greedy(jnp.array([1, 2])), r"greedy: logits must be floats .*, got int32 \(2,\)"),
        (
            lambda: layers.greedy(1.0),
            r"greedy: logits must be floats .* one class at least, got float32 \(\)",
        ),
        (lambda: layers.greedy(LOGITS[:, :0]), r"greedy: logits .* one class at least, got float32 \(2, 0\)"),
        (lambda: layers.sample(jnp.array([1, 2]), key=KEY), "sample: logits must be floats"),
        (
            lambda: layers.sample(LOGITS, key=KEY, temperature=-1.0),
            "sample: temperature must be finite and not negative, got -1.0",
        ),
        (
            lambda: layers.sample(LOGITS, key=KEY, temperature=float("inf")),
            "temperature must be finite .*, got inf",
        ),
        (
            lambda: layers.sample(LOGITS, key=KEY, temperature=float("nan")),
            "temperature must be finite .*, got nan",
        ),
        (
            lambda: layers.sample(LOGITS, key=KEY, temperature=jnp.ones(3)),
            r"sample: temperature \(3,\) does not broadcast to the rows \(2,\)",
        ),
        (
            lambda: layers.sample(LOGITS, key=KEY, top_p=jnp.ones((2, 2))),
            r"sample: top_p \(2, 2\) does not broadcast to the rows \(2,\)",
        ),
        (lambda: layers.sample(LOGITS, key=KEY, top_p=1.5), r"sample: top_p must be in \[0, 1\], got 1.5"),
        (lambda: layers.sample(LOGITS, key=KEY, top_p=-0.1), r"sample: top_p must be in \[0, 1\], got -0.1"),
        (
            lambda: layers.sample(LOGITS, key=KEY, top_k=0),
            "sample: top_k must be an integer of at least 1, got 0",
        ),
        (
            lambda: layers.sample(LOGITS, key=KEY, top_k=2.0),
            "sample: top_k must be an integer of at least 1, got 2.0",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_of_equals_the_first_are_kept():
    drawn = jax.jit(lambda key: layers.sample(jnp.zeros((500, 5)), key=key, top_k=2))(KEY)
    assert set(drawn.tolist()) == {0, 1}


def test_a_whole_share_keeps_the_tail():
    """The sum of the chances rounds to 1 after the first of them."""
    held, within = jnp.zeros(2000).at[0].set(20.0), jax.jit(_sampling._within)
    assert within(held, jnp.ones(1)).all()
    assert within(held, jnp.full(1, 0.99)).sum() == 1


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_p": 0.5}, {"top_k": 2, "top_p": 0.9}])
@pytest.mark.parametrize("lead", [(), (2, 3, 4), (0,)])
def test_any_leading_axes(lead, options):
    found = jax.eval_shape(lambda x: layers.sample(x, key=KEY, **options), jnp.zeros((*lead, 5)))
    assert (found.shape, found.dtype) == (lead, jnp.int32)
    found = jax.eval_shape(layers.greedy, jnp.zeros((*lead, 5)))
    assert (found.shape, found.dtype) == (lead, jnp.int32)


def test_a_tiny_temperature_is_nearly_greedy():
    logits = jnp.array([0.0, 1e-3, -1.0])
    assert jax.jit(lambda key: layers.sample(logits, key=key, temperature=1e-30))(KEY) == 1
