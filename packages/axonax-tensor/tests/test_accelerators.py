"""What is handed to a GPU or a TPU, read from programs lowered for them: nothing is compiled or run."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import activations, layers
from axonax.tensor.layers import _scaling

ONES = jnp.ones


def lowered(function, *arrays, platform="cuda"):
    """The program of a value and of what it pulls back to all arrays."""

    def both(*arrays):
        value, pull = jax.vjp(function, *arrays)
        return value, pull(value)

    return jax.jit(both).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


def operands(program, op):
    """The dtypes of the operands and the result of each call of an op, as StableHLO writes them."""
    lines = [line for line in program.splitlines() if f"stablehlo.{op}" in line]
    return [re.findall(r"x(b?f\d+)>", line[line.rindex(" : ") :]) for line in lines]


CONVOLUTIONS = {
    "conv": (lambda x, k, b: layers.conv(x, k, b, padding="same"), (3, 3, 4, 8)),
    "strided": (lambda x, k, b: layers.conv(x, k, b, strides=2), (3, 3, 4, 8)),
    "dilated": (lambda x, k, b: layers.conv(x, k, b, kernel_dilation=2, input_dilation=2), (3, 3, 4, 8)),
    "window of 1": (layers.conv, (1, 1, 4, 8)),
    "grouped": (lambda x, k, b: layers.conv(x, k, b, groups=2), (3, 3, 2, 8)),
    "batch groups": (lambda x, k, b: layers.conv(x, k, b, batch_groups=2), (3, 3, 4, 8)),
    "depthwise": (layers.depthwise_conv, (3, 3, 1, 8)),
    "transposed": (lambda x, k, b: layers.conv_transpose(x, k, b, strides=2), (3, 3, 4, 8)),
    "transposed, grouped": (lambda x, k, b: layers.conv_transpose(x, k, b, groups=2), (3, 3, 2, 8)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_half_precision_is_convolved_as_such_with_its_gradients(name):
    op, window = CONVOLUTIONS[name]
    for dtype, platform in (("bfloat16", "cuda"), ("float16", "cuda"), ("bfloat16", "tpu")):
        short = {"bfloat16": "bf16", "float16": "f16"}[dtype]
        arrays = (ONES((2, 8, 8, 4), dtype), ONES(window, dtype), ONES(8, dtype))
        found = operands(lowered(op, *arrays, platform=platform), "convolution")
        assert found == [[short] * 3] * 3, (dtype, platform)


def test_the_stages_of_a_separable_convolution_are_convolved_in_half_precision():
    x = ONES((1, 6, 6, 6, 2), "bfloat16")
    kernels = [ONES(shape, "bfloat16") for shape in ((3, 1, 1, 1, 2), (1, 3, 1, 1, 2), (1, 1, 3, 1, 4))]
    found = operands(lowered(layers.separable_conv3d, x, *kernels), "convolution")
    assert found == [["bf16"] * 3] * 9
    flat = [ONES(shape, "bfloat16") for shape in ((3, 1, 1, 2), (1, 3, 1, 4))]
    two = operands(lowered(layers.separable_conv2d, x[0], *flat), "convolution")
    assert two == [["bf16"] * 3] * 6


def test_a_cpu_convolves_half_precision_in_float32():
    arrays = (ONES((2, 8, 8, 4), "bfloat16"), ONES((3, 3, 4, 8), "bfloat16"))
    found = operands(lowered(layers.conv, *arrays, platform="cpu"), "convolution")
    assert found
    assert all(each == ["f32"] * 3 for each in found)


def test_layer_norm_alone_is_a_chain_of_sums_on_a_gpu():
    """Of a row's first element, as on a CPU, XLA would make further kernels."""
    arrays = (ONES((4, 8)), ONES(8), ONES(8))
    programs = {
        platform: jax.jit(layers.layer_norm).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cuda", "cpu")
    }
    assert {name: "stablehlo.slice" in text for name, text in programs.items()} == {
        "cuda": False,
        "cpu": True,
    }
    assert programs["cuda"].count("stablehlo.reduce(") == 3


def test_the_chain_is_exact_far_from_zero():
    x = np.float32(1e4) + np.random.default_rng(0).normal(size=(64, 512)).astype(np.float32)
    exact = x.astype(np.float64) - x.astype(np.float64).mean(-1, keepdims=True)
    for form in (_scaling._centered, _scaling._centered_twice):
        centered, variance = form(jnp.asarray(x))
        np.testing.assert_allclose(centered, exact, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(variance, np.square(exact).mean(-1, keepdims=True), rtol=1e-6)


def test_group_norm_neither_gathers_nor_scatters():
    norm = functools.partial(layers.group_norm, groups=2)
    program = lowered(norm, ONES((2, 3, 3, 4)), ONES(4), ONES(4))
    assert "gather" not in program
    assert "scatter" not in program


def test_log_softmax_pulls_back_by_the_powers_of_its_value_on_a_gpu():
    """These, divided by their sum, XLA makes again where it needs them; on a CPU by powers of the result."""
    programs = {
        name: lowered(activations.log_softmax, ONES((4, 8)), platform=name) for name in ("cuda", "cpu")
    }
    assert {name: "stablehlo.divide" in text for name, text in programs.items()} == {
        "cuda": True,
        "cpu": False,
    }


def test_embedding_neither_wraps_indices_nor_does_more_than_gather_and_scatter():
    program = lowered(lambda kernel: layers.embedding(jnp.array([1, 2]), kernel), ONES((4, 8)))
    assert (program.count('"stablehlo.gather"'), program.count('"stablehlo.scatter"')) == (1, 1)
