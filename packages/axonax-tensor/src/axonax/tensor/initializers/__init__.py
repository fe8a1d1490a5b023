"""Initial values: factories with options that return ``(key, shape, dtype) -> array``.

Fans of a kernel ``(*spatial, in, out)`` are ``spatial * in`` and ``spatial * out``.
"""

from axonax.tensor.initializers._distributions import full as full
from axonax.tensor.initializers._distributions import normal as normal
from axonax.tensor.initializers._distributions import ones as ones
from axonax.tensor.initializers._distributions import truncated_normal as truncated_normal
from axonax.tensor.initializers._distributions import uniform as uniform
from axonax.tensor.initializers._distributions import zeros as zeros
from axonax.tensor.initializers._draw import Initializer as Initializer
from axonax.tensor.initializers._gates import gates as gates
from axonax.tensor.initializers._names import available as available
from axonax.tensor.initializers._names import by_name as by_name
from axonax.tensor.initializers._names import gain as gain
from axonax.tensor.initializers._names import record as record
from axonax.tensor.initializers._scaling import glorot_normal as glorot_normal
from axonax.tensor.initializers._scaling import glorot_uniform as glorot_uniform
from axonax.tensor.initializers._scaling import he_normal as he_normal
from axonax.tensor.initializers._scaling import he_uniform as he_uniform
from axonax.tensor.initializers._scaling import lecun_normal as lecun_normal
from axonax.tensor.initializers._scaling import lecun_uniform as lecun_uniform
from axonax.tensor.initializers._scaling import variance_scaling as variance_scaling
from axonax.tensor.initializers._structured import delta_orthogonal as delta_orthogonal
from axonax.tensor.initializers._structured import dirac as dirac
from axonax.tensor.initializers._structured import identity as identity
from axonax.tensor.initializers._structured import orthogonal as orthogonal
from axonax.tensor.initializers._structured import sparse as sparse
