"""What is handed to a GPU or a TPU, read from programs lowered for them: nothing is compiled or run."""

import re

import jax
import jax.numpy as jnp
import pytest

from axonax.tensor import layers

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
