"""When cuDNN's fused kernel is chosen, and that all around it is right: XLA's attention stands in for it."""

import functools

import jax
import jax._src.cudnn.fused_attention_stablehlo as cudnn
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers
from axonax.tensor.layers import _attention_fused as fused

RNG = np.random.default_rng(7)
TIME = 128
by_jax = jax.nn.dot_product_attention


def draw(*shape, dtype="bfloat16"):
    return jnp.asarray(RNG.normal(size=shape), dtype)


QUERY, KEY, VALUE = draw(2, TIME, 2, 16), draw(2, TIME, 1, 16), draw(2, TIME, 1, 16)
BIAS = draw(1, 2, TIME, TIME)


@pytest.fixture
def on_a_gpu(monkeypatch):
    """JAX says that it computes on a GPU, and the kernel is there."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(fused, "_compiles", lambda *_: True)


@pytest.fixture
def stand_in(on_a_gpu, monkeypatch):
    """XLA's attention in place of the kernel, on the CPU; what was asked for."""
    asked = []

    def attention(
        query, key, value, bias, mask, *, implementation, query_seq_lengths, key_value_seq_lengths, **rest
    ):
        asked.append(implementation)
        others = {"query_seq_lengths": query_seq_lengths, "key_value_seq_lengths": key_value_seq_lengths}

        def by_xla(floats, mask, others):
            return by_jax(*floats, mask, implementation="xla", **others, **rest)

        def backward(kept, cotangent):
            floats, mask, others, *_ = kept
            return jax.vjp(lambda floats: by_xla(floats, mask, others), floats)[1](cotangent)[0], None, None

        call = jax.custom_vjp(by_xla)
        # The kernel keeps its result too, and arrays of no elements for what it was not given.
        call.defvjp(lambda *given: (found := by_xla(*given), (*given, found, jnp.zeros(0))), backward)
        return call((query, key, value, bias), mask, others)

    monkeypatch.setattr(jax.nn, "dot_product_attention", attention)
    monkeypatch.setattr(fused, "_PLATFORM", "cpu")
    return asked


def half(x):
    return x.astype("float16")


def by_ours(monkeypatch, function, *arrays):
    """The same without a GPU; another function to JAX, so that it is traced anew."""
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    return jax.jit(functools.partial(function))(*arrays)


def agree(found, wanted, bits):
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        exact = np.asarray(two, np.float64)
        np.testing.assert_allclose(
            np.asarray(one, np.float64), exact, rtol=2.0**-bits, atol=2.0 ** -(bits + 1) * np.abs(exact).max()
        )


@pytest.mark.parametrize(
    ("change", "options", "expected"),
    [
        ({}, {}, True),
        ({}, {"causal": True}, True),
        ({}, {"causal": True, "window": 5}, True),
        ({}, {"window": 5, "mask": jnp.ones(TIME, bool), "key_lengths": jnp.ones(2, int)}, True),
        ({}, {"bias": BIAS, "scale": 0.3}, True),
        ({"query": half(QUERY), "key": half(KEY), "value": half(VALUE)}, {}, True),
        ({"query": QUERY[:, :1].repeat(256, 1)}, {}, True),
        ({"query": QUERY.astype("float32")}, {}, False),
        ({}, {"bias": BIAS.astype("float32")}, False),
        ({}, {"scale": jnp.ones(())}, False),
        ({}, {"soft_cap": 3.0}, False),
        ({}, {"dropout_rate": 0.1, "dropout_key": jax.random.key(0)}, False),
        ({"query": QUERY[:, :-1]}, {}, False),
        ({"query": QUERY[:, :64]}, {}, False),
        ({"query": QUERY[:, :1]}, {}, False),
        ({"query": QUERY[:, :0]}, {}, False),
        ({"query": QUERY[:0], "key": KEY[:0], "value": VALUE[:0]}, {}, False),
        ({"key": KEY[:, :96], "value": VALUE[:, :96]}, {}, False),
        ({"value": VALUE[..., :8]}, {}, False),
        ({"query": QUERY[..., :4], "key": KEY[..., :4], "value": VALUE[..., :4]}, {}, False),
        ({name: draw(2, TIME, 1, 136) for name in ("query", "key", "value")}, {}, False),
        ({name: draw(2, TIME, 1, 128) for name in ("query", "key", "value")}, {}, True),
    ],
)
def test_what_the_kernel_takes(on_a_gpu, monkeypatch, change, options, expected):
    chosen = []
    monkeypatch.setattr(fused, "_chosen", lambda how, floats, others: chosen.append(how) or floats[0])
    arrays = {"query": QUERY, "key": KEY, "value": VALUE} | change
    jax.eval_shape(functools.partial(layers.dot_product_attention, **options), *arrays.values())
    assert bool(chosen) == expected


