"""A model and its state in one file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.files import _saving
from axonax.tensor import files
from axonax.tensor.contracts import ModelState


def model():
    return nn.input("x", (None, 3)) | nn.dense(4) | nn.batch_norm() | nn.dense(2, name="head")


def state_of(node):
    state = nn.build(node).init(jax.random.key(1)).freeze("head/**")
    _, buffers = nn.build(node).apply(state, jnp.ones((2, 3)), train=True)
    bfloat = {"head": {name: leaf.astype("bfloat16") for name, leaf in state.frozen["head"].items()}}
    return state.replace(buffers=buffers, frozen=bfloat)


def same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert left.dtype == right.dtype
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def test_a_model_and_its_state_come_back_to_the_bit(tmp_path):
    node, state = model(), state_of(model())
    nn.save(node, tmp_path / "model.safetensors", state)
    back, found = nn.load(tmp_path / "model.safetensors")
    assert nn.dumps(back) == nn.dumps(node)
    same(found, state)
    assert list(found.frozen) == ["head"]
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]


def test_a_model_alone_has_no_state(tmp_path):
    nn.save(model(), tmp_path / "model")
    back, state = nn.load(str(tmp_path / "model"))
    assert (nn.dumps(back), state) == (nn.dumps(model()), None)


def test_a_model_without_leaves_has_an_empty_state(tmp_path):
    node = nn.input("x", (None, 3)) | nn.relu()
    nn.save(node, tmp_path / "model", ModelState())
    same(nn.load(tmp_path / "model")[1], ModelState())


def test_other_readers_see_the_tensors(tmp_path):
    nn.save(model(), tmp_path / "model", state_of(model()))
    assert sorted(files.load(tmp_path / "model").params) == ["batch_norm_0", "dense_0"]


def test_builders_and_limits_are_those_of_loads(tmp_path):
    @nn.builder
    def twice(*, name=None):
        return nn.layer(lambda x: 2 * x)

    node = model() | twice()
    nn.save(node, tmp_path / "model")
    assert nn.dumps(nn.load(tmp_path / "model", [twice])[0]) == nn.dumps(node)
    with pytest.raises(nn.ModelFileError, match=r'model: layers\[4\]: unknown builder "twice"'):
        nn.load(tmp_path / "model")
    with pytest.raises(nn.ModelFileError, match="model: a model may have 3 nodes"):
        nn.load(tmp_path / "model", [twice], limits=nn.Limits(nodes=3))


def test_a_failed_save_leaves_the_old_file(tmp_path):
    nn.save(model(), tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    with pytest.raises(ValueError, match="bare function"):
        nn.save(model() | nn.layer(lambda x: x), tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before


def other_state(**changes):
    state = state_of(model())
    return state.replace(**{name: change(getattr(state, name)) for name, change in changes.items()})


MISFITS = {
    "missing": (
        {"params": lambda params: {"dense_0": params["dense_0"]}},
        'no "batch_norm_0/scale"; no "batch_norm_0/offset"',
    ),
    "left over": (
        {"params": lambda params: params | {"new": {"kernel": jnp.ones(2)}}},
        '"new/kernel" is not in the model',
    ),
    "shape": (
        {"frozen": lambda frozen: {"head": frozen["head"] | {"bias": jnp.ones(3)}}},
        r'"head/bias" \(3,\) does not fit dense "head" \(.*\), which needs \(2,\)',
    ),
    "buffers": ({"buffers": lambda buffers: {}}, 'no "batch_norm_0/mean"'),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_state_of_another_model_is_neither_saved_nor_loaded(name, tmp_path):
    changes, text = MISFITS[name]
    state = other_state(**changes)
    with pytest.raises(ValueError, match=f"save: the state is not that of the model: {text}"):
        nn.save(model(), tmp_path / "model", state)
    nn.save(model(), tmp_path / "model")
    files.save(tmp_path / "model", state, files.read_metadata(tmp_path / "model"))
    with pytest.raises(nn.ModelFileError, match=f"model: its state is not that of its model: {text}"):
        nn.load(tmp_path / "model")


def test_open_sizes_take_any():
    node = nn.input("x") | nn.dense(2)
    assert nn.loads(nn.dumps(node))._facts.leaves["dense_0/kernel"].shape is None


def test_what_is_no_state_is_refused(tmp_path):
    with pytest.raises(TypeError, match="save: state must be a ModelState, got dict"):
        nn.save(model(), tmp_path / "model", {})


def test_the_order_of_arguments_is_told(tmp_path):
    model = nn.input("x", (None, 3)) | nn.dense(2)
    with pytest.raises(
        TypeError, match="^save: takes a model, a path and a state, in this order, got str first"
    ):
        nn.save("model.safetensors", model)


def test_a_file_without_a_model_is_refused(tmp_path):
    files.save(tmp_path / "weights", {"kernel": jnp.ones(2)})
    with pytest.raises(nn.ModelFileError, match="weights: holds tensors without a model"):
        nn.load(tmp_path / "weights")


def test_arrays_that_are_too_large_for_metadata_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(_saving, "_HEADER", 2000)
    node = nn.input("x", (None, 900)) + np.zeros((1, 900), "float32")
    with pytest.raises(
        ValueError, match="save: the model's own arrays make 5.* characters of text, and 2000"
    ):
        nn.save(node, tmp_path / "model")


def test_a_changed_file_is_refused(tmp_path):
    nn.save(model(), tmp_path / "model", state_of(model()))
    data = (tmp_path / "model").read_bytes()
    (tmp_path / "model").write_bytes(data.replace(b'\\"units\\": 4', b'\\"units\\": 5'))
    assert data != (tmp_path / "model").read_bytes()
    with pytest.raises(ValueError, match="is damaged: its metadata do not have their checksum"):
        nn.load(tmp_path / "model")
