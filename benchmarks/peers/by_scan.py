"""JAX by hand: data on the device, a whole epoch in `lax.scan`; its first step cannot be seen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from peers.by_hand import make_step, make_test
from peers.jobs import Job
from peers.peer import Mark, Peer


def build(job: Job) -> Peer:
    """One compiled call an epoch."""
    step, carry = make_step(job)
    data = jnp.asarray(job.x), jnp.asarray(job.y)

    def whole(carry, data, order):
        def one(carry, rows):
            return step(carry, data[0][rows], data[1][rows]), None

        return jax.lax.scan(one, carry, order)[0]

    compiled = jax.jit(whole, donate_argnums=0)
    state = {"carry": carry}
    order = np.random.default_rng(0)

    def epoch(mark: Mark | None) -> None:
        carry = (*state["carry"][:3], jnp.zeros(()), jnp.zeros(()))
        rows = order.permutation(len(job.x)).astype(np.int32).reshape(job.steps, job.batch_size)
        state["carry"] = jax.block_until_ready(compiled(carry, data, rows))

    return Peer(epoch=epoch, test=make_test(job, state))
