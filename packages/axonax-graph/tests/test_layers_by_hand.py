"""Each builder beside its function of `axonax.tensor.layers`, on the same parameters."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.program._keys import fold_path
from axonax.tensor import layers as tensor
from axonax.tensor.contracts import ModelState

RANDOM = np.random.default_rng(5)


def normal(*shape):
    return RANDOM.normal(size=shape).astype("float32")


LINE, IMAGE, SCAN = normal(2, 8, 4), normal(2, 6, 9, 4), normal(2, 4, 6, 5, 2)
ROWS, OTHER = normal(2, 5, 4), normal(2, 5, 3)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A layer, values of its inputs with the batch in front, and its function called by hand.

    ``by_hand`` takes the inputs, and the leaves and ``options`` by name.
    """

    layer: Any
    inputs: tuple[Any, ...]
    by_hand: Callable[..., Any]
    leaves: dict[str, tuple[int, ...]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    batch: bool = True  # whether the batch is in front in the result


def row(layer, inputs, by_hand=None, leaves=None, batch=True, **options):
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    by_hand = by_hand or getattr(tensor, layer.op)
    return Row(layer=layer, inputs=inputs, by_hand=by_hand, leaves=leaves or {}, options=options, batch=batch)


def first(function):
    """What the function gives before its new statistics."""
    return lambda *args, **kwargs: function(*args, **kwargs)[0]


STATISTICS = {"mean": (4,), "var": (4,)}
AFFINE = {"scale": (4,), "offset": (4,)}
EINSUM = {"kernel": (4, 2, 7), "bias": (2, 1)}
FAMILIES = {
    "linear": [
        row(nn.dense(3), ROWS, leaves={"kernel": (4, 3), "bias": (3,)}),
        row(nn.bilinear(6), (ROWS, OTHER), leaves={"kernel": (4, 3, 6), "bias": (6,)}),
        row(nn.bilinear(6, use_bias=False), (ROWS, OTHER), leaves={"kernel": (4, 3, 6)}),
        row(nn.bias(), ROWS, leaves={"bias": (4,)}),
        row(nn.embedding(7, 3), np.array([[0, 6, 2]] * 2, "int32"), leaves={"kernel": (7, 3)}),
        row(nn.tied_logits(9), ROWS, leaves={"kernel": (9, 4)}),
        row(nn.tied_logits(9, use_bias=True), ROWS, leaves={"kernel": (9, 4), "bias": (9,)}),
        row(
            nn.einsum_dense("...d,dnh->...nh", {"n": 2, "h": 7}, bias_axes="n"),
            ROWS,
            leaves=EINSUM,
            equation="...d,dnh->...nh",
        ),
        row(
            nn.einsum_dense("btd, tds -> bs", {"s": 3}),
            ROWS,
            leaves={"kernel": (5, 4, 3)},
            equation="btd,tds->bs",
        ),
        row(
            nn.weight_norm(nn.dense(3), of="bias"),
            ROWS,
            lambda x, kernel, bias, scale: tensor.dense(x, kernel, tensor.weight_norm(bias, scale)),
            leaves={"kernel": (4, 3), "bias": (3,), "scale": (3,)},
        ),
    ],
    "convolutions": [
        row(nn.conv(6, 3), LINE, leaves={"kernel": (3, 4, 6), "bias": (6,)}),
        row(
            nn.conv_transpose(6, (2, 3), strides=2, padding="same", output_padding=1),
            IMAGE,
            leaves={"kernel": (2, 3, 4, 6), "bias": (6,)},
            strides=2,
            padding="same",
            output_padding=1,
        ),
        row(
            nn.depthwise_conv(2, 3, strides=2, padding=1, use_bias=False),
            IMAGE,
            leaves={"kernel": (3, 3, 1, 8)},
            strides=2,
            padding=1,
        ),
        row(nn.depthwise_conv(1, 2), SCAN, leaves={"kernel": (2, 2, 2, 1, 2), "bias": (2,)}),
        row(
            nn.separable_conv2d(2, (3, 2), kernel_dilation=2, padding="same"),
            IMAGE,
            leaves={"kernel_1": (3, 1, 1, 8), "kernel_2": (1, 2, 1, 8), "bias_1": (8,), "bias_2": (8,)},
            kernel_dilation=2,
            padding="same",
        ),
        row(
            nn.separable_conv3d(3, 2, use_bias=False),
            SCAN,
            leaves={"kernel_1": (2, 1, 1, 1, 6), "kernel_2": (1, 2, 1, 1, 6), "kernel_3": (1, 1, 2, 1, 6)},
        ),
        row(nn.patch_embed(5, (3, 3)), IMAGE, leaves={"kernel": (3, 3, 4, 5), "bias": (5,)}),
        row(nn.unfold(3, strides=2, padding="same"), IMAGE, window=3, strides=2, padding="same"),
        row(nn.fold(7, 2, dilation=2), normal(2, 5, 5, 12), output_size=7, window=2, dilation=2),
    ],
    "pools": [
        row(nn.max_pool(3, strides=1), IMAGE, window=3, strides=1),
        row(nn.min_pool((2, 3), padding="same"), IMAGE, window=(2, 3), padding="same"),
        row(nn.avg_pool(3, padding=1, count_padding=True), IMAGE, window=3, padding=1, count_padding=True),
        row(nn.avg_pool(dilation=2), SCAN, window=2, dilation=2),
        row(nn.lp_pool(2, norm=3), LINE, window=2, norm=3),
        row(nn.blur_pool(strides=2, mode="reflect"), IMAGE, strides=2, mode="reflect"),
        row(nn.adaptive_max_pool(3), IMAGE, output_size=3),
        row(nn.adaptive_avg_pool((4, 2)), IMAGE, output_size=(4, 2)),
        row(nn.adaptive_lp_pool(3, norm=1), LINE, output_size=3, norm=1),
        row(nn.global_max_pool(), IMAGE),
        row(nn.global_avg_pool(keep_axes=True), SCAN, keep_axes=True),
        row(nn.global_lp_pool(norm=4), LINE, norm=4),
    ],
    "normalizations": [
        row(nn.batch_norm(), IMAGE, first(tensor.batch_norm), leaves={**STATISTICS, **AFFINE}),
        row(nn.instance_norm(use_offset=False), IMAGE, first(tensor.instance_norm), leaves={"scale": (4,)}),
        row(
            nn.instance_norm(running=True, eps=0.1),
            IMAGE,
            first(tensor.instance_norm),
            leaves={**STATISTICS, **AFFINE},
            eps=0.1,
        ),
        row(nn.layer_norm(eps=0.1), ROWS, leaves=AFFINE, eps=0.1),
        row(nn.layer_norm(axis=(-1, 1), use_scale=False), ROWS, leaves={"offset": (5, 4)}, axis=(1, 2)),
        row(nn.rms_norm(eps=0.1, shift=1), ROWS, leaves={"scale": (4,)}, eps=0.1, shift=1),
        row(nn.rms_norm(use_scale=False, axis=1), ROWS, axis=1),
        row(nn.group_norm(3, axis=2), IMAGE, leaves={"scale": (9,), "offset": (9,)}, groups=3, axis=2),
        row(nn.local_response_norm(3, k=2, beta=1), IMAGE, size=3, k=2, beta=1),
    ],
    "shapes": [
        row(nn.flatten(), IMAGE),
        row(nn.reshape(("batch", 2, -1)), ROWS, shape=("batch", 2, -1)),
        row(nn.reshape((-1, 4)), ROWS, shape=(-1, 4)),
        row(nn.transpose((0, 2, 1)), ROWS, axes=(0, 2, 1)),
        row(nn.transpose(), ROWS, batch=False),
        row(nn.pad(((1, 2), (0, -1)), mode="edge"), IMAGE, widths=((1, 2), (0, -1)), mode="edge"),
        row(nn.pad(1, value=2.5), LINE, widths=1, value=2.5),
        row(nn.crop((1, (0, 3))), IMAGE, amounts=(1, (0, 3))),
        row(
            nn.resize(4, method="bicubic", antialias=False), IMAGE, size=4, method="bicubic", antialias=False
        ),
        row(nn.pixel_shuffle(2), IMAGE, factor=2),
        row(nn.depth_to_space((2, 1)), IMAGE, factor=(2, 1)),
    ],
    "joins": [
        row(nn.concatenate(axis=2), (ROWS, OTHER), lambda a, b: tensor.concatenate([a, b], 2)),
        row(nn.maximum(), (ROWS, ROWS[::-1]), jax.numpy.maximum),
        row(nn.minimum(), (ROWS, ROWS[::-1]), jax.numpy.minimum),
        row(nn.average(), (ROWS, OTHER[..., :1], ROWS), lambda *xs: tensor.average(xs)),
        row(nn.dot(axis=1, keep_axis=True), (ROWS, ROWS[::-1]), axis=1, keep_axis=True),
        row(nn.cosine_similarity(), (ROWS, ROWS[::-1])),
        row(nn.split(2), ROWS, lambda x: tensor.split(x, 2)),
        row(nn.split((1, 3, 1), axis=1), ROWS, lambda x: tensor.split(x, (1, 3, 1), 1)),
        row(nn.stack_columns(ignore=("b",)), {"a": ROWS, "b": LINE, "c": ROWS + 1}, ignore=("b",)),
        row(nn.function(lambda a, b: (a + 1) * b), (ROWS, ROWS), lambda a, b: (a + 1) * b),
    ],
}


def inputs_of(row):
    """Nodes for the inputs, with the batch open."""
    return [
        nn.input(
            f"in_{place}",
            jax.tree.map(lambda x: (None, *x.shape[1:]), each),
            dtype=jax.tree.leaves(each)[0].dtype,
        )
        for place, each in enumerate(row.inputs)
    ]


def started(model, leaves):
    """The state of a model of one layer, with positive numbers in its leaves."""
    state = jax.eval_shape(nn.build(model).init, jax.random.key(0))
    filled = {
        part: {
            path: {name: np.abs(normal(*leaf.shape)) + 0.1 for name, leaf in named.items()}
            for path, named in getattr(state, part).items()
        }
        for part in ("params", "buffers")
    }
    found = {
        name: leaf for part in filled.values() for named in part.values() for name, leaf in named.items()
    }
    assert {name: leaf.shape for name, leaf in found.items()} == leaves
    return state.replace(**filled), found


@pytest.mark.parametrize("family", FAMILIES)
def test_builders_are_their_functions(family, quick):
    rows, models, states, leaves = FAMILIES[family], [], [], []
    for each in rows:
        result = each.layer(*inputs_of(each))
        models.append(result if isinstance(result, nn.Node) else nn.container(result))
        state, found = started(models[-1], each.leaves)
        states.append(state)
        leaves.append(found)

    def program(inputs, states, leaves):
        for each, model, given, state, found in zip(rows, models, inputs, states, leaves, strict=True):
            named = {f"in_{place}": value for place, value in enumerate(given)}
            yield nn.predict(model, state, named), each.by_hand(*given, **found, **each.options)

    run = quick(lambda *given: list(program(*given)))
    pairs = run([each.inputs for each in rows], states, leaves)
    for each, model, (built, by_hand) in zip(rows, models, pairs, strict=True):
        assert jax.tree.structure(built) == jax.tree.structure(by_hand), each.layer
        for ours, theirs in zip(jax.tree.leaves(built), jax.tree.leaves(by_hand), strict=True):
            assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), each.layer
            np.testing.assert_allclose(ours, theirs, 1e-6, 1e-6, err_msg=repr(each.layer))
            shape = (None, *ours.shape[1:]) if each.batch else (*ours.shape[:-1], None)
            assert str(shape) in str(model), each.layer
        assert f" {each.layer.op}_0 ( {each.layer.op}[" in str(model)


