"""Layers as pure functions of arrays: channels last, kernels ``(*window, in / groups, out)``."""

from axonax.tensor.layers._convolution import conv as conv
from axonax.tensor.layers._dropout import alpha_dropout as alpha_dropout
from axonax.tensor.layers._dropout import drop_path as drop_path
from axonax.tensor.layers._dropout import dropout as dropout
from axonax.tensor.layers._dropout import feature_alpha_dropout as feature_alpha_dropout
from axonax.tensor.layers._dropout import gaussian_dropout as gaussian_dropout
from axonax.tensor.layers._dropout import gaussian_noise as gaussian_noise
from axonax.tensor.layers._dropout import spatial_dropout as spatial_dropout
from axonax.tensor.layers._linear import bias as bias
from axonax.tensor.layers._linear import bilinear as bilinear
from axonax.tensor.layers._linear import dense as dense
from axonax.tensor.layers._linear import einsum_dense as einsum_dense
from axonax.tensor.layers._linear import embedding as embedding
from axonax.tensor.layers._linear import tied_logits as tied_logits
from axonax.tensor.layers._normalization import batch_norm as batch_norm
from axonax.tensor.layers._normalization import group_norm as group_norm
from axonax.tensor.layers._normalization import instance_norm as instance_norm
from axonax.tensor.layers._normalization import layer_norm as layer_norm
from axonax.tensor.layers._normalization import rms_norm as rms_norm
from axonax.tensor.layers._pooling import max_pool as max_pool
from axonax.tensor.layers._reparameterization import local_response_norm as local_response_norm
from axonax.tensor.layers._reparameterization import spectral_norm as spectral_norm
from axonax.tensor.layers._reparameterization import weight_norm as weight_norm
from axonax.tensor.layers._shape import flatten as flatten
