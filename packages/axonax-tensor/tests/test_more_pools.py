"""Pools at their edges: integers, ties, NaN, windows of padding alone, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

X = jnp.ones((1, 4, 2))
FLAT = jnp.ones((4, 2))


def test_integers_and_nan():
    x = jnp.array([3, 1, 2, 7], jnp.uint8).reshape(1, 4, 1)
    assert layers.min_pool(x, window=2, strides=1, padding=1).ravel().tolist() == [3, 1, 1, 2, 7]
    assert layers.min_pool(x.astype(jnp.int8), window=2).dtype == jnp.int8
    assert layers.avg_pool(x, window=2).ravel().tolist() == [2.0, 4.5]
    assert layers.adaptive_max_pool(x, output_size=2).ravel().tolist() == [3, 7]
    holed = jnp.array([1.0, jnp.nan, 2.0, 3.0]).reshape(1, 4, 1)
    for pool in (layers.min_pool, layers.max_pool, layers.avg_pool):
        assert np.isnan(pool(holed, window=2)).ravel().tolist() == [True, False]


def test_a_window_of_padding_alone_is_zero():
    found = layers.avg_pool(X[:, :1], window=1, padding=2)
    assert found[0, :, 0].tolist() == [0, 0, 1, 0, 0]


def test_the_gradient_goes_to_the_first_of_equals():
    gradient = jax.grad(lambda x: layers.min_pool(x, window=4).sum())(X)
    assert gradient[0, :, 0].tolist() == [1, 0, 0, 0]
    gradient = jax.grad(lambda x: layers.adaptive_max_pool(x, output_size=3).sum())(X)
    assert gradient[0, :, 0].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("pool", [layers.lp_pool, layers.global_lp_pool])
def test_the_gradient_of_a_norm_at_zero_is_zero(pool):
    options = {"window": 2} if pool is layers.lp_pool else {}
    for norm in (1.5, 2, 3):
        gradient = jax.grad(lambda x, norm=norm: pool(x, norm=norm, **options).sum())(X * 0)
        assert (gradient == 0).all()


def test_half_precision_is_summed_in_float32():
    x = jnp.ones((1, 5000, 1), jnp.float16)
    assert layers.global_avg_pool(x).item() == 1
    assert layers.avg_pool(x, window=5000).item() == 1
    assert layers.adaptive_avg_pool(x, output_size=1).item() == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.min_pool(FLAT, window=2), r"min_pool: input must be .*, got \(4, 2\)"),
        (lambda: layers.min_pool(X > 0, window=2), "min_pool: input must be float or integer, got bool"),
        (lambda: layers.avg_pool(FLAT, window=2), r"avg_pool: input must be .*, got \(4, 2\)"),
        (
            lambda: layers.avg_pool(X, window=5),
            r"avg_pool: window \(5,\) does not fit the padded input \(4,\)",
        ),
        (
            lambda: layers.lp_pool(X, window=2, norm=0.5),
            "lp_pool: norm must be a finite number of at least 1, got 0.5",
        ),
        (lambda: layers.lp_pool(FLAT, window=2), "lp_pool: input must be"),
        (lambda: layers.blur_pool(FLAT), "blur_pool: input must be"),
        (
            lambda: layers.blur_pool(X, mode="reflekt"),
            'unknown blur_pool mode "reflekt": did you mean "reflect"',
        ),
        (
            lambda: layers.adaptive_avg_pool(X, output_size=0),
            "output_size must be integers of at least 1, got 0",
        ),
        (lambda: layers.adaptive_max_pool(X[:, :0], output_size=1), "spatial axes must not be empty"),
        (lambda: layers.adaptive_lp_pool(FLAT, output_size=1), "adaptive_lp_pool: input must be"),
        (lambda: layers.global_avg_pool(FLAT), "global_avg_pool: input must be"),
        (lambda: layers.global_max_pool(FLAT), "global_max_pool: input must be"),
        (lambda: layers.global_lp_pool(FLAT, norm=jnp.inf), "global_lp_pool: norm must be a finite number"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


POOLS = [
    (layers.max_pool, {"window": 2}),
    (layers.max_pool, {"window": 3, "strides": 2, "padding": "same"}),
    (layers.max_pool, {"window": 6, "strides": 1}),
    (layers.min_pool, {"window": (2, 3), "strides": 1}),
    (layers.avg_pool, {"window": 2}),
    (layers.avg_pool, {"window": 3, "strides": 2, "padding": 1}),
]


def slope(op, options):
    def total(x):
        y = op(x, **options)
        return jnp.vdot(y, jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return jax.grad(total)


@pytest.mark.parametrize(("op", "options"), POOLS)
def test_what_runs_on_a_cpu_equals_xlas_own(op, options):
    # Many values are equal: the first of them gets the gradient either way.
    x = np.random.default_rng(0).integers(0, 4, (2, 7, 8, 3)).astype(np.float32)
    ours = op(x, **options), jax.jit(slope(op, options))(x)

    def on_all(*operands, cpu, default):
        return default(*operands)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.lax, "platform_dependent", on_all)
        jax.clear_caches()
        plain = op(x, **options), jax.jit(slope(op, options))(x)
    jax.clear_caches()
    for one, two in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("platform", "count"), [("cuda", 1), ("tpu", 1), ("cpu", 0)])
def test_accelerators_get_xlas_own_windows(platform, count):
    for op, options in POOLS[:2]:
        traced = jax.jit(slope(op, options)).trace(jnp.ones((2, 7, 8, 3)))
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count('"stablehlo.select_and_scatter"') == count
