"""Streaming metrics: factories of `axonax.tensor.contracts.Metric`, exact over the whole pass.

Whatever the batches, their order and the parts that are merged, the value is that of all examples at once.
"""

from axonax.functional.metrics._accuracy import accuracy as accuracy
