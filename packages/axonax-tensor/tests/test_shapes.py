"""What the layers of shape, size, padding and choice refuse, by the message, and what they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

X = jnp.ones((2, 3, 4))
IMAGE = jnp.ones((1, 4, 6, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: layers.reshape(X, ("batch", -1, -1)),
            r"reshape: shape may have one -1, got \('batch', -1, -1\)",
        ),
        (
            lambda: layers.reshape(X, ("batch", 5)),
            r"reshape: input \(2, 3, 4\) has 24 elements, which \('batch', 5\) cannot hold",
        ),
        (lambda: layers.reshape(X, (5, -1)), r"has 24 elements, which \(5, -1\) cannot hold"),
        (lambda: layers.reshape(X, (0, -1)), r"has 24 elements, which \(0, -1\) cannot hold"),
        (lambda: layers.reshape(X[:0], (0, -1)), r"has 0 elements, which \(0, -1\) cannot hold"),
        (lambda: layers.reshape(X, ("bach", -1)), 'unknown size in reshape "bach": did you mean "batch"'),
        (lambda: layers.reshape(1.0, ("batch",)), 'reshape: a scalar input has no "batch"'),
        (
            lambda: layers.reshape(X, (2, -3)),
            'reshape: sizes must be integers of at least 0, -1 or "batch", got -3',
        ),
        (lambda: layers.reshape(X, (2, 12.0)), 'at least 0, -1 or "batch", got 12.0'),
        (lambda: layers.transpose(X, (0, 1)), r"transpose: axes must name each of 3 axes once, got \(0, 1\)"),
        (lambda: layers.transpose(X, (0, 1, -2)), r"once, got \(0, 1, -2\)"),
        (lambda: layers.transpose(X, (0, 1, 3)), r"once, got \(0, 1, 3\)"),
        (lambda: layers.repeat(None, X, X, times=0), "repeat: times must be an integer of at least 1, got 0"),
        (lambda: layers.repeat(None, X, X, times=2, unroll=False), "unroll must be .* at least 1, got False"),
        (
            lambda: layers.repeat(None, X, X, times=2, remat="dots"),
            'unknown repeat policy "dots": known are "checkpoint_dots", ',
        ),
        (lambda: layers.remat(None, "x"), 'unknown remat policy "x": known are "checkpoint_dots", '),
        (lambda: layers.concatenate([]), "concatenate: at least one array is required, got none"),
        (lambda: layers.concatenate([X], 3), "concatenate: axis 3 is out of bounds for 3 axes"),
        (
            lambda: layers.concatenate([X, X[:1]]),
            r"concatenate: shapes must agree in all axes but -1, got \(2, 3, 4\), \(1, 3, 4\)",
        ),
        (lambda: layers.concatenate([X, X[0]], 0), r"all axes but 0, got \(2, 3, 4\), \(3, 4\)"),
        (lambda: layers.split(X, 3), "split: parts must divide 4, the size of axis -1, got 3"),
        (lambda: layers.split(X, 0), "split: parts must divide 4, the size of axis -1, got 0"),
        (
            lambda: layers.split(X, (1, 2)),
            r"split: sizes must add up to 4, the size of axis -1, got \(1, 2\)",
        ),
        (lambda: layers.split(X, (5, -1)), r"add up to 4, the size of axis -1, got \(5, -1\)"),
        (lambda: layers.split(X, 2, 3), "split: axis 3 is out of bounds for 3 axes"),
        (
            lambda: layers.stack_columns({"a": X, "b": X[0]}),
            r"stack_columns: columns of one shape are required, got a \(2, 3, 4\), b \(3, 4\)",
        ),
        (
            lambda: layers.stack_columns([]),
            "stack_columns: columns of one shape are required, got no columns",
        ),
        (
            lambda: layers.stack_columns({"age": X}, ignore=["ages"]),
            "stack_columns: no column 'ages' to ignore: did you mean \"age\"",
        ),
        (lambda: layers.average([]), "average: at least one array is required, got none"),
        (
            lambda: layers.average([X, X[:, :2]]),
            r"average: shapes must have as many axes, of sizes that agree or are 1, got \(2, 3, 4\), \(2, 2",
        ),
        (lambda: layers.dot(X, X[0]), r"dot: shapes must have as many axes.* got \(2, 3, 4\), \(3, 4\)"),
        (lambda: layers.dot(X, X, axis=3), "dot: axis 3 is out of bounds for 3 axes"),
        (
            lambda: layers.cosine_similarity(X, X[..., :1]),
            r"cosine_similarity: vectors along axis -1 must be equally long, got \(2, 3, 4\) and \(2, 3, 1\)",
        ),
    ],
)
def test_shapes_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.pad(X, 1, mode="mirror"), 'unknown mode of pad "mirror"'),
        (lambda: layers.pad(X[0, 0], 1), r"pad: input must be \(batch, \*spatial, channels\), got \(4,\)"),
        (lambda: layers.pad(IMAGE, ((1, 2),)), r"pad: widths must be .* 2 spatial axes, got \(\(1, 2\),\)"),
        (
            lambda: layers.pad(IMAGE, ((1, 2), (1, 2, 0))),
            "pad: widths must be a number, or a number or a pair",
        ),
        (lambda: layers.pad(IMAGE, 1.5), "pad: widths must be .*, got 1.5"),
        (lambda: layers.pad(IMAGE, 1, value=jnp.ones(2)), "pad: value must be a number, got Array"),
        (
            lambda: layers.pad(IMAGE, ((-3, -2), 0)),
            r"pad: cannot crop .*\(3, 2\).* from the spatial sizes \(4, 6\)",
        ),
        (lambda: layers.pad(X[:, :0], 1, mode="edge"), r'pad: mode "edge" needs elements to take from, got'),
        (lambda: layers.crop(X, -1), "crop: amounts must not be negative, got -1"),
        (lambda: layers.crop(X, (2, 2)), r"crop: cannot crop \[\(2, 2\)\] from the spatial sizes \(3,\)"),
        (lambda: layers.crop(IMAGE, (1, 1, 1)), "crop: amounts must be a number, or a number or a pair"),
        (
            lambda: layers.resize(X[0], 3),
            r"resize: input must be \(batch, \*spatial, channels\), got \(3, 4\)",
        ),
        (
            lambda: layers.resize(X, 3, method="cubic"),
            'unknown method of resize "cubic": did you mean "bicubic"',
        ),
        (lambda: layers.resize(X, (3, 3)), "resize: size must have one value or one for each of 1 axes"),
        (lambda: layers.resize(X, 0), "resize: size must be integers of at least 1, got 0"),
        (lambda: layers.resize(X[:, :0], 2), r"resize: no spatial axis may be empty, got \(2, 0, 4\)"),
        (lambda: layers.pixel_shuffle(X[0], 2), r"pixel_shuffle: input must be .*, got \(3, 4\)"),
        (
            lambda: layers.pixel_shuffle(IMAGE, 2),
            "pixel_shuffle: factor 2 over 2 axes does not divide 2 channels",
        ),
        (
            lambda: layers.depth_to_space(IMAGE, 0),
            "depth_to_space: factor must be integers of at least 1, got 0",
        ),
        (
            lambda: layers.patch_embed(IMAGE, jnp.ones((2, 2, 3, 5))),
            r"patch_embed: input must be .* got input \(1, 4, 6, 2\) and kernel \(2, 2, 3, 5\)",
        ),
        (
            lambda: layers.patch_embed(IMAGE, jnp.ones((2, 4, 2, 5))),
            r"patch_embed: window \(2, 4\) does not divide the sizes \(4, 6\)",
        ),
        (lambda: layers.patch_embed(IMAGE, jnp.ones((2, 0, 2, 5))), r"window \(2, 0\) does not divide"),
        (
            lambda: layers.patch_embed(IMAGE, jnp.ones((2, 2, 2, 5)), jnp.ones(4)),
            r"bias \(4,\) does not fit 5 units",
        ),
    ],
)
def test_spatial_options_that_do_not_fit(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("predicate", "on_false", "message"),
    [
        (1, jnp.sin, r"cond: predicate must be a scalar bool, got int32 \(\)"),
        (lambda x: x > 0, jnp.sin, r"predicate must be a scalar bool, got bool \(2, 3, 4\)"),
        (
            True,
            jnp.sum,
            r"same structure, shapes and dtypes, got \['float32 \(2, 3, 4\)'\] and \['float32 \(\)'\]",
        ),
        (True, lambda x: (x,), "same structure, shapes and dtypes"),
        (True, lambda x: x > 0, r"and \['bool \(2, 3, 4\)'\]"),
    ],
)
def test_choices_that_do_not_fit(predicate, on_false, message):
    with pytest.raises(ValueError, match=message):
        layers.cond(predicate, jnp.cos, on_false, X)


def test_cond_takes_trees_and_traced_predicates():
    @jax.jit
    def call(holds, tree):
        return layers.cond(holds, lambda t: t["a"] + t["b"], lambda t: t["a"] - t["b"], tree)

    tree = {"a": 3.0, "b": jnp.float32(1)}
    assert (float(call(True, tree)), float(call(False, tree))) == (4.0, 2.0)


def test_columns_are_in_the_same_order_compiled_or_not():
    record = {"z": jnp.zeros(2), "a": jnp.ones(2)}
    np.testing.assert_array_equal(layers.stack_columns(record), jax.jit(layers.stack_columns)(record))
    assert layers.stack_columns(record, ignore=["z"]).shape == (2, 1)


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.int32, bool])
def test_integers_stay_what_they_are(dtype):
    x = jnp.asarray(np.arange(12).reshape(1, 2, 3, 2) % 2, dtype)
    for found in (
        layers.pad(x, 1, value=1),
        layers.resize(x, 5),
        layers.crop(x, (1, 0)),
        layers.transpose(x),
    ):
        assert found.dtype == x.dtype
    assert layers.resize(x, 5, method="bilinear").dtype == jnp.float32


def test_dtypes_are_promoted_where_arrays_meet():
    assert layers.concatenate([jnp.ones(2, jnp.int32), jnp.ones(2, jnp.float16)]).dtype == jnp.float16
    assert layers.stack_columns([jnp.ones(2, jnp.int32), jnp.ones(2)]).dtype == jnp.float32
    assert layers.average([jnp.ones(2, jnp.int32), jnp.ones(2, jnp.bfloat16)]).dtype == jnp.bfloat16
    assert layers.average([jnp.ones(2, jnp.int32)]).dtype == jnp.float32
    assert layers.dot(jnp.ones(2, jnp.int32), jnp.ones(2, jnp.int8)).dtype == jnp.int32
    assert layers.cosine_similarity(jnp.ones(2, jnp.int32), jnp.ones(2, jnp.int32)).dtype == jnp.float32


def test_no_part_at_all():
    assert layers.split(jnp.ones((2, 0)), ()) == ()
    assert [part.shape for part in layers.split(jnp.ones((2, 0)), 2)] == [(2, 0), (2, 0)]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate_undoes_split(axis):
    x = jnp.arange(64.0).reshape(4, 4, 4)
    np.testing.assert_array_equal(layers.concatenate(layers.split(x, (1, 3), axis), axis), x)


def test_the_batch_may_be_mapped():
    found = jax.vmap(lambda x: layers.resize(x[None], 5, method="bicubic")[0])(X)
    np.testing.assert_allclose(found, layers.resize(X, 5, method="bicubic"), rtol=1e-6)