def test_within_shard_map_xla_serves(on_a_gpu, monkeypatch):
    monkeypatch.setattr(fused, "_chosen", lambda *_: pytest.fail("the kernel was chosen"))
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("batch",))
    split = jax.sharding.PartitionSpec("batch")
    call = jax.shard_map(layers.dot_product_attention, mesh=mesh, in_specs=split, out_specs=split)
    assert jax.eval_shape(call, QUERY, KEY, VALUE).shape == QUERY.shape


@pytest.mark.skipif(jax.default_backend() == "gpu", reason="there is a GPU")
def test_nothing_of_cudnn_is_touched_without_a_gpu(monkeypatch):
    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr(jax.nn, "dot_product_attention", never)
    monkeypatch.setattr(fused, "_compiles", never)
    program = jax.jit(layers.dot_product_attention).trace(QUERY, KEY, VALUE)
    assert "cudnn" not in program.lower(lowering_platforms=("cuda",)).as_text()


def test_a_gpu_without_the_kernel_is_served_by_xla(monkeypatch):
    """As JAX refuses the kernel here, it may where cuDNN or the card are too old: the answer is XLA's."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda backend: jax.devices("cpu"))
    fused._compiles.cache_clear()
    program = jax.jit(layers.dot_product_attention).trace(QUERY, KEY, VALUE)
    fused._compiles.cache_clear()
    assert "cudnn" not in program.lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"causal": True}, "Softmax"),
        ({"mask": jnp.ones(TIME, bool)}, "ScaleBiasSoftmax"),
        ({"bias": BIAS}, "ScaleBiasSoftmax"),
    ],
)
def test_a_program_for_cuda_holds_the_kernel_and_its_gradient(on_a_gpu, monkeypatch, options, kind):
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)

    def both(*arrays):
        value, pull = jax.vjp(functools.partial(layers.dot_product_attention, **options), *arrays)
        return value, pull(value)

    traced = jax.jit(both).trace(QUERY, KEY, VALUE)
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert f"__cudnn$fmha{kind}(" in program
    assert f"__cudnn$fmha{kind}Backward(" in program
    assert "dot_general" not in program
    assert "cudnn" not in traced.lower(lowering_platforms=("cpu",)).as_text()
    forward = jax.jit(functools.partial(layers.dot_product_attention, **options)).trace(QUERY, KEY, VALUE)
    assert "stablehlo.custom_call @__cudnn$" in forward.lower(lowering_platforms=("cuda",)).as_text()


def test_multi_head_attention_takes_the_kernel_too(on_a_gpu, monkeypatch):
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    params = {name: {"kernel": draw(8, 4, 16)} for name in ("query", "key", "value")}
    params["output"] = {"kernel": draw(4, 16, 8)}
    program = jax.jit(layers.multi_head_attention).trace(draw(2, TIME, 8), params)
    assert "__cudnn$fmhaSoftmax" in program.lower(lowering_platforms=("cuda",)).as_text()


ONE = np.arange(TIME) == 1
FORMS = {
    "causal window": {"causal": True, "window": 3},
    "window, masked": {"window": (2, 1), "scale": 0.3, "mask": jnp.asarray(~ONE)[:, None]},
    "biased": {"bias": jnp.where(ONE, -jnp.inf, BIAS).swapaxes(-1, -2), "causal": True},
    "lengths": {"query_lengths": jnp.array([5, 100]), "key_lengths": jnp.array([0, 90])},
    "all": {
        "causal": True,
        "window": 9,
        "mask": jnp.asarray(RNG.random((2, 1, TIME, TIME)) > 0.3),
        "key_lengths": jnp.array([40, 90]),
        "bias": BIAS,
    },
}


def gradients(query, key, value, options):
    """The gradients, with that of a bias, and the value."""
    options = dict(options)
    bias = options.pop("bias", None)
    weights = jnp.cos(jnp.arange(query.size)).reshape(query.shape)

    def summed(arrays, bias):
        found = layers.dot_product_attention(*arrays, bias=bias, **options)
        return jnp.sum(found.astype("float32") * weights), found

    return jax.grad(summed, (0,) if bias is None else (0, 1), has_aux=True)((query, key, value), bias)


@pytest.mark.parametrize("name", FORMS)
def test_values_and_gradients_are_those_of_ours(stand_in, monkeypatch, name):
    call = functools.partial(gradients, options=FORMS[name])
    found = jax.jit(call)(QUERY, KEY, VALUE)
    assert set(stand_in) == {"cudnn"}
    wanted = by_ours(monkeypatch, call, QUERY, KEY, VALUE)
    agree(found, wanted, bits=6)
    blind = (np.asarray(wanted[1]) == 0).all(-1)
    np.testing.assert_array_equal((np.asarray(found[1]) == 0).all(-1), blind)
    assert (np.asarray(found[0][0][0])[blind] == 0).all()


def test_vmap_makes_one_larger_batch(stand_in, monkeypatch):
    """Also of what all examples share, and of a bias that the batch of each shares."""
    axes = (1, None, 0, 0, 0)
    shapes = ((2, TIME, 2, 8), (2, TIME, 1, 8), (2, TIME, 1, 8), (1, 2, TIME, TIME), (2,))
    arrays = []
    for shape, axis in zip(shapes, axes, strict=True):
        whole = shape if axis is None else (*shape[:axis], 3, *shape[axis:])
        arrays.append(jnp.asarray(RNG.integers(1, TIME, whole)) if shape == (2,) else draw(*whole))
    lengths = arrays.pop()

    def summed(query, key, value, bias, lengths):
        found = layers.dot_product_attention(query, key, value, bias=bias, key_lengths=lengths)
        return jnp.sum(jnp.sin(found.astype("float32")))

    def both(*arrays):
        within = jax.vmap(jax.value_and_grad(summed, (0, 1, 2, 3)), axes)(*arrays, lengths)
        total = jax.grad(lambda arrays: jnp.sum(jax.vmap(summed, axes)(*arrays, lengths)))(arrays)
        return within, total

    found = jax.jit(both)(*arrays)
    assert stand_in
    agree(found, by_ours(monkeypatch, both, *arrays), bits=5)


def test_rows_of_a_jacobian(stand_in, monkeypatch):
    """`jax.vmap` of what is pulled back alone."""
    cotangents = draw(3, *QUERY.shape)

    def rows(query, key, value):
        _, pull = jax.vjp(functools.partial(layers.dot_product_attention, bias=BIAS), query, key, value)
        return jax.vmap(pull)(cotangents)

    found = jax.jit(rows)(QUERY, KEY, VALUE)
    assert stand_in
    agree(found, by_ours(monkeypatch, rows, QUERY, KEY, VALUE), bits=6)


def test_another_platform_on_a_machine_with_a_gpu_computes_by_ours(on_a_gpu, monkeypatch):
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    call = functools.partial(gradients, options=FORMS["all"])
    found = jax.jit(call)(QUERY, KEY, VALUE)
    agree(found, by_ours(monkeypatch, call, QUERY, KEY, VALUE), bits=7)
