"""Paths, patterns, and trees that are split and joined again."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axonax.tensor import ModelState, trees

pytestmark = pytest.mark.smoke


class Pair(NamedTuple):
    first: object
    second: object


TREE = {
    "encoder": {"dense_0": {"kernel": 1, "bias": 2}, "norm": {"scale": 3}, "kernel": 4},
    "head": {"kernel": 5},
    "kernel": 6,
}


def same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    assert jax.tree.leaves(a) == jax.tree.leaves(b)


@pytest.mark.parametrize(
    ("tree", "paths"),
    [
        ({"b": {"c": 1}, "a": 2}, ["a", "b/c"]),
        ([1, (2, {"x": 3})], ["0", "1/0", "1/1/x"]),
        (Pair(1, [2]), ["first", "second/0"]),
        (ModelState(params={"d": 1}, buffers={"m": 2}), ["params/d", "buffers/m"]),
        ({"a": None, "b": {}}, []),
        ({3: 1, 4: 2}, ["3", "4"]),
        (7, [""]),
    ],
)
def test_flatten_names_every_leaf(tree, paths):
    assert list(trees.flatten(tree)) == paths
    assert list(trees.flatten(tree).values()) == jax.tree.leaves(tree)


def test_flatten_rejects_two_leaves_of_one_path():
    with pytest.raises(ValueError, match='flatten: two leaves have the path "a/b"'):
        trees.flatten({"a": {"b": 1}, "a/b": 2})


def test_unflatten_is_the_inverse_of_flatten():
    same(trees.unflatten(trees.flatten(TREE)), TREE)
    assert trees.unflatten({}) == {}
    assert trees.unflatten({"a": {"a leaf": "may be a dict"}}) == {"a": {"a leaf": "may be a dict"}}


@pytest.mark.parametrize(
    ("leaves", "message"),
    [
        ({"a": 1, "a/b": 2}, '"a/b" lies below a path that is a leaf'),
        ({"a": {}, "a/b": 2}, '"a/b" lies below a path that is a leaf'),
        ({"a/b": 1, "a": 2}, '"a" is both a leaf and a branch'),
    ],
)
def test_unflatten_rejects_a_path_that_is_leaf_and_branch(leaves, message):
    with pytest.raises(ValueError, match=message):
        trees.unflatten(leaves)


@pytest.mark.parametrize(
    ("glob", "chosen"),
    [
        ("kernel", "kernel"),
        ("*", "kernel"),
        ("**", "kernel a/kernel a/b/kernel a/b/bias ab/kernel"),
        ("**/kernel", "kernel a/kernel a/b/kernel ab/kernel"),
        ("a/**", "a/kernel a/b/kernel a/b/bias"),
        ("a/*", "a/kernel"),
        ("a/**/kernel", "a/kernel a/b/kernel"),
        ("a/**/b/**/bias", "a/b/bias"),
        ("a*/kernel", "a/kernel ab/kernel"),
        ("*b/k*l", "ab/kernel"),
        ("*/b/*", "a/b/kernel a/b/bias"),
        ("kernel/**", "kernel"),
        ("a.b", ""),
        ("k?rnel", ""),
    ],
)
def test_globs(glob, chosen):
    paths = ["kernel", "a/kernel", "a/b/kernel", "a/b/bias", "ab/kernel"]
    assert [path for path in paths if trees.matches(glob, path)] == chosen.split()


def test_a_star_pair_within_a_segment_is_an_error():
    with pytest.raises(ValueError, match=r'pattern "a/b\*\*": \*\* must be a whole segment, got "b\*\*"'):
        trees.matches("a/b**", "a/b")


def test_regular_expressions_are_searched_and_predicates_see_the_leaf():
    assert list(trees.select(TREE, re.compile("norm|head"))) == ["encoder/norm/scale", "head/kernel"]
    assert list(trees.select(TREE, lambda path, leaf: leaf > 4)) == ["head/kernel", "kernel"]
    assert list(trees.select(TREE, "kernel", "*/kernel")) == ["encoder/kernel", "head/kernel", "kernel"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("encoder/dense_0/kernal", 'selects no leaf: did you mean "encoder/dense_0/kernel"'),
        ("encoder", r'pattern "encoder" selects no leaf: did you mean "encoder/\*\*"'),
        ("zzz", 'selects no leaf: known are "encoder/dense_0/bias", '),
        (re.compile("zzz"), r'pattern re.compile\("zzz"\) selects no leaf: known are'),
        (lambda path, leaf: False, "predicate '<lambda>' selects no leaf: known are"),
    ],
)
def test_a_pattern_without_a_leaf_lists_near_paths(pattern, message):
    with pytest.raises(ValueError, match=message):
        trees.partition(TREE, "**", pattern)


def test_a_long_list_of_paths_is_cut():
    tree = {f"layer_{number:02}": number for number in range(20)}
    with pytest.raises(ValueError, match='known are "layer_00", .*"layer_07" and 12 more'):
        trees.select(tree, "qqq")
    with pytest.raises(ValueError, match="none are known"):
        trees.select({}, "a")


def test_partition_prunes_dicts_and_leaves_none_elsewhere():
    chosen, rest = trees.partition(TREE, "**/bias", "head/**")
    assert chosen == {"encoder": {"dense_0": {"bias": 2}}, "head": {"kernel": 5}}
    assert "head" not in rest
    assert rest["encoder"]["dense_0"] == {"kernel": 1}
    assert trees.partition({"a": [1, (2, 3)], "b": [4]}, "a/1/0") == (
        {"a": [None, (2, None)]},
        {"a": [1, (None, 3)], "b": [4]},
    )
    assert trees.partition(Pair({"a": 1}, {"b": 2}), "first/a") == (Pair({"a": 1}, {}), Pair({}, {"b": 2}))
    assert trees.partition(TREE, "**")[1] == {}


def test_what_has_no_leaves_stays_in_the_rest():
    tree = {"dropout_0": {}, "dense_0": {"kernel": 1, "bias": None}, "chain": [(), {}, 2]}
    chosen, rest = trees.partition(tree, "dense_0/**")
    assert chosen == {"dense_0": {"kernel": 1}}
    assert rest == {"dropout_0": {}, "dense_0": {"bias": None}, "chain": [(), {}, 2]}
    same(trees.merge(chosen, rest), tree)
    same(trees.merge(rest, chosen), tree)


def test_partition_keeps_the_order_of_dicts():
    chosen, _ = trees.partition({"z": 1, "a": 2, "m": 3}, "z", "m")
    assert list(chosen) == ["z", "m"]


LEAVES = st.integers(0, 3)
NAMES = st.sampled_from(["a", "b", "kernel"])
NESTED = st.recursive(
    LEAVES | st.none(),
    lambda inner: (
        st.dictionaries(NAMES, inner, max_size=3)
        | st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(tree=st.dictionaries(NAMES, NESTED, max_size=3) | st.lists(NESTED, max_size=3), largest=LEAVES)
def test_merge_undoes_partition(tree, largest):
    if not any(leaf <= largest for leaf in jax.tree.leaves(tree)):
        return
    chosen, rest = trees.partition(tree, lambda path, leaf: leaf <= largest)
    paths = trees.flatten(tree)
    assert trees.flatten(chosen) == {path: leaf for path, leaf in paths.items() if leaf <= largest}
    assert trees.flatten(rest) == {path: leaf for path, leaf in paths.items() if leaf > largest}
    same(trees.merge(chosen, rest), tree)
    same(trees.merge(rest, chosen), tree)


def test_merge_of_nothing_and_of_one():
    assert trees.merge() == {}
    assert trees.merge([1, 2]) == [1, 2]
    assert trees.merge({}, [1, None], [None, 2]) == [1, 2]
    assert trees.merge({"a": 1}, {}, {"b": {"c": 2}}, {"b": {"d": 3}}) == {"a": 1, "b": {"c": 2, "d": 3}}


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (({"a": {"b": 1}}, {"a": {"b": 2}}), 'merge: two trees have a leaf at "a/b"'),
        (({"a": [1, 2]}, {"a": [None, 3]}), 'merge: two trees have a leaf at "a/1"'),
        (({"a": 1}, {"a": {"b": 2}}), 'merge: the containers at "a" differ: a leaf and dict'),
        (({"a": [1]}, {"a": (1,)}), 'merge: the containers at "a" differ: list and tuple'),
        ((1, 2), "merge: two trees have a leaf at the root"),
    ],
)
def test_merge_rejects_what_overlaps(parts, message):
    with pytest.raises(ValueError, match=message):
        trees.merge(*parts)


def test_partition_works_on_tracers():
    def total(tree):
        chosen, rest = trees.partition(tree, "**/kernel")
        return sum(jax.tree.leaves(chosen)) * 10 + sum(jax.tree.leaves(rest))

    assert jax.jit(total)(TREE) == (1 + 4 + 5 + 6) * 10 + 2 + 3


def test_sizes_count_arrays_scalars_and_abstract_values():
    tree = {
        "a": jax.ShapeDtypeStruct((3, 4), jnp.bfloat16),
        "b": [np.zeros((0, 5)), jnp.zeros((), bool), 2.0],
        "c": jax.random.key(0),
    }
    assert trees.size(tree) == 12 + 0 + 1 + 1 + 1
    assert trees.nbytes(tree) == 24 + 0 + 1 + 4 + 8
    assert trees.size({}) == trees.nbytes({}) == 0


def test_diff_says_what_differs():
    a = {"w": jnp.ones((2, 3)), "n": jnp.arange(2), "only": jnp.ones(())}
    b = {"w": jnp.ones((2, 3), jnp.bfloat16), "n": jnp.arange(2), "other": [jnp.ones(1)]}
    assert trees.diff(a, a) == []
    assert trees.diff(a, b) == [
        "only: only in the first, float32[]",
        "other/0: only in the second, float32[1]",
        "w: float32[2, 3] in the first, bfloat16[2, 3] in the second",
    ]


@pytest.mark.parametrize(
    ("path", "axes"),
    [
        ("repeat_0[24]", 1),
        ("repeat_0[24]/dense_0/kernel", 1),
        ("a/repeat_0[6]/repeat_1[12]/kernel", 2),
        ("dense_0/kernel", 0),
        ("", 0),
        ("a[b]/kernel", 0),
        ("a[3]b/kernel", 0),
        ("a[]/kernel", 0),
    ],
)
def test_marks_count_the_axes_in_front(path, axes):
    assert trees.stacked(path) == axes


def test_brackets_in_a_glob_stand_for_themselves():
    tree = {"repeat_0[24]": {"dense_0": {"kernel": 1}}, "repeat_02": {"dense_0": {"kernel": 2}}}
    for glob in ("repeat_0[24]/**", "repeat_0[24]/dense_0/*", "repeat_0[*]/**", "*[24]/**"):
        assert list(trees.select(tree, glob)) == ["repeat_0[24]/dense_0/kernel"], glob
    assert len(trees.select(tree, "repeat_0*/**")) == 2
    with pytest.raises(ValueError, match=r"selects no leaf: known are"):
        trees.select(tree, "repeat_0[2]/**")
