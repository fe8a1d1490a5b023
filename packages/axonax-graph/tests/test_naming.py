import copy
import pickle

import jax
import pytest

from axonax import graph as nn

pytestmark = pytest.mark.smoke


def names(model):
    """The first words of the table's rows: the names of the nodes, in order."""
    rows = str(model).split("=\n")[2].split("\n-")[0]
    return [line.split()[0] for line in rows.splitlines()]


def key():
    return jax.random.key(0)


def image():
    return nn.input("image", (None, 4))


def test_layers_are_numbered_by_op_in_the_order_of_the_graph():
    model = image() | nn.dense(3, activation="relu") | nn.dropout(0.5) | nn.dense(2, activation="relu")
    assert names(model) == ["image", "dense_0", "relu_0", "dropout_0", "dense_1", "relu_1"]


def test_the_order_of_definition_does_not_matter():
    last, first = nn.dense(2), nn.dense(3)
    model = image() | first | last
    assert list(nn.build(model).init(key()).params) == ["dense_0", "dense_1"]
    assert nn.build(model).init(key()).params["dense_0"]["kernel"].shape == (4, 3)


def test_branches_are_ordered_left_to_right():
    x = image()
    model = (x | nn.dense(3)) + (x | nn.dense(3, name="right"))
    assert names(model) == ["image", "dense_0", "right", "add_0"]


def test_own_names_are_kept_and_not_given_twice():
    model = image() | nn.dense(3, name="dense_0") | nn.dense(3) | nn.dense(2, name="head")
    assert names(model) == ["image", "dense_0", "dense_1", "head"]


def test_slashes_nest():
    state = nn.build(image() | nn.dense(3, name="encoder/first")).init(key())
    assert set(state.params["encoder"]["first"]) == {"kernel", "bias"}
    assert set(state.freeze("encoder/**").frozen) == {"encoder"}


def test_two_layers_of_one_name_are_refused_with_both_places():
    first = nn.dense(3, name="twin")
    second = nn.dense(3, name="twin")
    line = int(second.where.split(":")[1])
    pattern = rf'"twin": dense \(test_naming\.py:{line - 1}\) and dense \(test_naming\.py:{line}\)'
    with pytest.raises(ValueError, match=pattern):
        nn.build(image() | first | second)


def test_two_inputs_of_one_name_are_refused():
    with pytest.raises(
        ValueError, match=r'named "image": input \(test_naming.*; to share one, use that node twice'
    ):
        nn.build(image() + image())


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (
            nn.dense(4, name="a"),
            nn.dense(4, name="a/kernel"),
            r'"a/kernel" is a leaf of dense "a" \(.*:\d+\), and would hold one of dense "a/kernel" \(.*\)',
        ),
        (
            nn.bidirectional(nn.lstm(2), name="b"),
            nn.lstm(4, name="b/forward"),
            'b/forward/kernel" is a leaf of .*, and would hold one of',
        ),
    ],
)
def test_two_layers_do_not_share_a_leaf_in_silence(one, other, message):
    x = nn.input("x", (None, 5, 4))
    with pytest.raises(ValueError, match=message):
        nn.build(x | one | other)
    if "kernel" in message[:8]:
        with pytest.raises(ValueError, match='"a/kernel" is a leaf of dense "a"'):
            nn.build(x | other | one)


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a*", "a@1", 3])
def test_names_that_cannot_be_paths_are_refused(name):
    with pytest.raises(ValueError, match="dense: name must be text"):
        nn.dense(2, name=name)


def test_a_shared_layer_has_one_path_and_numbered_nodes():
    encode = nn.dense(3, activation="tanh")
    a, b = nn.input("a", (None, 4)), nn.input("b", (None, 4))
    model = (a | encode) - (b | encode)
    assert names(model) == ["a", "dense_0", "tanh_0", "b", "dense_0@1", "tanh_0@1", "subtract_0"]
    assert list(nn.build(model).init(key()).params) == ["dense_0"]


def test_a_part_keeps_the_names_of_its_whole():
    body = image() | nn.dense(3)
    left, right = body | nn.dense(2), body | nn.dense(2)
    whole = left + right
    assert list(nn.build(right).init(key()).params) == ["dense_0", "dense_1"]
    assert list(nn.build(right, within=whole).init(key()).params) == ["dense_0", "dense_2"]


def test_a_part_of_something_else_is_refused():
    with pytest.raises(ValueError, match=r"<input node, test_naming.py:\d+> is not part of"):
        nn.build(image() | nn.dense(2), within=image())


def test_lines_are_those_of_the_user_through_lambdas_and_operators():
    residual = lambda x: x + (x | nn.dense(4))  # noqa: E731
    node = image() | residual
    assert repr(node).startswith("<add node, test_naming.py:")
    assert repr(node.layer) == repr(node).replace("node", "layer")


def test_nodes_and_layers_survive_copies_and_pickle():
    model = image()
    for _ in range(250):
        model = model | nn.dense(4)
    assert copy.deepcopy(model) is model
    assert str(pickle.loads(pickle.dumps(model))) == str(model)
    assert copy.deepcopy(model.layer) is model.layer
