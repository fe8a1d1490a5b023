"""What builders say of arguments that they do not take, and layers of inputs that do not fit."""

import jax
import numpy as np
import pytest

from axonax import graph as nn

IMAGE = (None, 8, 9, 4)
SIZE = "must be one positive integer or one an axis, got"
SPATIAL = r"needs an input \(batch, \*spatial, channels\)"


@pytest.mark.parametrize("value", [0, -3, 2.5, "8", True, None, (2, 3)])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nn.bilinear, "bilinear: units"),
        (nn.tied_logits, "tied_logits: vocabulary"),
        (lambda value: nn.embedding(value, 3), "embedding: vocabulary"),
        (lambda value: nn.embedding(3, value), "embedding: size"),
        (lambda value: nn.einsum_dense("bd,de->be", {"e": value}), r'einsum_dense: sizes\["e"\]'),
        (nn.conv_transpose, "conv_transpose: filters"),
        (lambda value: nn.conv_transpose(4, groups=value), "conv_transpose: groups"),
        (nn.depthwise_conv, "depthwise_conv: multiplier"),
        (nn.separable_conv2d, "separable_conv2d: multiplier"),
        (nn.separable_conv3d, "separable_conv3d: multiplier"),
        (lambda value: nn.patch_embed(value, 2), "patch_embed: units"),
        (nn.group_norm, "group_norm: groups"),
        (nn.local_response_norm, "local_response_norm: size"),
        (lambda value: nn.spectral_norm(nn.dense(2), steps=value), "spectral_norm: steps"),
    ],
)
def test_counts_are_positive_integers(make, message, value):
    with pytest.raises(ValueError, match=f"^{message} must be a positive integer, got "):
        make(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.conv_transpose(4, 0), f"conv_transpose: kernel_size {SIZE} 0"),
        (lambda: nn.conv_transpose(4, strides=(1, True)), rf"conv_transpose: strides {SIZE} \(1, True\)"),
        (
            lambda: nn.conv_transpose(4, output_padding=-1),
            "conv_transpose: output_padding must be one integer of at least 0 or one an axis, got -1",
        ),
        (lambda: nn.conv_transpose(4, groups=3), "conv_transpose: groups must divide filters, got 3 and 4"),
        (
            lambda: nn.conv_transpose(4, padding="causal"),
            'unknown conv_transpose padding "causal": known are "same", "valid"',
        ),
        (
            lambda: nn.conv_transpose(4, padding=-1),
            r'conv_transpose: padding must be "valid", "same", a number, or a number or a pair .* got -1',
        ),
        (
            lambda: nn.conv_transpose(4, (3, 3), strides=(1,)),
            "conv_transpose: options must agree on the number of spatial axes, got",
        ),
        (lambda: nn.depthwise_conv(2, "3"), f"depthwise_conv: kernel_size {SIZE} '3'"),
        (
            lambda: nn.separable_conv2d(2, (3, 3, 3)),
            "separable_conv2d: options must speak of 2 spatial axes, got .*kernel_size",
        ),
        (lambda: nn.separable_conv3d(2, padding="causal"), 'unknown separable_conv3d padding "causal"'),
        (lambda: nn.patch_embed(2, 0), f"patch_embed: window {SIZE} 0"),
        (lambda: nn.unfold(2.0), f"unfold: window {SIZE} 2.0"),
        (lambda: nn.fold((0, 2), 2), rf"fold: output_size {SIZE} \(0, 2\)"),
        (lambda: nn.min_pool(0), f"min_pool: window {SIZE} 0"),
        (lambda: nn.avg_pool(2, strides="2"), f"avg_pool: strides {SIZE} '2'"),
        (lambda: nn.lp_pool(norm=0.5), "lp_pool: norm must be a number of at least 1, got 0.5"),
        (lambda: nn.blur_pool(0), f"blur_pool: window {SIZE} 0"),
        (lambda: nn.blur_pool(mode="reflct"), 'unknown blur_pool mode "reflct": did you mean "reflect"'),
        (lambda: nn.adaptive_max_pool(None), f"adaptive_max_pool: output_size {SIZE} None"),
        (lambda: nn.adaptive_avg_pool(0), f"adaptive_avg_pool: output_size {SIZE} 0"),
        (
            lambda: nn.adaptive_lp_pool(2, norm=0),
            "adaptive_lp_pool: norm must be a number of at least 1, got 0",
        ),
        (lambda: nn.global_lp_pool(norm=float("inf")), "global_lp_pool: norm must be a .* got inf"),
        (
            lambda: nn.einsum_dense("bd,de", {"e": 3}),
            r'einsum_dense: equation must be "x,kernel->y" with each axis once .* got \'bd,de\'',
        ),
        (lambda: nn.einsum_dense("bb,be->be", {"e": 3}), "equation must be .* got 'bb,be->be'"),
        (
            lambda: nn.einsum_dense("bd,dnh->bnh", {"n": 3}),
            r"""sizes must give "n", "h", the axes of the kernel alone, got \{'n': 3\}""",
        ),
        (lambda: nn.einsum_dense("bd,de->bf", {"e": 3}), "the axes of y must be among those of x and the"),
        (lambda: nn.einsum_dense("...d,de->e", {"e": 3}), "the axes of y must be among those of x and the"),
        (
            lambda: nn.einsum_dense("bd,de->be", {"e": 3}, bias_axes="d"),
            "bias_axes must be axes of y, \"be\", got 'd'",
        ),
        (lambda: nn.instance_norm(momentum=1.5), r"instance_norm: momentum must be in \[0, 1\], got 1.5"),
        (lambda: nn.instance_norm(axis=None), "instance_norm: axis must be an integer, got None"),
        (lambda: nn.layer_norm(axis=1.5), "layer_norm: axis must be an integer, got 1.5"),
        (
            lambda: nn.layer_norm(axis=()),
            r"layer_norm: axis must be an integer or several that differ, got \(\)",
        ),
        (lambda: nn.layer_norm(axis=(1, 1)), r"axis must be an integer or several that differ, got \(1, 1\)"),
        (lambda: nn.layer_norm(eps="0"), "layer_norm: eps must be a number of at least 0, got '0'"),
        (lambda: nn.rms_norm(shift=-1), "rms_norm: shift must be a number of at least 0, got -1"),
        (
            lambda: nn.rms_norm(shift=1, use_scale=False),
            "rms_norm: shift is added to the scale, which use_scale=False leaves out, got 1",
        ),
        (lambda: nn.group_norm(2, eps=True), "group_norm: eps must be a number of at least 0, got True"),
        (
            lambda: nn.local_response_norm(k=-1),
            "local_response_norm: k must be a number of at least 0, got -1",
        ),
        (
            lambda: nn.weight_norm(nn.dense(2), of="kernle"),
            r'weight_norm: <dense layer, .*> has no "kernle": did you mean "kernel"',
        ),
        (lambda: nn.weight_norm(nn.batch_norm(), of="offset"), 'weight_norm: .* has a "scale" of its own'),
        (
            lambda: nn.spectral_norm(nn.relu()),
            'spectral_norm: <relu layer, .*> has no "kernel": none are known',
        ),
        (
            lambda: nn.spectral_norm(nn.dense(2), of=3),
            'spectral_norm: .* has no "3": known are "bias", "kernel"',
        ),
        (lambda: nn.spatial_dropout(-1), r"spatial_dropout: rate must be in \[0, 1\], got -1"),
        (lambda: nn.drop_path(2), r"drop_path: rate must be in \[0, 1\], got 2"),
        (lambda: nn.alpha_dropout("1"), r"alpha_dropout: rate must be in \[0, 1\], got '1'"),
        (lambda: nn.feature_alpha_dropout(2), r"feature_alpha_dropout: rate must be in \[0, 1\], got 2"),
        (lambda: nn.gaussian_dropout(True), r"gaussian_dropout: rate must be in \[0, 1\], got True"),
        (lambda: nn.gaussian_noise(-1), "gaussian_noise: stddev must be a number of at least 0, got -1"),
        (lambda: nn.reshape(3), 'reshape: shape must hold sizes, "batch" and at most one -1, got 3'),
        (lambda: nn.reshape((-1, -1)), r"reshape: shape must hold .* got \(-1, -1\)"),
        (lambda: nn.reshape(("bach", 2)), r"reshape: shape must hold .* got \('bach', 2\)"),
        (lambda: nn.transpose(1), "transpose: axes must be all axes in their new order, got 1"),
        (lambda: nn.transpose((0, 0)), r"transpose: axes must be .* several that differ, got \(0, 0\)"),
        (lambda: nn.pixel_shuffle(0), f"pixel_shuffle: factor {SIZE} 0"),
        (lambda: nn.depth_to_space(0), f"depth_to_space: factor {SIZE} 0"),
        (
            lambda: nn.pad("1"),
            r"pad: widths must be a number, or a number or a pair \(front, behind\) an axis, got '1'",
        ),
        (lambda: nn.pad(1, mode="zeros"), 'unknown pad mode "zeros": known are "constant", "edge"'),
        (lambda: nn.pad(1, value="0"), "pad: value must be a number, got '0'"),
        (lambda: nn.crop((1, (2, -1))), r"crop: amounts must be .*, none below 0, got \(1, \(2, -1\)\)"),
        (lambda: nn.resize(0), f"resize: size {SIZE} 0"),
        (lambda: nn.resize(3, method="linear"), 'unknown resize method "linear": did you mean "bilinear"'),
        (lambda: nn.concatenate(axis="1"), "concatenate: axis must be an integer, got '1'"),
        (lambda: nn.split(0), "split: parts must be a positive integer, got 0"),
        (lambda: nn.split(()), "split: parts must be a positive integer or sizes, got none"),
        (lambda: nn.split((1, 0)), "split: a size of parts must be a positive integer, got 0"),
        (lambda: nn.split(2, axis=0.5), "split: axis must be an integer, got 0.5"),
        (lambda: nn.stack_columns(ignore="a"), "stack_columns: ignore must hold names, got 'a'"),
        (lambda: nn.dot(axis=True), "dot: axis must be an integer, got True"),
        (lambda: nn.cosine_similarity(axis=2.0), "cosine_similarity: axis must be an integer, got 2.0"),
        (lambda: nn.function(3), "function: needs a function of arrays, got 3"),
        (lambda: nn.function(nn.relu()), "function: needs a function of arrays, got <relu layer"),
    ],
)
def test_arguments_are_checked_where_the_user_wrote_them(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def x(*shape, **options):
    return nn.input("x", shape, **options)


def y(*shape):
    return nn.input("y", shape)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.bilinear(3)(x(None, 3), y(None, 2, 3)),
            r"needs two inputs \(..., features\) that agree in",
        ),
        (lambda: x() | nn.bias(), r"needs an input of at least one axis \(..., features\), got \(\)"),
        (lambda: x() | nn.tied_logits(3), r"needs an input of at least one axis \(..., features\), got \(\)"),
        (
            lambda: x(None, 7) | nn.embedding(3, 2),
            r'needs integers and not float32 \(write nn.input\(..., dtype="int32"\)\), got \(None, 7\)',
        ),
        (
            lambda: x(None, 3) | nn.einsum_dense("btd,de->bte", {"e": 3}),
            'needs an input with the axes "btd", got',
        ),
        (lambda: x(None, 3) | nn.conv_transpose(3, 2), rf"{SPATIAL} with one to three spatial axes, got"),
        (
            lambda: x(*IMAGE) | nn.conv_transpose(3, (2, 2, 2)),
            rf"{SPATIAL} with 3 spatial axes, got \(None, 8",
        ),
        (lambda: x(*IMAGE) | nn.conv_transpose(6, groups=3), "needs channels that groups=3 divides, got"),
        (
            lambda: x(None, 3) | nn.depthwise_conv(2),
            rf"{SPATIAL} with one to three spatial axes, got \(None, 3\)",
        ),
        (
            lambda: x(*IMAGE) | nn.depthwise_conv(2, 20),
            r"cannot take input \(None, 8, 9, 4\): .*window \(20, 20\) does not fit the padded input",
        ),
        (
            lambda: x(None, 9, 4) | nn.separable_conv2d(2),
            rf"{SPATIAL} with 2 spatial axes, got \(None, 9, 4\)",
        ),
        (
            lambda: x(*IMAGE) | nn.separable_conv3d(2),
            rf"{SPATIAL} with 3 spatial axes, got \(None, 8, 9, 4\)",
        ),
        (lambda: x(*IMAGE) | nn.patch_embed(3, 5), r"window \(5, 5\) does not divide the sizes \(8, 9\)"),
        (lambda: x(*IMAGE) | nn.unfold(12), r"window \(12, 12\) does not fit the padded input \(8, 9\)"),
        (
            lambda: x(None, 4, 4, 9) | nn.fold(9, 3),
            r"patches must be \(None, 7, 7, 9\) for output_size \(9, 9\)",
        ),
        (lambda: x(None, 3) | nn.min_pool(), rf"{SPATIAL} with one to three spatial axes, got \(None, 3\)"),
        (lambda: x(*IMAGE) | nn.avg_pool(10), r"window \(10, 10\) does not fit the padded input \(8, 9\)"),
        (lambda: x(*IMAGE) | nn.blur_pool((3,)), rf"{SPATIAL} with 1 spatial axes, got \(None, 8, 9, 4\)"),
        (lambda: x(None, 3) | nn.adaptive_avg_pool(3), rf"{SPATIAL} with one to three spatial axes, got"),
        (lambda: x(None, 3) | nn.global_avg_pool(), rf"{SPATIAL} with one to three spatial axes, got"),
        (
            lambda: x(None, 3) | nn.instance_norm(),
            r"needs an input \(batch, ...\) with channels at axis -1 and at least one axis more, got",
        ),
        (
            lambda: x(None, 3) | nn.layer_norm(axis=(1, 2)),
            r"needs an input that has the axis 2, got \(None, 3\)",
        ),
        (lambda: x(None, 3) | nn.rms_norm(axis=-3), r"needs an input that has the axis -3, got \(None, 3\)"),
        (
            lambda: x(*IMAGE) | nn.group_norm(3),
            r"needs channels that groups=3 divides, got \(None, 8, 9, 4\)",
        ),
        (
            lambda: x(None, 3) | nn.group_norm(3, axis=0),
            r"needs an input \(batch, ...\) with channels at axis 0",
        ),
        (lambda: x(None, 3) | nn.local_response_norm(axis=2), "needs an input that has the axis 2, got"),
        (
            lambda: x(None, 3, dtype="int32") | nn.dropout(),
            r"cannot take input \(None, 3\): input must be float",
        ),
        (lambda: x(None, 3) | nn.spatial_dropout(), rf"{SPATIAL}, got \(None, 3\)"),
        (lambda: x(None, 3) | nn.feature_alpha_dropout(), rf"{SPATIAL}, got \(None, 3\)"),
        (lambda: x() | nn.drop_path(), r"needs an input \(batch, ...\), got \(\)"),
        (lambda: x() | nn.flatten(), r"needs an input \(batch, ...\), got \(\)"),
        (
            lambda: x(None, 4) | nn.reshape(("batch", 3)),
            r"needs an input with the elements of \('batch', 3\), got \(None, 4\)",
        ),
        (
            lambda: x(2, 4) | nn.reshape((3, -1)),
            r"needs an input with the elements of \(3, -1\), got \(2, 4\)",
        ),
        (lambda: x() | nn.reshape(("batch",)), r"needs an input \(batch, ...\), got \(\)"),
        (
            lambda: x(None, 4) | nn.transpose((0, 2, 1)),
            r"needs an input of 3 axes, for axes=\(0, 2, 1\), got \(None, 4\)",
        ),
        (lambda: x(*IMAGE) | nn.pixel_shuffle(3), "factor 3 over 2 axes does not divide 4 channels"),
        (lambda: x(None, 4) | nn.depth_to_space(2), rf"{SPATIAL} with one to three spatial axes, got"),
        (lambda: x(None, 4) | nn.pad(1), rf"{SPATIAL}, got \(None, 4\)"),
        (lambda: x(*IMAGE) | nn.pad((1, 2, 3)), r"a pair \(front, behind\) for each of 2 spatial axes, got"),
        (
            lambda: x(*IMAGE) | nn.crop(9),
            r"cannot crop \[\(9, 9\), \(9, 9\)\] from the spatial sizes \(8, 9\)",
        ),
        (lambda: x(*IMAGE) | nn.resize((3,)), rf"{SPATIAL} with 1 spatial axes, got \(None, 8, 9, 4\)"),
        (
            lambda: nn.concatenate(x(None, 4), y(None, 3, 2)),
            r"needs inputs that agree in all axes but -1, got \(None, 4\), \(None, 3, 2\)",
        ),
        (lambda: nn.concatenate(x(None, 4), axis=3), r"needs an input that has the axis 3, got \(None, 4\)"),
        (lambda: x(None, 4) | nn.split(2, axis=2), r"needs an input that has the axis 2, got \(None, 4\)"),
        (lambda: x(None, 4) | nn.split(3), "parts must divide 4, the size of axis -1, got 3"),
        (lambda: x(None, 4) | nn.split((1, 2)), r"sizes must add up to 4, the size of axis -1, got \(1, 2\)"),
        (
            lambda: x(None, 4) | nn.stack_columns(),
            r"needs a container of columns, such as nn.container\(\{...\}\), got \(None, 4\)",
        ),
        (
            lambda: nn.container({"a": x(None, 4)}) | nn.stack_columns(ignore=("b",)),
            "no column 'b' to ignore: known are \"a\"",
        ),
        (lambda: x(None, 128)[None] | nn.reshape((4, 4, 8)), r"with the elements of \(4, 4, 8\), got"),
        (
            lambda: x(None, 128) | nn.reshape((4, 4, 8)),
            r"elements of \(4, 4, 8\) \(the batch is an axis too: \('batch', 4, 4, 8\)\), got \(None, 128\)",
        ),
        (
            lambda: nn.cond(x(), *[y(None, 4)] * 2),
            r"predicate must be a scalar bool and no float32 \(an input is one as nn.input\(name, ",
        ),
        (lambda: nn.maximum(x(None, 4), y(None, 3)), r"needs inputs whose shapes broadcast, got \(None, 4\)"),
        (
            lambda: nn.average(x(None, 4), y(None, 4, 3)),
            "needs inputs of as many axes, whose sizes agree or are 1, got",
        ),
        (lambda: nn.dot(x(None, 4), y(None, 1)), "needs vectors along axis -1 that are equally long, got"),
        (lambda: nn.dot(x(None, 4), y(None, 4), axis=2), "needs an input that has the axis 2, got"),
        (
            lambda: nn.container({"a": x(None, 4), "b": y(None, 4)}) | nn.dense(2),
            r"needs arrays and no container, whose parts are node\[...\], got \(None, 4\), \(None, 4\)",
        ),
        (lambda: nn.container((x(None, 4),)) | nn.transpose(), "needs arrays and no container, whose parts"),
        *(
            (
                lambda layer=layer: nn.container((x(None, 4),)) | layer,
                "needs an array and no container, whose",
            )
            for layer in (nn.softmax(), nn.dropout(), nn.gaussian_noise(0.1), nn.negative())
        ),
        (
            lambda: x(*IMAGE) | nn.weight_norm(nn.conv(6, 3, groups=3)),
            "needs channels that groups=3 divides, got",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_found_at_build(make, message):
    node = make()
    model = node if isinstance(node, nn.Node) else node[0]
    while model.layer.op == "getitem":
        model = model.parents[0]
    op = model.layer.op
    with pytest.raises(ValueError, match=rf'^{op} "{op}_0" \(test_layer_errors.py:\d+\): .*{message}'):
        nn.build(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: nn.linear(128),
            r"linear: too many .*: takes 0, got 1; for a layer of units write dense\(128\)$",
        ),
        (lambda: nn.dense(3, "relu"), r'dense: too many positional arguments: takes 1 \("units"\), got 2$'),
        (
            lambda: nn.dense(3) | nn.relu(),
            r"<dense layer, test_.*>: a chain begins with a node, as nn.input\(\"x\"\) \| dense\(...\)",
        ),
        (lambda: np.ones((2, 3)) | nn.dense(3), "<dense layer, .*>: a chain begins with a node"),
        (lambda: 2 | nn.relu(), "<relu layer, .*>: a chain begins with a node"),
        (
            lambda: nn.conv_transpose(8, stride=2),
            'conv_transpose: unknown option "stride": did you mean "strides"',
        ),
        (lambda: nn.bilinear(3)(x(None, 3)), r"bilinear \(.*\): takes 2 input\(s\), got 1"),
        (lambda: nn.average(x(None, 3)), r"average \(.*\): takes 2 or more input\(s\), got 1"),
        (lambda: nn.cosine_similarity(x(None, 3)), r"cosine_similarity \(.*\): takes 2 input\(s\), got 1"),
        (lambda: nn.concatenate(3), "concatenate: takes nodes, or none to make a layer, got int"),
        (lambda: nn.weight_norm(3), r"weight_norm: needs a layer, such as nn.dense\(8\), got int"),
        (
            lambda: nn.layer_norm(x(None, 3)),
            r"layer_norm: got a node where .*: write x \| nn.layer_norm\(...\)",
        ),
        (lambda: nn.group_norm(x(None, 3)), r"group_norm: got a node .*: write x \| nn.group_norm\(...\)"),
    ],
)
def test_calls_that_do_not_fit(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dens", '^axonax.graph has no "dens": did you mean "dense"'),
        ("Dense", 'has no "Dense": did you mean "dense"'),
        ("layernorm", 'has no "layernorm": did you mean "layer_norm"'),
        ("_dense", 'has no "_dense": did you mean "dense"'),
        ("__wrapped__", "^module 'axonax.graph' has no attribute '__wrapped__'$"),
    ],
)
def test_an_unknown_name_of_the_package_lists_near_matches(name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(nn, name)
    assert not hasattr(nn, name)


def test_integers_out_of_range_are_an_error_where_they_can_be_seen():
    model = nn.input("x", (None, 2), dtype="int32") | nn.embedding(3, 2, kernel_initializer="ones")
    init, apply = nn.build(model)
    state = init(jax.random.key(0))
    for wrong in (3, -1):
        given = np.array([[0, 1], [2, wrong]], "int32")
        with pytest.raises(
            ValueError, match=rf'^embedding "embedding_0" .* integers must be in \[0, 3\), got {wrong}'
        ):
            apply(state, given)
        found = jax.jit(apply)(state, given)[0]
        np.testing.assert_array_equal(np.isnan(found), [[[False] * 2] * 2, [[False] * 2, [True] * 2]])
    assert apply(state, np.zeros((0, 2), "int32"))[0].shape == (0, 2, 2)
