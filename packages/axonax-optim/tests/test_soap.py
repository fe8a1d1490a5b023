"""SOAP against its algorithm in float64 NumPy, and against the symmetry that defines it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

OPTIONS = {"b1": 0.75, "b2": 0.875, "b3": 0.5, "eps": 1e-3, "weight_decay": 0.0}


def gradients(steps, shape=(3, 2)):
    draw = np.random.default_rng(5).normal
    return [draw(size=shape) for _ in range(steps)]


def reference(path, frequency):
    """Algorithm 3 of the paper, one matrix, the first basis from the first gradient."""
    rows, columns = path[0].shape
    left, right = np.zeros((rows, rows)), np.zeros((columns, columns))
    mean, square, moved = np.zeros((rows, columns)), np.zeros((rows, columns)), []
    for step, gradient in enumerate(path):
        left = 0.5 * left + 0.5 * gradient @ gradient.T
        right = 0.5 * right + 0.5 * gradient.T @ gradient
        if step == 0:
            q_left, q_right = np.linalg.eigh(left)[1], np.linalg.eigh(right)[1]
        elif step % frequency == 0:
            q_left, q_right = np.linalg.qr(left @ q_left)[0], np.linalg.qr(right @ q_right)[0]
        mean = 0.75 * mean + 0.25 * gradient
        square = 0.875 * square + 0.125 * (q_left.T @ gradient @ q_right) ** 2
        ahead = q_left.T @ mean @ q_right / (1 - 0.75 ** (step + 1))
        direction = ahead / (np.sqrt(square / (1 - 0.875 ** (step + 1))) + np.float32(1e-3))
        moved.append(-0.5 * q_left @ direction @ q_right.T)
    return moved


def run(optimizer, path):
    params = jnp.zeros(path[0].shape, jnp.result_type(float))
    state, moved = optimizer.init(params), []
    for gradient in path:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        moved.append(np.asarray(updates))
    return moved


def test_the_algorithm_step_by_step():
    path = gradients(7)
    with jax.enable_x64(True):
        moved = run(optim.soap(0.5, frequency=3, **OPTIONS), path)
    for got, expected in zip(moved, reference(path, 3), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_rotated_gradients_give_rotated_steps():
    path = gradients(6, (2, 2))
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(2, 2)))[0]
    with jax.enable_x64(True):
        optimizer = optim.soap(0.5, frequency=2, **OPTIONS)
        plain, turned = run(optimizer, path), run(optimizer, [rotation @ each for each in path])
    for one, other in zip(plain, turned, strict=True):
        np.testing.assert_allclose(rotation @ one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "rotates"), [((4,), []), ((), []), ((3, 2), ["left", "right"]), ((2, 2, 3), ["left", "right"])]
)
def test_which_sides_rotate(shape, rotates):
    state = optim.soap().init(jnp.ones(shape))
    assert sorted(state.inner["moments"].sides) == rotates


def test_long_sides_do_not_rotate():
    state = optim.soap(max_size=3).init(jnp.ones((4, 3)))
    assert sorted(state.inner["moments"].sides) == ["right"]


def test_vectors_get_adam():
    path = gradients(5, (4,))
    with jax.enable_x64(True):
        ours = run(optim.soap(0.5, b1=0.75, b2=0.875, eps=0.125, weight_decay=0.0), path)
        adam = run(optim.adam(0.5, b1=0.75, b2=0.875, eps=0.125, eps_root=0.0), path)
    np.testing.assert_allclose(ours, adam, rtol=1e-12)


def test_zero_gradients_move_nothing():
    moved = run(optim.soap(0.5), [np.zeros((3, 2), np.float32)] * 12)
    np.testing.assert_array_equal(moved, np.zeros((12, 3, 2)))