DROPPING = {
    "dropout": (nn.dropout(0.4), {"rate": 0.4}),
    "spatial_dropout": (nn.spatial_dropout(0.4), {"rate": 0.4}),
    "drop_path": (nn.drop_path(0.4), {"rate": 0.4}),
    "alpha_dropout": (nn.alpha_dropout(0.4), {"rate": 0.4}),
    "feature_alpha_dropout": (nn.feature_alpha_dropout(0.4), {"rate": 0.4}),
    "gaussian_dropout": (nn.gaussian_dropout(0.4), {"rate": 0.4}),
    "gaussian_noise": (nn.gaussian_noise(0.4), {"stddev": 0.4}),
}


def test_layers_that_draw_do_so_while_training_by_path_and_use(quick):
    x = nn.input("x", (None, 9, 4))
    twice = tuple(DROPPING["dropout"][0](x) for _ in range(2))
    model = nn.container(
        {name: (layer(x),) for name, (layer, _) in DROPPING.items()}
        | {"dropout": twice}
        | {f"{name} 0": getattr(nn, name)(0)(x) for name in DROPPING}
    )
    _, apply = nn.build(model)
    value = normal(6, 9, 4)

    def program(x):
        key = jax.random.key(3)
        by_hand = {
            name: tuple(
                getattr(tensor, name)(x, **options, key=fold_path(key, f"{name}_0@{use}"))
                for use in range(1 + (name == "dropout"))
            )
            for name, (_, options) in DROPPING.items()
        }
        return apply(ModelState(), x, train=True, key=key)[0], by_hand, apply(ModelState(), x)[0]

    trained, by_hand, predicted = quick(program)(value)
    for name in DROPPING:
        for ours, theirs in zip(trained[name], by_hand[name], strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
        np.testing.assert_array_equal(trained[f"{name} 0"], value)
    assert (trained["dropout"][0] != trained["dropout"][1]).any()
    for each in jax.tree.leaves(predicted):
        np.testing.assert_array_equal(each, value)


NOT_LAYERS = {
    *("alibi", "causal_mask", "padding_mask", "segment_mask", "sliding_window_mask", "sinusoidal"),
    *("attention_weights", "dot_product_attention", "multi_head_attention", "merge_heads", "project_heads"),
    *("relative_position_bias", "rotary_embedding", "rotary_frequencies", "KVCache"),
    *("rnn", "lstm", "gru", "conv_lstm", "rnn_cell", "lstm_cell", "gru_cell", "conv_lstm_cell", "unroll"),
    *("quantize", "dequantize", "quantized_dense", "QuantizedKernel", "greedy", "sample"),
}


def test_every_other_function_of_layers_has_a_builder():
    functions = {name for name in dir(tensor) if not name.startswith("_")}
    assert functions - NOT_LAYERS - set(dir(nn)) == set()
    tested = {each.layer.op for rows in FAMILIES.values() for each in rows} | set(DROPPING)
    elsewhere = {"cond", "spectral_norm", "repeat", "remat"}  # test_combining, _against_torch, _repeat
    assert functions - NOT_LAYERS - tested == elsewhere
