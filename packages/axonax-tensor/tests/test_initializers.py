"""Initializers: distributions, fans, dtypes."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import initializers

# This generator compiles twice as fast as the default one.
KEY, OTHER = jax.random.split(jax.random.key(3, impl="rbg"))
NAMES = initializers.available()
CONSTANT = {"zeros", "ones", "identity", "dirac"}
SHAPES = {
    "identity": [(3, 4)],
    "sparse": [(24, 8)],
    "dirac": [(2, 3, 4, 5)],
    "delta_orthogonal": [(2, 3, 4, 5), (3, 4, 4)],
}
SCALED = ["variance_scaling", *(n for n in NAMES if n.startswith(("glorot", "he", "lecun")))]
CUT = 0.87962566103423978  # the standard deviation of a normal that is cut at 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_shape_and_dtype_are_those_asked_for(name, dtype):
    make = initializers.by_name(name)
    for shape in SHAPES.get(name, [(3, 4), (2, 3, 4, 5), [3, 4]]):
        value = jax.eval_shape(lambda key, shape=shape: make(key, shape, dtype), KEY)
        assert (value.shape, value.dtype) == (tuple(shape), jnp.dtype(dtype))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["uniform", "normal", "he_normal", "he_uniform", "orthogonal"])
def test_half_precision_is_finite(name, dtype):
    value = jax.jit(lambda key: initializers.by_name(name)(key, (8, 8), dtype))(KEY)
    assert np.isfinite(np.asarray(value, np.float32)).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_key_decides_all(name):
    shape = SHAPES.get(name, [(8, 24)])[0]
    make = jax.jit(lambda key: initializers.by_name(name)(key, shape))
    value = make(KEY)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(make(KEY), value)
    assert (name in CONSTANT) == (np.abs(np.asarray(make(OTHER)) - value).max() == 0)


def test_jit_and_vmap_over_keys():
    make = initializers.glorot_uniform()
    keys = jax.random.split(jax.random.key(0), 3)
    several = jax.jit(jax.vmap(lambda key: make(key, (8, 8))))(keys)
    np.testing.assert_allclose(several[1], make(keys[1], (8, 8)), rtol=1e-6)


def moments_of(values):
    values = np.asarray(values, np.float64)
    return values.mean(), values.std()


FANS = {"fan_in": 50 * 4, "fan_out": 80 * 4, "fan_avg": 65 * 4}
LIMITS = {"normal": np.inf, "truncated_normal": 2 / CUT, "uniform": np.sqrt(3)}


@pytest.mark.parametrize("distribution", LIMITS)
@pytest.mark.parametrize("mode", FANS)
def test_variance_scaling_has_the_variance_of_its_fan(mode, distribution):
    make = initializers.variance_scaling(scale=0.5, mode=mode, distribution=distribution)
    value = jax.jit(lambda key: make(key, (2, 2, 50, 80)))(KEY)
    expected = np.sqrt(0.5 / FANS[mode])
    mean, deviation = moments_of(value)
    assert abs(mean) < 4 * expected / np.sqrt(value.size)
    np.testing.assert_allclose(deviation, expected, rtol=0.03)
    assert np.abs(value).max() <= expected * LIMITS[distribution] * 1.001
    assert np.abs(value).max() >= expected * min(LIMITS[distribution], 3) * 0.98


@pytest.mark.parametrize(
    ("name", "variance", "limit"),
    [
        ("glorot_uniform", 2 / 260, np.sqrt(3)),
        ("glorot_normal", 2 / 260, 2 / CUT),
        ("he_uniform", 2 / 100, np.sqrt(3)),
        ("he_normal", 2 / 100, 2 / CUT),
        ("lecun_uniform", 1 / 100, np.sqrt(3)),
        ("lecun_normal", 1 / 100, 2 / CUT),
        ("variance_scaling", 1 / 100, np.inf),
    ],
)
def test_named_scalings(name, variance, limit):
    make = getattr(initializers, name)
    default = 2.0 if name.startswith("he") else 1.0
    value, scaled, zero = jax.device_get(
        jax.jit(
            lambda key: (
                make()(key, (100, 160)),
                make(scale=4 * default)(key, (100, 160)),
                make(scale=0.0)(key, (2, 3)),
            )
        )(KEY)
    )
    np.testing.assert_allclose(moments_of(value)[1], np.sqrt(variance), rtol=0.03)
    assert np.abs(value).max() <= np.sqrt(variance) * limit * 1.001
    np.testing.assert_allclose(scaled, 2 * value, rtol=1e-5)
    np.testing.assert_array_equal(zero, 0)
    assert make()(KEY, (0, 3)).shape == (0, 3)


def test_axes_of_the_fans():
    make = initializers.variance_scaling(in_axis=-1, out_axis=(-3, -2))
    np.testing.assert_allclose(moments_of(make(KEY, (8, 40, 100)))[1], 0.1, rtol=0.03)


def test_plain_distributions():
    uniform = initializers.uniform(low=-1.0, high=3.0)(KEY, (20_000,))
    assert -1 <= uniform.min() < -0.99
    assert 2.99 < uniform.max() < 3
    np.testing.assert_allclose(moments_of(uniform), (1, 4 / np.sqrt(12)), atol=0.03)
    normal = initializers.normal(stddev=2.0, mean=5.0)(KEY, (20_000,))
    np.testing.assert_allclose(moments_of(normal), (5, 2), atol=0.06)
    cut = initializers.truncated_normal(stddev=2.0, mean=5.0)(KEY, (20_000,))
    np.testing.assert_allclose(moments_of(cut), (5, 2 * CUT), atol=0.06)
    assert 1 <= cut.min() <= 1.1
    assert 8.9 <= cut.max() <= 9
    right = initializers.truncated_normal(stddev=1.0, lower=0.0, upper=1.0)(KEY, (1000,))
    assert 0 <= right.min() <= right.max() <= 1
    np.testing.assert_array_equal(initializers.full(0.5)(KEY, (2, 2), jnp.bfloat16), 0.5)
    assert initializers.ones()(KEY, (), jnp.int32).dtype == jnp.int32


@pytest.mark.parametrize(("shape", "axis"), [((8, 3), -1), ((3, 8), -1), ((2, 3, 5), 0), ((2, 2, 2, 20), -1)])
def test_orthogonal_rows_or_columns(shape, axis):
    value = jax.jit(lambda key: initializers.orthogonal(gain=3.0, axis=axis)(key, shape))(KEY)
    matrix = np.moveaxis(np.asarray(value), axis, -1).reshape(-1, shape[axis])
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    np.testing.assert_allclose(gram, 9 * np.eye(len(gram)), atol=1e-4)


@pytest.mark.parametrize("name", [*SCALED, "orthogonal", "sparse", "uniform", "normal", "truncated_normal"])
@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64"])
def test_random_values_are_floats(name, dtype):
    with pytest.raises(ValueError, match=f"{name}: dtype must be float, got {dtype}"):
        initializers.by_name(name)(KEY, (2, 3), dtype)


@pytest.mark.parametrize("name", [*SCALED, "orthogonal", "sparse"])
def test_a_vector_has_no_fans(name):
    with pytest.raises(ValueError, match=rf"{name}: shape must have at least 2 axes, got \(3,\)"):
        initializers.by_name(name)(KEY, (3,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: initializers.uniform(low=2.0, high=1.0),
            "uniform: low must not be above high, got 2.0 and 1.0",
        ),
        (lambda: initializers.normal(stddev=-1), "normal: stddev must not be negative, got -1"),
        (lambda: initializers.truncated_normal(stddev=-1), "truncated_normal: stddev must not be negative"),
        (lambda: initializers.truncated_normal(lower=1, upper=1), "lower must be below upper, got 1 and 1"),
        (lambda: initializers.he_normal(scale=-1), "he_normal: scale must not be negative, got -1"),
        (lambda: initializers.variance_scaling(scale=-1), "variance_scaling: scale must not be negative"),
        (lambda: initializers.variance_scaling(mode="fan"), 'unknown mode "fan": did you mean "fan_'),
        (
            lambda: initializers.variance_scaling(distribution="gauss"),
            'unknown distribution "gauss": known are',
        ),
        (lambda: initializers.identity()(KEY, (3,)), r"identity: shape must have 2 axes, got \(3,\)"),
        (
            lambda: initializers.dirac()(KEY, (3, 3)),
            r"dirac: shape must be .* with 3 to 5 axes, got \(3, 3\)",
        ),
        (
            lambda: initializers.dirac(groups=2)(KEY, (3, 3, 3)),
            r"dirac: groups must divide the outputs, got 2 and shape \(3, 3, 3\)",
        ),
        (
            lambda: initializers.delta_orthogonal()(KEY, (3, 4, 3)),
            r"delta_orthogonal: outputs must not be fewer than inputs, got shape \(3, 4, 3\)",
        ),
        (
            lambda: initializers.delta_orthogonal()(KEY, (3, 4)),
            "delta_orthogonal: shape must be .*3 to 5 axes",
        ),
        (lambda: initializers.sparse(sparsity=1.5), r"sparse: sparsity must be in \[0, 1\], got 1.5"),
        (lambda: initializers.gates(parts=()), "gates: parts must name at least one initializer, got none"),
        (
            lambda: initializers.gates(parts=("zeros", "ones"))(KEY, (2, 5)),
            r"gates: the last axis must be 2 parts of one size, got shape \(2, 5\)",
        ),
        (lambda: initializers.sparse(stddev=-1.0), "sparse: stddev must not be negative, got -1.0"),
        (lambda: initializers.gain("leaky"), 'unknown gain "leaky": did you mean "leaky_relu"'),
        (
            lambda: initializers.by_name("glorot"),
            'unknown initializer "glorot": did you mean "glorot_normal"',
        ),
        (lambda: initializers.by_name(3), "must be a name or a callable .*, got 3 of type int"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_callable_is_handed_back():
    def mine(key, shape, dtype):
        return jnp.zeros(shape, dtype)

    assert initializers.by_name(mine) is mine


@pytest.mark.parametrize(
    ("name", "expected"),
    [("linear", 1), ("sigmoid", 1), ("tanh", 5 / 3), ("relu", 2**0.5), ("leaky_relu", (2 / 1.0001) ** 0.5),
     ("selu", 0.75)],
)  # fmt: skip
def test_gains(name, expected):
    np.testing.assert_allclose(initializers.gain(name), expected, rtol=1e-12)


def test_the_gain_of_a_steep_leaky_relu():
    np.testing.assert_allclose(initializers.gain("leaky_relu", negative_slope=0.5), (2 / 1.25) ** 0.5)


@pytest.mark.parametrize(
    ("made", "record"),
    [
        (initializers.zeros(), ("zeros", {})),
        (initializers.full(0.5), ("full", {"value": 0.5})),
        (initializers.normal(stddev=0.1), ("normal", {"stddev": 0.1, "mean": 0.0})),
        (initializers.orthogonal(axis=0), ("orthogonal", {"gain": 1.0, "axis": 0})),
        (initializers.gates(parts=("zeros", "ones")), ("gates", {"parts": ("zeros", "ones")})),
        (lambda key, shape, dtype: None, None),
        ("zeros", None),
    ],
)
def test_an_initializer_knows_the_call_that_made_it(made, record):
    assert initializers.record(made) == record


MADE = [
    *(initializers.by_name(name) for name in initializers.available()),
    initializers.full(0.5),
    initializers.gates(parts=("zeros", initializers.normal(stddev=0.1))),
]


@pytest.mark.parametrize("made", MADE, ids=lambda made: initializers.record(made)[0])
def test_a_pickled_initializer_is_the_same_call(made):
    back = pickle.loads(pickle.dumps(made))
    shape = (3, 2, 2) if initializers.record(made)[0] in ("dirac", "delta_orthogonal") else (2, 2)
    assert str(jax.make_jaxpr(lambda key: back(key, shape))(KEY)) == str(
        jax.make_jaxpr(lambda key: made(key, shape))(KEY)
    )
