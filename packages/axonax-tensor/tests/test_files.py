"""Trees in files: round trips, damage, and trees that do not fit."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from axonax.tensor import ModelState, files, trees

pytestmark = pytest.mark.smoke

DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "bfloat16", "float32"]
DTYPES += ["float8_e4m3fn", "float8_e5m2", "int64", "uint64", "float64"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "weights.safetensors"


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0, 4), (2, 3, 1)])
def test_every_dtype_and_shape_returns_to_the_bit(file, dtype, shape):
    count = int(np.prod(shape))
    array = (np.arange(count) % 2).reshape(shape).astype(jnp.dtype(dtype))
    files.save(file, {"x": array})
    loaded = files.load(file)["x"]
    same({"x": loaded}, {"x": array})
    assert isinstance(loaded, np.ndarray if dtype.endswith("64") else jax.Array)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tree=st.dictionaries(
        st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1, max_size=8).filter(
            lambda name: name not in (".", "..", "__metadata__")
        ),
        hnp.arrays(
            st.sampled_from([np.float32, np.int32, np.uint8, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3),
        ),
        max_size=4,
    )
)
def test_any_dict_of_arrays_returns(file, tree):
    files.save(file, tree)
    same(files.load(file), jax.tree.map(jnp.asarray, tree))
    same(files.load(file, like=tree), tree)


def test_a_model_state_returns_as_one(file):
    state = ModelState(
        params={"dense_0": {"kernel": jnp.ones((2, 3)), "bias": jnp.zeros(3, jnp.bfloat16)}},
        buffers={"norm": {"mean": jnp.arange(3.0)}},
    )
    files.save(file, state, {"epochs": "5"})
    same(files.load(file), state)
    same(files.load(file, like=jax.eval_shape(lambda: state)), state)
    assert files.read_metadata(file) == {"epochs": "5"}
    assert sorted(safetensors.numpy.load_file(file)) == [
        "buffers/norm/mean",
        "params/dense_0/bias",
        "params/dense_0/kernel",
    ]


def test_an_empty_state_returns(file):
    files.save(file, ModelState())
    same(files.load(file), ModelState())


def test_other_containers_return_through_like(file):
    tree = [jnp.ones(2), (jnp.zeros(1), {"a": np.arange(3), "none": None}), 2.5]
    files.save(file, tree)
    assert sorted(files.load(file)) == ["0", "1", "2"]
    loaded = files.load(file, like=tree)
    same(loaded[:2], tree[:2])
    assert isinstance(loaded[1][1]["a"], np.ndarray)
    assert loaded[2] == 2.5


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_typed_keys_return(file, impl):
    keys = jax.random.split(jax.random.key(7, impl=impl), 3)
    files.save(file, {"keys": keys})
    for loaded in (files.load(file), files.load(file, like={"keys": keys})):
        assert loaded["keys"].dtype == keys.dtype
        np.testing.assert_array_equal(jax.random.key_data(loaded["keys"]), jax.random.key_data(keys))
    with pytest.raises(
        ValueError, match=r"mismatched: keys: key<.*>\[3\] in the file, uint32\[3, 2\] required"
    ):
        files.load(file, like={"keys": jnp.zeros((3, 2), jnp.uint32)})


def test_byte_order_and_strides_do_not_matter(file):
    arrays = {
        "big": np.arange(6, dtype=">i4"),
        "strided": np.arange(12, dtype=np.float32).reshape(3, 4).T[::2],
    }
    files.save(file, arrays)
    loaded = files.load(file)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_file_of_another_writer_loads(file):
    safetensors.numpy.save_file({"a/b": np.ones((2, 2), np.float32)}, file, {"from": "elsewhere"})
    same(files.load(file), {"a": {"b": jnp.ones((2, 2))}})
    assert files.read_metadata(file) == {"from": "elsewhere"}


def test_a_placement_over_devices_is_kept(file):
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    files.save(file, {"w": jnp.ones(4)})
    like = {"w": jax.ShapeDtypeStruct((4,), jnp.float32, sharding=sharding)}
    same(files.load(file, like=like), {"w": jnp.ones(4)})


NAMES = ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\0b", "a\\b", "__metadata__"]


@pytest.mark.parametrize("name", NAMES)
def test_unsafe_names_are_not_written(file, name):
    with pytest.raises(ValueError, match="a tensor's name must be segments joined by /"):
        files.save(file, {name: jnp.ones(1)})
    assert not os.listdir(file.parent)


def written(names, shape=(1,)):
    """The bytes of a file with these names, which no writer would produce."""
    entries = {
        name: {"dtype": "F32", "shape": list(shape), "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4 * len(names))


@pytest.mark.parametrize("name", NAMES[:-1])
def test_unsafe_names_are_not_read(file, name):
    file.write_bytes(written([name]))
    with pytest.raises(ValueError, match=r"weights.safetensors: a tensor's name must be segments"):
        files.load(file)


def test_names_that_cannot_be_a_tree_are_not_read(file):
    file.write_bytes(written(["a", "a/b"]))
    with pytest.raises(
        ValueError, match='weights.safetensors cannot be read as nested dicts: .* "a/b" lies below'
    ):
        files.load(file)


def test_a_name_that_is_there_twice_is_not_read(file):
    twice = written(["a", "b"]).replace(b'"b"', b'"a"')
    file.write_bytes(twice)
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        files.load(file)


@pytest.mark.parametrize(
    ("tree", "metadata", "message"),
    [
        ({"x": np.array(["text"])}, None, 'save: "x" must be an array of numbers, got <U4'),
        ({"x": np.array([None])}, None, 'save: "x" must be an array of numbers, got object'),
        ({"x": "text"}, None, 'save: "x" must be an array of numbers, got str'),
        ({"x": jnp.ones(2, jnp.int4)}, None, '"x" has the dtype int4, which safetensors lacks'),
        ({"x": np.ones(2, np.complex64)}, None, '"x" has the dtype complex64, which safetensors lacks'),
        ({}, {"epochs": 5}, "metadata must be texts by name, got 'epochs': 5"),
        ({}, {"axonax": "x"}, 'the metadata name "axonax" is taken'),
        ({"a": {"b": np.ones(1)}, "a/b": np.ones(1)}, None, 'two leaves have the path "a/b"'),
    ],
)
def test_what_cannot_be_written(file, tree, metadata, message):
    file.write_bytes(b"what was here")
    with pytest.raises(ValueError, match=message):
        files.save(file, tree, metadata)
    assert os.listdir(file.parent) == [file.name]
    assert file.read_bytes() == b"what was here"


LIKE = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(2, jnp.int32), "new": jnp.full(1, 7.0), "fits": jnp.zeros(2)}


@pytest.fixture
def misfit(file):
    files.save(file, {"a": jnp.ones((3, 2)), "b": jnp.ones(2), "old": jnp.ones(1), "fits": jnp.ones(2)})
    return file


def test_one_error_lists_all_that_does_not_fit(misfit):
    with pytest.raises(ValueError, match=r"weights.safetensors does not fit the tree: 1 loaded, 4") as error:
        files.load(misfit, like=LIKE)
    assert str(error.value).splitlines()[1:] == [
        "missing: new",
        "unexpected: old",
        "mismatched: a: float32[3, 2] in the file, float32[2, 3] required",
        "mismatched: b: float32[2] in the file, int32[2] required",
    ]


def test_a_lenient_load_keeps_what_the_file_lacks(misfit):
    loaded = files.load(misfit, like=LIKE, strict=False)
    same(loaded, {**LIKE, "fits": jnp.ones(2)})


def test_compare_reports_paths(misfit):
    report = files.compare(misfit, LIKE)
    assert (report.loaded, report.missing, report.unexpected) == (("fits",), ("new",), ("old",))
    assert sorted(report.mismatched) == ["a", "b"]
    assert not report.fits
    assert files.compare(misfit, files.load(misfit)).fits


def test_every_flipped_bit_is_found(file):
    files.save(file, ModelState(params={"w": jnp.arange(2.0)}), {"note": "kept"})
    whole = file.read_bytes()
    for position in range(0, 8 * len(whole), 11):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << position % 8
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"weights\.safetensors"):
            files.load(file)


def test_damage_to_a_tensor_names_it(file):
    files.save(file, {"layer": {"w": jnp.arange(2.0)}})
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(
        ValueError, match=r'safetensors is damaged: tensor "layer/w" does not have its checksum'
    ):
        files.load(file)


def test_every_truncation_is_found(file):
    files.save(file, {"w": jnp.arange(2.0)})
    whole = file.read_bytes()
    for length in range(0, len(whole), 5):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"weights.safetensors is no whole safetensors file"):
            files.load(file)


def with_metadata(file, **entries):
    """Rewrite the file's metadata, leaving the rest of it."""
    whole = file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    header["__metadata__"].update(entries)
    header["__metadata__"] = {name: text for name, text in header["__metadata__"].items() if text is not None}
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + length :])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"axonax": None}, "is damaged: half of its checksums are gone"),
        ({"axonax.sha256": None}, "is damaged: half of its checksums are gone"),
        ({"axonax": "{"}, "is damaged: its metadata cannot be read"),
        ({"axonax": "[" * 100_000}, "is damaged: its metadata cannot be read"),
        ({"axonax": "[]"}, "is damaged: its metadata are no table"),
        ({"axonax": "{}"}, "is damaged: its metadata do not have their checksum"),
        ({"note": "changed"}, "is damaged: its metadata do not have their checksum"),
        ({"axonax.sha256": "{}"}, "is damaged: tensors and checksums differ in w"),
        ({"axonax.sha256": '{"w": ""}'}, 'is damaged: tensor "w" does not have its checksum'),
    ],
)
def test_changed_metadata_are_found(file, entries, message):
    files.save(file, {"w": jnp.ones(1)}, {"note": "kept"})
    with_metadata(file, **entries)
    with pytest.raises(ValueError, match=message):
        files.load(file)


def test_what_is_no_file(file):
    with pytest.raises(FileNotFoundError):
        files.load(file)
    with pytest.raises(ValueError, match="is a folder, not a safetensors file"):
        files.load(file.parent)
    file.write_text("PK not safetensors at all")
    with pytest.raises(ValueError, match="is no whole safetensors file"):
        files.load(file)


def test_a_dtype_that_numpy_lacks_is_named(file):
    file.write_bytes(written(["x"], shape=(4,)).replace(b'"F32"', b'"F8_E8M0"'))
    with pytest.raises(
        ValueError, match='tensor "x" has the dtype F8_E8M0, which NumPy lacks|no whole safetensors'
    ):
        files.load(file)


def test_a_save_that_fails_halfway_leaves_the_old_file(file, monkeypatch):
    files.save(file, {"w": jnp.ones(1)})
    before = file.read_bytes()
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.save(file, {"w": jnp.zeros(1)})
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


def test_paths_of_a_state_are_those_of_its_tree(file):
    state = ModelState(params={"a": jnp.ones(1)})
    files.save(file, state)
    assert files.compare(file, state).loaded == tuple(trees.flatten(state))
