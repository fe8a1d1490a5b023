"""What a reader lets a file ask for, and the one error by which it refuses."""

from __future__ import annotations

from dataclasses import dataclass

FORMAT, VERSION = "axonax.graph", 1

# What the arrays and arguments of a file may hold; names of dtypes are looked up here and nowhere else.
DTYPES = frozenset(
    {
        "bool",
        *(f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64)),
        *("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"),
        *("complex64", "complex128"),
    }
)


class ModelFileError(ValueError):
    """A text or file holds no model, or one that asks for too much; it names the table and the row.

    Args:
        problem: what is wrong.
        where: the table and the row, such as ``layers[3]``; empty as long as it is not known.
    """

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a model in a file may ask for: nothing beyond is made or allocated.

    Args:
        nodes: in all of its tables, those of models within models too.
        parameter_bytes: of all parameters and buffers, an open size counted as 1.
        array_bytes: of all constants and other arrays among the arguments.
        text: the characters of the whole.
        string: the characters of any one text in it.
        depth: how deep values, layers and models may nest.

    >>> from axonax import graph as nn
    >>> text = nn.dumps(nn.input("x", (None, 3)) | nn.dense(10**6))
    >>> nn.loads(text, limits=nn.Limits(parameter_bytes=10**6))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    axonax.graph.files._limits.ModelFileError: layers[1]: with kernel of "dense_0" the parameters need ...
    """

    nodes: int = 200_000
    parameter_bytes: int = 2**40
    array_bytes: int = 2**30
    text: int = 2**31
    string: int = 100_000
    depth: int = 32
