"""Policies and casts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor.precision import Policy, cast


def test_a_policy_spells_dtypes_in_full():
    policy = Policy("f16", jnp.bfloat16, np.dtype("float32"))
    assert policy == Policy(params="float16", compute="bfloat16", output="float32")
    assert str(policy) == "p=f16 c=bf16 o=f32"
    assert str(Policy()) == "p=f32 c=f32 o=f32"
    assert hash(policy) == hash(Policy("float16", "bf16", "f32"))


@pytest.mark.parametrize("dtype", ["int32", "float33", "key<fry>", None.__class__, 3])
def test_a_policy_takes_float_dtypes_alone(dtype):
    with pytest.raises(ValueError, match="policy: compute must be a float dtype, got"):
        Policy(compute=dtype)


def test_casts_touch_floats_alone():
    tree = {
        "w": jnp.ones(2),
        "n": np.arange(2),
        "b": np.array([True]),
        "z": jnp.ones(1, jnp.complex64),
        "k": jax.random.key(0),
        "x": np.ones(2, np.float16),
        "s": 1.5,
    }
    policy = Policy("bf16", "f16", "f32")
    done = policy.cast_params(tree)
    assert {name: done[name].dtype for name in "wx"} == {"w": jnp.bfloat16, "x": jnp.bfloat16}
    assert all(done[name] is tree[name] for name in "nbzks")
    assert policy.cast_compute(tree)["w"].dtype == jnp.float16
    assert policy.cast_compute(tree)["x"] is tree["x"]
    assert policy.cast_output(tree)["w"] is tree["w"]


def test_abstract_values_are_cast_too():
    leaf = cast({"w": jax.ShapeDtypeStruct((2, 3), jnp.float32)}, "bfloat16")["w"]
    assert (leaf.shape, leaf.dtype) == ((2, 3), jnp.bfloat16)
    assert jax.eval_shape(Policy("bf16").cast_params, jnp.ones(3)).dtype == jnp.bfloat16


def test_gradients_come_back_in_the_dtype_of_the_argument():
    policy = Policy(compute="bf16")
    gradient = jax.grad(lambda w: policy.cast_output(policy.cast_compute(w) * 2).sum())(jnp.ones(3))
    assert gradient.dtype == jnp.float32
    np.testing.assert_array_equal(gradient, 2)
