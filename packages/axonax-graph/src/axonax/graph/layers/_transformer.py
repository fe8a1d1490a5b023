"""The layers of a transformer, made of others in a block of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from axonax.graph.data._layer import Applied, Layer, Scope, inside
from axonax.graph.layers._activation import Activation
from axonax.graph.layers._attention import multi_head_attention
from axonax.graph.layers._checks import fraction, positive
from axonax.graph.layers._dropout import dropout
from axonax.graph.layers._linear import dense
from axonax.graph.layers._row_norms import layer_norm, rms_norm
from axonax.tensor import names

_NORMS: dict[str, Callable[..., Layer]] = {"layer_norm": layer_norm, "rms_norm": rms_norm}


def transformer_encoder(
    units: int,
    heads: int,
    *,
    hidden: int | None = None,
    activation: Activation = "gelu",
    norm: str = "layer_norm",
    pre_norm: bool = True,
    dropout_rate: float = 0.0,
    name: str | None = None,
    **attention: Any,
) -> Callable[..., Any]:
    """One layer of a transformer: a sequence attends to itself, then two dense layers, each added to it.

    With ``pre_norm`` ``x + f(norm(x))``, as GPT-2 has it, which trains without warm-up; else
    ``norm(x + f(x))``, as the paper has it. With ``causal=True`` it is the layer of a language model.

    Args:
        units: the features of the sequence.
        heads: of the attention.
        hidden: units between the dense layers; four times ``units`` if ``None``.
        activation: between the dense layers.
        norm: ``"layer_norm"`` or ``"rms_norm"``.
        pre_norm: normalize what goes into each part, else what comes out of the sum.
        dropout_rate: of what each part adds, while training.
        name: what the paths of its layers begin with; ``None`` numbers it: ``transformer_encoder_0``.
        **attention: options of `multi_head_attention`.

    Returns:
        a function of a node ``(batch, time, units)``, which may take ``mask=``; its calls share the layers.

    Raises:
        ValueError: a size that is not a positive integer, an unknown name (the text lists near matches).
        TypeError: an option that attention does not have.

    Source: Vaswani et al., Attention Is All You Need (2017); Xiong et al., On Layer Normalization in the
    Transformer Architecture (2020).

    >>> from axonax import graph as nn
    >>> encode = nn.transformer_encoder(64, 4, hidden=128, dropout_rate=0.1)
    >>> model = nn.input("x", (None, None, 64)) | encode
    """
    scope = Scope("transformer_encoder", name)
    part = _maker(scope, norm, pre_norm, dropout_rate)
    with inside(scope):
        look = part(multi_head_attention(heads, **_attention(units, attention), name="attention"))
        think = part(*_dense(scope.op, units, hidden, activation), name="dense")

    def encode(x: Any, *, mask: Any = None) -> Any:
        _check_nodes(scope, x)
        named = {} if mask is None else {"mask": mask}
        with inside(scope):
            return think.added(look.added(x, **named))

    return encode


def transformer_decoder(
    units: int,
    heads: int,
    *,
    hidden: int | None = None,
    activation: Activation = "gelu",
    norm: str = "layer_norm",
    pre_norm: bool = True,
    dropout_rate: float = 0.0,
    name: str | None = None,
    **attention: Any,
) -> Callable[..., Any]:
    """One layer of a decoder: causal attention to itself, attention to a context, then two dense layers.

    Args:
        units: the features of the sequence; this and the others as for `transformer_encoder`.
        heads: of both attentions.
        hidden: units between the dense layers.
        activation: between the dense layers.
        norm: ``"layer_norm"`` or ``"rms_norm"``.
        pre_norm: normalize what goes into each part, else what comes out of the sum.
        dropout_rate: of what each part adds, while training.
        name: what the paths of its layers begin with; ``None`` numbers it: ``transformer_decoder_0``.
        **attention: options of both attentions; ``causal``, ``rotary`` and ``window`` are of the first alone.

    Returns:
        a function of two nodes, the sequence and the context, which may take ``mask=`` and ``context_mask=``.

    Raises:
        ValueError: as for `transformer_encoder`, as is TypeError.

    >>> from axonax import graph as nn
    >>> decode = nn.transformer_decoder(64, 4, hidden=128)
    >>> model = decode(nn.input("x", (None, None, 64)), nn.input("context", (None, None, 32)))
    """
    scope = Scope("transformer_decoder", name)
    part = _maker(scope, norm, pre_norm, dropout_rate)
    own = _attention(units, {"causal": True, **attention})
    cross = {key: value for key, value in own.items() if key not in ("causal", "rotary", "window")}
    with inside(scope):
        look = part(multi_head_attention(heads, **own, name="attention"))
        ask = part(multi_head_attention(heads, **cross, name="cross_attention"))
        think = part(*_dense(scope.op, units, hidden, activation), name="dense")

    def decode(x: Any, context: Any, *, mask: Any = None, context_mask: Any = None) -> Any:
        _check_nodes(scope, x, context)
        named = {} if mask is None else {"mask": mask}
        seen = {} if context_mask is None else {"mask": context_mask}
        with inside(scope):
            return think.added(ask.added(look.added(x, **named), context, **seen))

    return decode


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Layers that follow each other and are added to what goes in, with a norm and dropout."""

    layers: tuple[Layer, ...]
    norm: Layer
    dropout: Layer | None
    pre_norm: bool

    def added(self, x: Any, *others: Any, **named: Any) -> Any:
        """``x + f(norm(x))``, or ``norm(x + f(x))``; others and named go to the first layer."""
        first, *rest = self.layers
        found = first(self.norm(x) if self.pre_norm else x, *others, **named)
        for layer in (*rest, *((self.dropout,) if self.dropout else ())):
            found = layer(found)
        return x + found if self.pre_norm else self.norm(x + found)


def _maker(scope: Scope, norm: str, pre_norm: bool, rate: float) -> Callable[..., _Part]:
    """What makes the parts of a block, each with a norm and dropout of its own."""
    normalize = names.lookup(_NORMS, norm, "norm")
    rate = fraction(scope.op, "dropout_rate", rate)

    def part(*layers: Layer, name: str | None = None) -> _Part:
        title = name or layers[0].name
        return _Part(
            layers=layers,
            norm=normalize(name=f"{title}_norm"),
            dropout=dropout(rate, name=f"{title}_dropout") if rate else None,
            pre_norm=bool(pre_norm),
        )

    return part


def _attention(units: int, options: dict[str, Any]) -> dict[str, Any]:
    """The options of an attention that gives what can be added to its input."""
    return {**options, "units": units}


def _dense(who: str, units: int, hidden: int | None, activation: Activation) -> tuple[Layer, Layer]:
    units = positive(who, "units", units)
    width = 4 * units if hidden is None else positive(who, "hidden", hidden)
    return dense(width, activation=activation, name="dense_0"), dense(units, name="dense_1")


def _check_nodes(scope: Scope, *nodes: Any) -> None:
    for each in nodes:
        if not isinstance(each, Applied):
            raise TypeError(f"{scope.op} ({scope.where}): takes nodes, got {type(each).__name__}")
