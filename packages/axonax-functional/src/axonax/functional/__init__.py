"""The functional API under one roof: `losses` and `metrics`, and what `axonax.tensor` hands on.

``from axonax import functional as F`` gives ``F.losses``, ``F.metrics``, ``F.activations``,
``F.initializers`` and ``F.layers``: pure functions of arrays, to call from any model or loop.
"""

from axonax.functional import losses as losses
from axonax.functional import metrics as metrics
from axonax.functional._version import __version__ as __version__
from axonax.tensor import activations as activations
from axonax.tensor import initializers as initializers
from axonax.tensor import layers as layers
