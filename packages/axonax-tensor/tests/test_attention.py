"""Attention: what it refuses, what it hands on; its values stand in the table of ops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

RNG = np.random.default_rng(0)
QUERY, KEY, VALUE = jnp.ones((2, 3, 4, 5)), jnp.ones((2, 6, 2, 5)), jnp.ones((2, 6, 2, 7))
PARAMS = {name: {"kernel": jnp.ones((3, 2, 4))} for name in ("query", "key", "value")}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((QUERY[0], KEY, VALUE), r"query must be \(batch, queries, heads, size\), got \(3, 4, 5\)"),
        ((QUERY, KEY[..., :4], VALUE), r"key \(2, 6, 2, 4\) does not fit query \(2, 3, 4, 5\)"),
        ((QUERY, KEY[:1], VALUE), "key .* does not fit query"),
        ((QUERY, KEY[0], VALUE), "key .* does not fit query"),
        ((QUERY, KEY, VALUE[:, :5]), r"value \(2, 5, 2, 7\) does not fit key \(2, 6, 2, 5\)"),
        ((QUERY, KEY, VALUE[0]), "value .* does not fit key"),
        ((QUERY[:, :, :3], KEY, VALUE), "heads must be a multiple of kv_heads, got 3 and 2"),
        ((QUERY, KEY[:, :, :0], VALUE[:, :, :0]), "heads must be a multiple of kv_heads, got 4 and 0"),
        (tuple(each.astype(int) for each in (QUERY, KEY, VALUE)), "query and key must be float, got int32"),
    ],
)
def test_arrays_that_do_not_fit(arrays, message):
    with pytest.raises(ValueError, match=f"dot_product_attention: {message}"):
        layers.dot_product_attention(*arrays)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mask": jnp.ones((3, 6))},
            "mask must be bool, got float32; what is added to scores goes into bias",
        ),
        (
            {"mask": jnp.ones((2, 6), bool)},
            r"mask \(2, 6\) does not broadcast to \(batch, heads, queries, keys\) \(2, 4, 3, 6\)",
        ),
        ({"bias": jnp.ones((1, 2, 4, 3, 6))}, r"bias .* does not broadcast to .* \(2, 4, 3, 6\)"),
        ({"window": -1}, r"window must be an integer of at least 0 or \(left, right\), got -1"),
        ({"window": (1, 2, 3)}, r"window must be .*, got \(1, 2, 3\)"),
        ({"window": 1.5}, "window must be .*, got 1.5"),
        ({"query_lengths": jnp.ones(2)}, r"query_lengths must be integers \(2,\), got float32 \(2,\)"),
        ({"key_lengths": jnp.array([1])}, r"key_lengths must be integers \(2,\), got int32 \(1,\)"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=f"dot_product_attention: {message}"):
        layers.dot_product_attention(QUERY, KEY, VALUE, **options)
    with pytest.raises(ValueError, match=f"attention_weights: {message}"):
        layers.attention_weights(QUERY, KEY, **options)


def test_other_implementations():
    with pytest.raises(ValueError, match='unknown implementation "cudn": did you mean "cudnn"'):
        layers.dot_product_attention(QUERY, KEY, VALUE, implementation="cudn")
    for options in ({"soft_cap": 1.0}, {"dropout_rate": 0.1, "dropout_key": jax.random.key(0)}):
        with pytest.raises(ValueError, match='implementation "xla" has neither soft_cap nor dropout'):
            layers.dot_product_attention(QUERY, KEY, KEY, implementation="xla", **options)


def test_what_cudnn_is_asked(monkeypatch):
    """It is told of causality and windows by name, where it has them; all else goes into the mask."""
    asked = []

    def attention(query, key, value, bias, mask, **options):
        asked.append({"mask": mask, **options})
        return query

    monkeypatch.setattr(jax.nn, "dot_product_attention", attention)
    x = jnp.ones((1, 3, 2, 4), jnp.bfloat16)
    for options in ({"causal": True}, {"causal": True, "window": (1, 5)}, {"window": (1, 1)}):
        layers.dot_product_attention(x, x, x, implementation="cudnn", **options)
    layers.dot_product_attention(x[:, :2], x, x, implementation="cudnn", causal=True)
    assert [each["implementation"] for each in asked] == ["cudnn"] * 4
    assert [each["is_causal"] for each in asked] == [True, True, False, False]
    assert [each["local_window_size"] for each in asked] == [None, (1, 0), None, None]
    assert [each["mask"] is None for each in asked] == [True, True, False, False]
    np.testing.assert_array_equal(asked[3]["mask"][0, 0], [[True, True, False], [True, True, True]])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_keeps_its_dtype_and_sums_in_float32(dtype):
    """4096 values of 1 and a weight of 2**-12 each: a sum in half precision would stop short."""
    q, k = jnp.zeros((1, 2, 2, 4), dtype), jnp.zeros((1, 4096, 1, 4), dtype)
    found, pull = jax.vjp(layers.dot_product_attention, q, k, jnp.ones_like(k))
    assert found.dtype == dtype
    assert (np.asarray(found, np.float32) == 1).all()
    assert {each.dtype for each in pull(found)} == {jnp.dtype(dtype)}


def test_mixed_dtypes_take_the_one_that_holds_all():
    q, k, v = QUERY.astype(jnp.bfloat16), KEY.astype(jnp.bfloat16), VALUE
    assert layers.dot_product_attention(q, k, v).dtype == jnp.float32


def test_heads_that_do_not_fit():
    x = jnp.ones((2, 5, 3))
    with pytest.raises(ValueError, match=r"project_heads: kernel \(4, 2, 4\) does not fit input \(2, 5, 3\)"):
        layers.project_heads(x, jnp.ones((4, 2, 4)))
    with pytest.raises(
        ValueError, match=r"project_heads: kernel \(3, 8\) does not fit .*: \(in, heads, size\)"
    ):
        layers.project_heads(x, jnp.ones((3, 8)))
    with pytest.raises(ValueError, match=r"project_heads: bias \(8,\) does not fit heads and size \(2, 4\)"):
        layers.project_heads(x, jnp.ones((3, 2, 4)), jnp.ones(8))
    with pytest.raises(ValueError, match=r"merge_heads: kernel \(5, 2, 4\) does not fit input \(2, 5, 3\)"):
        layers.merge_heads(x, jnp.ones((5, 2, 4)))
    with pytest.raises(
        ValueError, match=r"merge_heads: kernel \(3, 4\) .*: \(heads, size, units\) it must be"
    ):
        layers.merge_heads(x, jnp.ones((3, 4)))
    with pytest.raises(ValueError, match=r"merge_heads: bias \(3,\) does not fit 4 units"):
        layers.merge_heads(x, jnp.ones((5, 3, 4)), jnp.ones(3))


def test_parameters_of_multi_head_attention_by_name():
    named = r"params must be query, key, value and output, got \['key', 'query', 'value'\]"
    with pytest.raises(ValueError, match=f"multi_head_attention: {named}"):
        layers.multi_head_attention(jnp.ones((1, 5, 3)), PARAMS)
    params = PARAMS | {"output": {"kernel": jnp.ones((2, 4, 3))}}
    with pytest.raises(TypeError, match="casual"):
        layers.multi_head_attention(jnp.ones((1, 5, 3)), params, casual=True)


def test_a_window_that_is_none():
    with pytest.raises(ValueError, match=r"sliding_window_mask: window must be .*, got \(0, -1\)"):
        layers.sliding_window_mask(3, window=(0, -1))
    assert layers.sliding_window_mask(2, window=(None, None)).all()


def test_masks_join():
    """A mask of each kind, at once and through the options."""
    q, k, v = (jnp.asarray(RNG.normal(size=(2, 6, 2, 4)), jnp.float32) for _ in range(3))
    lengths, segments = jnp.array([6, 4]), jnp.array([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]])
    pack = layers.segment_mask(segments)
    whole = (
        layers.causal_mask(6)[None, None]
        & layers.sliding_window_mask(6, window=2)[None, None]
        & layers.padding_mask(lengths, 6)
        & pack
    )
    found = layers.dot_product_attention(q, k, v, mask=pack, causal=True, window=2, key_lengths=lengths)
    np.testing.assert_allclose(found, layers.dot_product_attention(q, k, v, mask=whole), rtol=1e-6)
