"""Whether what is done with a batch leaves out the rows that were added to fill it up."""

from __future__ import annotations

from typing import Any

import jax

from axonax.loop.data._remainder import Padded
from axonax.loop.steps._depends import depends
from axonax.loop.steps._metrics import COUNTED
from axonax.loop.steps._program import Program, empty

PyTree = Any


def leaves_out(program: Program, batch: Padded, carry: PyTree, constant: PyTree) -> bool:
    """Whether the loss and all metrics leave out the added rows of a padded batch.

    One that gives a single number for its batch cannot, nor can a metric that takes neither weights nor
    ``where``, or does not look at them.
    """
    if program.outputs is None:
        return True
    try:
        outputs = dict(program.outputs(carry, batch, constant))
        fresh = jax.eval_shape(lambda given: empty(program.measures, given), outputs)
        return all(_looks_at_rows(each, fresh[each.name], outputs) for each in program.measures)
    except (TypeError, ValueError):
        return False


def _looks_at_rows(measure: Any, fresh: PyTree, outputs: dict[str, Any]) -> bool:
    if getattr(measure, "measure", measure).of_loss:  # the loss has left them out itself
        return True
    rest = {name: value for name, value in outputs.items() if name != COUNTED}

    def update(where: Any, state: PyTree, rest: dict[str, Any]) -> PyTree:
        return measure.update(state, {**rest, COUNTED: where})

    return depends(update, outputs[COUNTED], fresh, rest)
