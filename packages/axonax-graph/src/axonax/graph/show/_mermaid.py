"""A model as a flowchart of Mermaid, which Markdown of many hosts draws."""

from __future__ import annotations

from typing import Literal

from axonax.graph.data._layer import Applied
from axonax.graph.program import _infer, _plan
from axonax.graph.show import _arguments, _table
from axonax.tensor import names

# The entities of Mermaid: a label can neither end early nor hold markup.
_ESCAPES = str.maketrans({each: f"#{ord(each)};" for each in '"#<>&`'})

_DIRECTIONS = {"down": "TD", "right": "LR"}


def mermaid(model: Applied, *, direction: Literal["down", "right"] = "down") -> str:
    """A model as text that Mermaid draws: a box for each node, with its options and the shape of its value.

    Args:
        model: any node.
        direction: where the arrows lead.

    Returns:
        a flowchart; all names are escaped.

    Raises:
        TypeError: ``model`` is no node.
        ValueError: a layer does not fit its inputs, or an unknown direction.

    >>> from axonax import graph as nn
    >>> print(nn.mermaid(nn.input("x", (None, 3)) | nn.relu()))
    flowchart TD
      n0["x<br>(None, 3)"]
      n1["relu_0<br>relu<br>(None, 3)"]
      n0 --> n1
    """
    if not isinstance(model, Applied):
        raise TypeError(f'mermaid: needs a node, such as nn.input("x") | nn.dense(2), got {model!r}')
    heading = f"flowchart {names.lookup(_DIRECTIONS, direction, 'mermaid direction')}"
    plan = _plan.plan(model)
    facts = _infer.declared(plan)
    boxes, arrows = [], []
    for place, (step, value) in enumerate(zip(plan.steps, facts.values, strict=True)):
        call = f"{step.layer.op} {_arguments.options(step.layer)}".strip()
        lines = [step.name, *([] if step.layer.op == "input" else [call]), _table.shape(value)]
        boxes.append(f'  n{place}["{"<br>".join(line.translate(_ESCAPES) for line in lines)}"]')
        labels = [""] * (len(step.sources) - len(step.named)) + list(step.named)
        for source, label in zip(step.sources, labels, strict=True):
            arrows.append(f"  n{source} -->{f'|{label.translate(_ESCAPES)}|' if label else ''} n{place}")
    return "\n".join([heading, *boxes, *arrows])
