"""Layers as pure functions of arrays: channels last, kernels ``(*window, in / groups, out)``."""

from axonax.tensor.layers._convolution import conv as conv
from axonax.tensor.layers._dropout import dropout as dropout
from axonax.tensor.layers._dropout import spatial_dropout as spatial_dropout
from axonax.tensor.layers._linear import bias as bias
from axonax.tensor.layers._linear import dense as dense
from axonax.tensor.layers._normalization import batch_norm as batch_norm
from axonax.tensor.layers._normalization import layer_norm as layer_norm
from axonax.tensor.layers._pooling import max_pool as max_pool
from axonax.tensor.layers._shape import flatten as flatten
