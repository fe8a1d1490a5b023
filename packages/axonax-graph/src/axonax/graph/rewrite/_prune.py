"""Small weights set to zero."""

from __future__ import annotations

from axonax.graph.rewrite._carry import check_state
from axonax.graph.rewrite._leaves import with_leaves
from axonax.tensor import trees, weights
from axonax.tensor.contracts import ModelState


def prune(state: ModelState, *patterns: trees.Pattern, fraction: float) -> ModelState:
    """The state with the smallest weights of some parameters set to 0, in each by itself.

    Nothing keeps them 0 in training that follows: prune again after it, or freeze them.

    Args:
        state: of any model.
        *patterns: of paths of parameters, trained or frozen: globs, compiled regular expressions, predicates
            ``(path, leaf) -> bool``; ``"**/kernel"`` if there is none.
        fraction: of the weights of each parameter, in [0, 1].

    Returns:
        a state of the same structure.

    Raises:
        ValueError: a pattern selects no parameter (the text lists near paths), or ``fraction`` is not in
            [0, 1].
        TypeError: no `ModelState`.

    >>> import jax
    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 4)) | nn.dense(2)
    >>> state = nn.prune(nn.build(model).init(jax.random.key(0)), fraction=0.5)
    >>> int((state.params["dense_0"]["kernel"] == 0).sum())
    4
    """
    check_state("prune", state)
    try:
        chosen = trees.select(state.variables, *(patterns or ("**/kernel",)), what="parameter")
    except ValueError as error:
        raise ValueError(f"prune: {error}") from None
    return with_leaves(state, {path: weights.prune(leaf, fraction) for path, leaf in chosen.items()})
