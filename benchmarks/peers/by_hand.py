"""JAX by hand: one jitted, donated step a batch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from peers.forward import FORWARD, first_buffers
from peers.jobs import Job
from peers.peer import Mark, Peer


def make_step(job: Job) -> tuple[Any, Any]:
    """``step(carry, x, y)``, not yet compiled, and the first ``carry``."""
    forward, optimizer = FORWARD[job.name], optax.adam(job.rate)

    def loss_fn(params, buffers, x, y):
        logits, buffers = forward(params, buffers, x, True)
        loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], axis=-1).mean()
        return loss, (buffers, (logits.argmax(-1) == y).mean())

    def step(carry, x, y):
        params, buffers, opt_state, loss_sum, accuracy_sum = carry
        (loss, (buffers, accuracy)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(
            params, buffers, x, y
        )
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        return params, buffers, opt_state, loss_sum + loss, accuracy_sum + accuracy

    params = {name: jnp.array(each) for name, each in job.weights.items()}
    return step, (params, first_buffers(params), optimizer.init(params), jnp.zeros(()), jnp.zeros(()))


def make_test(job: Job, state: dict[str, Any]) -> Any:
    """The accuracy of the parameters in ``state["carry"]``."""

    def test() -> float:
        params, buffers, *_ = state["carry"]
        logits = jax.jit(FORWARD[job.name], static_argnums=3)(params, buffers, job.x_test, False)[0]
        return float((np.asarray(logits).argmax(-1) == job.y_test).mean())

    return test


def build(job: Job) -> Peer:
    """The loop that a good tutorial would show."""
    step, carry = make_step(job)
    compiled = jax.jit(step, donate_argnums=0)
    state = {"carry": carry}
    order = np.random.default_rng(0)

    def epoch(mark: Mark | None) -> None:
        carry = (*state["carry"][:3], jnp.zeros(()), jnp.zeros(()))
        for x, y in job.batches(order):
            carry = compiled(carry, x, y)
            if mark is not None:
                jax.block_until_ready(carry)
                mark()
                mark = None
        state["carry"] = jax.block_until_ready(carry)

    return Peer(epoch=epoch, test=make_test(job, state))
