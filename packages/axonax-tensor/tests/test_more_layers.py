"""What products, normalizations and dropouts refuse, by the message."""

import jax
import jax.numpy as jnp
import pytest

from axonax.tensor import layers

X = jnp.ones((2, 3, 4))
KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.bilinear(X, X, jnp.ones((4, 4))), r"bilinear: kernel must have 3 axes"),
        (
            lambda: layers.bilinear(X, X[0], jnp.ones((4, 4, 2))),
            r"does not fit inputs \(2, 3, 4\) and \(3, 4\)",
        ),
        (lambda: layers.bilinear(X, X, jnp.ones((4, 3, 2))), r"bilinear: kernel \(4, 3, 2\) does not fit"),
        (
            lambda: layers.bilinear(X, X, jnp.ones((4, 4, 2)), jnp.ones(3)),
            r"bilinear: bias \(3,\) does not fit",
        ),
        (lambda: layers.einsum_dense(X, X, equation="btd,dn"), 'must be "x,kernel->result", got "btd,dn"'),
        (
            lambda: layers.einsum_dense(X, jnp.ones((4, 5)), jnp.ones(4), equation="btd,dn->btn"),
            r"einsum_dense: bias \(4,\) does not broadcast to result \(2, 3, 5\)",
        ),
        (lambda: layers.embedding(X, X[0]), "embedding: indices must be integers, got float32"),
        (
            lambda: layers.embedding(jnp.array([0]), jnp.array([[1]])),
            r"kernel must be floats \(vocabulary, size\), got int32 \(1, 1\)",
        ),
        (lambda: layers.tied_logits(X, jnp.ones((4, 5))), r"tied_logits: kernel \(4, 5\) does not fit"),
        (lambda: layers.instance_norm(X[0]), r"instance_norm: input must be .*, got \(3, 4\)"),
        (lambda: layers.instance_norm(X, jnp.ones(4)), "mean and var must be given both or neither"),
        (lambda: layers.group_norm(X, groups=3), "group_norm: groups must divide 4 channels, got 3"),
        (lambda: layers.group_norm(X, groups=2, axis=0), r"group_norm: input must be .* with axis 0"),
        (lambda: layers.group_norm(X, groups=2, eps=-1.0), "group_norm: eps must not be negative, got -1.0"),
        (lambda: layers.rms_norm(X, jnp.ones(3)), r"rms_norm: scale \(3,\) does not fit input \(2, 3, 4\)"),
        (lambda: layers.rms_norm(X, eps=-1.0), "rms_norm: eps must not be negative, got -1.0"),
        (
            lambda: layers.rms_norm(X, shift=1.0),
            "rms_norm: shift needs a scale to be added to, got shift=1.0",
        ),
        (
            lambda: layers.local_response_norm(X, size=0),
            "local_response_norm: size must be integers of at least 1",
        ),
        (lambda: layers.weight_norm(X, jnp.ones(3)), r"weight_norm: scale \(3,\) does not fit"),
        (lambda: layers.spectral_norm(X, jnp.ones(3)), r"spectral_norm: u \(3,\) does not fit"),
        (
            lambda: layers.spectral_norm(X, jnp.ones(4), steps=-1),
            "spectral_norm: steps must be integers of at least 0",
        ),
        (
            lambda: layers.drop_path(1.0, 0.5, key=KEY),
            "drop_path: input must have a batch axis, got a scalar",
        ),
        (
            lambda: layers.feature_alpha_dropout(X[0], 0.5),
            r"feature_alpha_dropout: input must be .*got \(3, 4\)",
        ),
        (lambda: layers.alpha_dropout(X, 1.5), r"alpha_dropout: rate must be in \[0, 1\], got 1.5"),
        (lambda: layers.gaussian_dropout(X, -1), r"gaussian_dropout: rate must be in \[0, 1\], got -1"),
        (lambda: layers.gaussian_noise(X, -1.0), "gaussian_noise: stddev must be at least 0, got -1.0"),
        (
            lambda: layers.gaussian_noise(jnp.array([1]), 1.0),
            "gaussian_noise: input must be float, got int32",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
