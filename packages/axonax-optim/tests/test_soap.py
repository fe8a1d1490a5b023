"""SOAP against its algorithm in float64 NumPy, and against the symmetry that defines it."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

OPTIONS = {"b1": 0.75, "b2": 0.875, "b3": 0.5, "eps": 2**-10, "weight_decay": 0.0}
CASES = {
    "both sides": ((3, 2), {**OPTIONS, "frequency": 3}),
    "one side": ((4, 3), {**OPTIONS, "frequency": 2, "max_size": 3}),
    "decay": ((3, 2), {**OPTIONS, "b3": None, "weight_decay": 0.25, "mask": True}),
    "no decay": ((2, 3), {**OPTIONS, "weight_decay": 0.25, "mask": False}),
}


def gradients(steps, shape=(3, 2)):
    draw = np.random.default_rng(5).normal
    return [draw(size=shape) for _ in range(steps)]


def reference(path, *, b1, b2, b3, eps, weight_decay, mask=True, frequency=10, max_size=9):
    """Algorithm 3 of the paper, one matrix; the first gradient makes a step of Adam, then the first bases."""
    b3 = b2 if b3 is None else b3
    shape, moved = path[0].shape, []
    means, bases = [np.zeros((size, size)) for size in shape], [np.eye(size) for size in shape]
    mean, square, params = np.zeros(shape), np.zeros(shape), np.ones(shape)
    for step, gradient in enumerate(path):
        left, right = bases
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * (left.T @ gradient @ right) ** 2
        ahead = left.T @ mean @ right / (1 - b1 ** (step + 1))
        direction = ahead / (np.sqrt(square / (1 - b2 ** (step + 1))) + eps)
        moved.append(-0.5 * (left @ direction @ right.T + weight_decay * mask * params))
        params = params + moved[-1]
        for side, full in enumerate((gradient @ gradient.T, gradient.T @ gradient)):
            means[side] = b3 * means[side] + (1 - b3) * full
            if shape[side] <= max_size and step == 0:
                bases[side] = np.linalg.eigh(means[side])[1][:, ::-1]
            elif shape[side] <= max_size and step % frequency == 0:
                bases[side] = np.linalg.qr(means[side] @ bases[side])[0]
        if step == 0:
            square = (1 - b2) * (bases[0].T @ gradient @ bases[1]) ** 2
    return moved


@pytest.fixture
def run(quick):
    """The updates along a path of gradients, from one program."""

    def walk(optimizer, path, start=0.0):
        def step(carry, gradient):
            params, state = carry
            updates, state = optimizer.update(gradient, state, params)
            return (optim.apply_updates(params, updates), state), updates

        params = np.full(path[0].shape, start, path[0].dtype)
        every = quick(lambda params, path: jax.lax.scan(step, (params, optimizer.init(params)), path)[1])
        return np.asarray(every(params, np.stack(path)))

    return walk


@pytest.mark.parametrize("case", CASES)
def test_the_algorithm_step_by_step(case, run):
    shape, options = CASES[case]
    path = gradients(13, shape)
    with jax.enable_x64(True):
        moved = run(optim.soap(0.5, **options), path, 1.0)
    for got, expected in zip(moved, reference(path, **options), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_every_option_is_compared():
    given = {option for _, options in CASES.values() for option in options}
    assert set(inspect.signature(optim.soap).parameters) == given | {"learning_rate"}


def test_float32_follows_float64(run):
    """Nothing of the size of rounding decides over a step."""
    path = np.array(gradients(12, (6, 6)))
    narrow = run(optim.soap(1.0, weight_decay=0.0), path.astype(np.float32))
    with jax.enable_x64(True):
        wide = run(optim.soap(1.0, weight_decay=0.0), path)
    np.testing.assert_allclose(narrow, wide, atol=0.01)


def test_rotated_gradients_give_rotated_steps(run):
    path = gradients(6, (2, 2))
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(2, 2)))[0]
    with jax.enable_x64(True):
        optimizer = optim.soap(0.5, frequency=2, **OPTIONS)
        plain, turned = run(optimizer, path), run(optimizer, [rotation @ each for each in path])
    for one, other in zip(plain[1:], turned[1:], strict=True):
        np.testing.assert_allclose(rotation @ one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "rotates"), [((4,), []), ((), []), ((3, 2), ["left", "right"]), ((2, 2, 3), ["left", "right"])]
)
def test_which_sides_rotate(shape, rotates):
    state = jax.eval_shape(optim.soap().init, jnp.ones(shape))
    assert sorted(state.inner["moments"].sides) == rotates


def test_long_sides_do_not_rotate():
    state = jax.eval_shape(optim.soap(max_size=3).init, jnp.ones((4, 3)))
    assert sorted(state.inner["moments"].sides) == ["right"]


def test_vectors_get_adam(run):
    path = gradients(5, (4,))
    with jax.enable_x64(True):
        ours = run(optim.soap(0.5, b1=0.75, b2=0.875, eps=0.125, weight_decay=0.0), path)
        adam = run(optim.adam(0.5, b1=0.75, b2=0.875, eps=0.125, eps_root=0.0), path)
    np.testing.assert_allclose(ours, adam, rtol=1e-12)


def test_zero_gradients_move_nothing(run):
    moved = run(optim.soap(0.5), [np.zeros((3, 2), np.float32)] * 12)
    np.testing.assert_array_equal(moved, np.zeros((12, 3, 2)))
