"""Declarative neural networks for JAX as plain data: ``from axonax import graph as nn``.

A model is a node: an input with layers applied to it. `build` makes two pure functions of it.

>>> import jax
>>> from axonax import graph as nn
>>> model = nn.input("image", (None, 784)) | nn.dense(128, activation="relu") | nn.dense(10)
>>> init, apply = nn.build(model)
>>> state = init(jax.random.key(0))
>>> nn.predict(model, state, jax.numpy.ones((32, 784))).shape
(32, 10)
"""

from axonax.graph import _missing as _missing
from axonax.graph._node import Node as Node
from axonax.graph._version import __version__ as __version__
from axonax.graph.data._layer import Layer as Layer
from axonax.graph.data._param import Param as Param
from axonax.graph.data._param import param as param
from axonax.graph.layers._activation import activation as activation
from axonax.graph.layers._activation import celu as celu
from axonax.graph.layers._activation import elu as elu
from axonax.graph.layers._activation import exp as exp
from axonax.graph.layers._activation import geglu as geglu
from axonax.graph.layers._activation import gelu as gelu
from axonax.graph.layers._activation import glu as glu
from axonax.graph.layers._activation import gumbel_softmax as gumbel_softmax
from axonax.graph.layers._activation import hard_shrink as hard_shrink
from axonax.graph.layers._activation import hard_sigmoid as hard_sigmoid
from axonax.graph.layers._activation import hard_silu as hard_silu
from axonax.graph.layers._activation import hard_swish as hard_swish
from axonax.graph.layers._activation import hard_tanh as hard_tanh
from axonax.graph.layers._activation import leaky_relu as leaky_relu
from axonax.graph.layers._activation import linear as linear
from axonax.graph.layers._activation import log_sigmoid as log_sigmoid
from axonax.graph.layers._activation import log_softmax as log_softmax
from axonax.graph.layers._activation import log_sumexp as log_sumexp
from axonax.graph.layers._activation import logsumexp as logsumexp
from axonax.graph.layers._activation import mish as mish
from axonax.graph.layers._activation import prelu as prelu
from axonax.graph.layers._activation import quick_gelu as quick_gelu
from axonax.graph.layers._activation import reglu as reglu
from axonax.graph.layers._activation import relu as relu
from axonax.graph.layers._activation import relu6 as relu6
from axonax.graph.layers._activation import selu as selu
from axonax.graph.layers._activation import sigmoid as sigmoid
from axonax.graph.layers._activation import silu as silu
from axonax.graph.layers._activation import soft_shrink as soft_shrink
from axonax.graph.layers._activation import softmax as softmax
from axonax.graph.layers._activation import softmin as softmin
from axonax.graph.layers._activation import softplus as softplus
from axonax.graph.layers._activation import softsign as softsign
from axonax.graph.layers._activation import sparse_plus as sparse_plus
from axonax.graph.layers._activation import sparse_sigmoid as sparse_sigmoid
from axonax.graph.layers._activation import sparsemax as sparsemax
from axonax.graph.layers._activation import squareplus as squareplus
from axonax.graph.layers._activation import standardize as standardize
from axonax.graph.layers._activation import swiglu as swiglu
from axonax.graph.layers._activation import swish as swish
from axonax.graph.layers._activation import tanh as tanh
from axonax.graph.layers._activation import tanh_shrink as tanh_shrink
from axonax.graph.layers._activation import threshold as threshold
from axonax.graph.layers._adaptive import adaptive_avg_pool as adaptive_avg_pool
from axonax.graph.layers._adaptive import adaptive_lp_pool as adaptive_lp_pool
from axonax.graph.layers._adaptive import adaptive_max_pool as adaptive_max_pool
from axonax.graph.layers._adaptive import global_avg_pool as global_avg_pool
from axonax.graph.layers._adaptive import global_lp_pool as global_lp_pool
from axonax.graph.layers._adaptive import global_max_pool as global_max_pool
from axonax.graph.layers._arithmetic import add as add
from axonax.graph.layers._arithmetic import divide as divide
from axonax.graph.layers._arithmetic import getitem as getitem
from axonax.graph.layers._arithmetic import matmul as matmul
from axonax.graph.layers._arithmetic import maximum as maximum
from axonax.graph.layers._arithmetic import minimum as minimum
from axonax.graph.layers._arithmetic import multiply as multiply
from axonax.graph.layers._arithmetic import negative as negative
from axonax.graph.layers._arithmetic import subtract as subtract
from axonax.graph.layers._block import block as block
from axonax.graph.layers._builder import builder as builder
from axonax.graph.layers._combining import cond as cond
from axonax.graph.layers._combining import container as container
from axonax.graph.layers._combining import or_else as or_else
from axonax.graph.layers._convolution import conv as conv
from axonax.graph.layers._custom import function as function
from axonax.graph.layers._custom import layer as layer
from axonax.graph.layers._custom import tied as tied
from axonax.graph.layers._depthwise import depthwise_conv as depthwise_conv
from axonax.graph.layers._depthwise import separable_conv2d as separable_conv2d
from axonax.graph.layers._depthwise import separable_conv3d as separable_conv3d
from axonax.graph.layers._dropout import alpha_dropout as alpha_dropout
from axonax.graph.layers._dropout import drop_path as drop_path
from axonax.graph.layers._dropout import dropout as dropout
from axonax.graph.layers._dropout import feature_alpha_dropout as feature_alpha_dropout
from axonax.graph.layers._dropout import gaussian_dropout as gaussian_dropout
from axonax.graph.layers._dropout import gaussian_noise as gaussian_noise
from axonax.graph.layers._dropout import spatial_dropout as spatial_dropout
from axonax.graph.layers._einsum import einsum_dense as einsum_dense
from axonax.graph.layers._embedding import embedding as embedding
from axonax.graph.layers._embedding import tied_logits as tied_logits
from axonax.graph.layers._input import constant as constant
from axonax.graph.layers._input import input as input
from axonax.graph.layers._joining import concatenate as concatenate
from axonax.graph.layers._joining import split as split
from axonax.graph.layers._joining import stack_columns as stack_columns
from axonax.graph.layers._linear import bias as bias
from axonax.graph.layers._linear import bilinear as bilinear
from axonax.graph.layers._linear import dense as dense
from axonax.graph.layers._normalization import batch_norm as batch_norm
from axonax.graph.layers._normalization import instance_norm as instance_norm
from axonax.graph.layers._patches import fold as fold
from axonax.graph.layers._patches import patch_embed as patch_embed
from axonax.graph.layers._patches import unfold as unfold
from axonax.graph.layers._pooling import avg_pool as avg_pool
from axonax.graph.layers._pooling import blur_pool as blur_pool
from axonax.graph.layers._pooling import lp_pool as lp_pool
from axonax.graph.layers._pooling import max_pool as max_pool
from axonax.graph.layers._pooling import min_pool as min_pool
from axonax.graph.layers._reparameterization import spectral_norm as spectral_norm
from axonax.graph.layers._reparameterization import weight_norm as weight_norm
from axonax.graph.layers._resizing import crop as crop
from axonax.graph.layers._resizing import pad as pad
from axonax.graph.layers._resizing import resize as resize
from axonax.graph.layers._row_norms import group_norm as group_norm
from axonax.graph.layers._row_norms import layer_norm as layer_norm
from axonax.graph.layers._row_norms import local_response_norm as local_response_norm
from axonax.graph.layers._row_norms import rms_norm as rms_norm
from axonax.graph.layers._shape import depth_to_space as depth_to_space
from axonax.graph.layers._shape import flatten as flatten
from axonax.graph.layers._shape import pixel_shuffle as pixel_shuffle
from axonax.graph.layers._shape import reshape as reshape
from axonax.graph.layers._shape import transpose as transpose
from axonax.graph.layers._similarity import average as average
from axonax.graph.layers._similarity import cosine_similarity as cosine_similarity
from axonax.graph.layers._similarity import dot as dot
from axonax.graph.layers._transposed import conv_transpose as conv_transpose
from axonax.graph.program._functions import build as build
from axonax.graph.program._functions import predict as predict
