import textwrap

import jax

from axonax import graph as nn


def shown(text):
    return textwrap.dedent(text).strip("\n")


def test_a_dense_model():
    model = nn.input("input", (None, 784)) | nn.dense(128) | nn.dense(10, activation="softmax")
    assert str(model) == shown("""
        -----------------------------------------------------------------------------------------------------
                                                        Model
        =====================================================================================================
         Layer                              Shape         Policy              Parameters   Parameters Memory
        =====================================================================================================
         input ( input )                    (None, 784)   p=f32 c=f32 o=f32   0            0 bytes
         dense_0 ( dense["input"] )         (None, 128)   p=f32 c=f32 o=f32   100480       401920 bytes
         dense_1 ( dense["dense_0"] )       (None, 10)    p=f32 c=f32 o=f32   1290         5160 bytes
         softmax_0 ( softmax["dense_1"] )   (None, 10)    p=f32 c=f32 o=f32   0            0 bytes
        -----------------------------------------------------------------------------------------------------
        Total Parameters: 101770
        Total Parameters Memory: 407080 bytes
        Inputs: {"input": (None, 784)}
        """)


def test_buffers_and_own_parameters_are_counted():
    half = nn.layer(
        lambda x, gain: x * gain[None],
        params={"gain": nn.param(lambda x: x.shape[-1:], "ones", dtype="bfloat16")},
    )
    lines = str(nn.input("x", (None, 4)) | nn.batch_norm() | half).splitlines()
    assert lines[6].split(maxsplit=9)[-1] == "8 (+8 in buffers)   32 bytes"
    assert lines[7].split()[-3:] == ["4", "8", "bytes"]
    assert lines[9:] == [
        "Total Parameters: 12",
        "Total Parameters Memory: 40 bytes",
        "Total Buffers: 8",
        "Total Buffers Memory: 32 bytes",
        'Inputs: {"x": (None, 4)}',
    ]


def test_a_shared_layer_is_counted_once():
    encode = nn.dense(8)
    model = (nn.input("a", (None, 4)) | encode) + (nn.input("b", (None, 4)) | encode)
    table = str(model)
    assert ' dense_0@1 ( dense["b"] ) ' in table
    assert "Total Parameters: 40\n" in table
    assert table.endswith('Inputs: {"a": (None, 4), "b": (None, 4)}')


def test_an_input_without_a_shape_leaves_the_rest_open():
    table = str(nn.input("x") | nn.dense(8))
    assert table.splitlines()[6].split()[4:] == ["?", "p=f32", "c=f32", "o=f32", "?", "?", "bytes"]
    assert "Total Parameters: ?\n" in table
    assert table.endswith('Inputs: {"x": ?}')


def test_parameters_of_a_fixed_shape_are_known_without_inputs():
    bias = nn.layer(lambda x, bias: x + bias, params={"bias": nn.param((), "zeros")})
    assert "Total Parameters: 1\n" in str(nn.input("x") | bias)


def test_open_sizes_pass_through_what_keeps_them():
    model = nn.input("x", (None, 28, None, 3)) | nn.conv(8, 3, strides=2) | nn.flatten()
    rows = str(model).splitlines()
    assert "(None, 13, None, 8)" in rows[6]
    assert "(None, None)" in rows[7]


def test_a_parameter_of_open_size_is_open_in_the_totals():
    model = nn.input("x", (None, None)) | nn.dense(2)
    assert "Total Parameters: ?\n" in str(model)


def test_outputs_may_nest():
    pair = nn.layer(lambda x: {"twice": 2 * x, "both": (x, x)})
    assert "{'both': ((None, 4), (None, 4)), 'twice': (None, 4)}" in str(nn.input("x", (None, 4)) | pair)


def test_a_scalar_constant():
    rows = str(nn.input("x", (None, 4)) * 2.0).splitlines()
    assert rows[6].split()[:4] == ["constant_0", "(", "constant", ")"]
    assert rows[6].split()[4] == "()"


def test_printing_computes_nothing():
    def touched(x):
        jax.debug.callback(lambda: (_ for _ in ()).throw(AssertionError("computed")))
        return x

    str(nn.input("x", (None, 4)) | nn.layer(touched))


def test_a_node_is_short_in_other_texts():
    assert repr(nn.input("x", (None, 4)) | nn.dense(2)).startswith("<dense node, test_display.py:")
