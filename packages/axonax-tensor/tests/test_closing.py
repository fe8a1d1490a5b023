"""What a loss and a model say of the activation between logits and predictions."""

import itertools

import jax
import jax.numpy as jnp
import pytest

from axonax.tensor import Closed, Closing, Model, Unclosed
from axonax.tensor.contracts import expected, expects

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Closing("softmax"), Closing("softmax"), True),
        (Closing("softmax"), Closing("log_softmax"), True),
        (Closing("softmax", 2), Closing("softmax", -1), True),
        (Closing("softmax", 1), Closing("softmax", -1), False),
        (Closing("sigmoid"), Closing("sigmoid", 1), True),
        (Closing("sigmoid"), Closing("softmax"), False),
        (Closing("sigmoid"), Closing("log_softmax"), False),
    ],
)
def test_logits_are_the_same_before_one_kind_of_activation_along_one_axis(one, other, same):
    assert one.same_logits(other, 3) is other.same_logits(one, 3) is same


def test_a_scalar_has_no_axis_to_share():
    assert not Closing("softmax").same_logits(Closing("softmax"), 0)


def test_another_activation_is_refused():
    with pytest.raises(ValueError, match='unknown closing activation "sigmod": did you mean "sigmoid"'):
        Closing("sigmod")


def test_a_loss_is_handed_back_and_says_what_it_expects():
    def loss(y_true, y_pred):
        return y_true - y_pred

    assert expected(loss, jnp.ones(1), jnp.ones(1)) is None
    assert expects(Closing("softmax", 1))(loss) is loss
    assert expected(loss, jnp.ones(1), jnp.ones(1)) == Closing("softmax", 1)


def test_what_a_loss_expects_may_hang_on_shapes_and_options():
    @expects(lambda y_true, y_pred, *, axis=-1, **options: Closing("softmax", axis + y_true.ndim))
    def loss(y_true, y_pred, *, axis=-1):
        return y_true - y_pred

    targets = jax.ShapeDtypeStruct((2, 3), jnp.float32)
    assert expected(loss, targets, targets) == Closing("softmax", 1)
    assert expected(loss, targets, targets, axis=1, other=None) == Closing("softmax", 3)


def test_a_model_with_an_unclosed_form_is_closed_and_still_a_pair():
    class Classifier(Model):
        unclosed = Unclosed(lambda params, x: x @ params, jax.nn.softmax, Closing("softmax"))

    plain = (lambda key: jnp.ones((2, 2)), lambda params, x: jax.nn.softmax(x @ params))
    init, apply = model = Classifier(*plain)
    assert isinstance(model, Closed)
    assert not any(isinstance(each, Closed) for each in (plain, Model(*plain)))
    assert all(one is other for one, other in itertools.zip_longest((init, apply), plain))
