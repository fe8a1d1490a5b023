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

from axonax.graph._activation import activation as activation
from axonax.graph._build import build as build
from axonax.graph._build import predict as predict
from axonax.graph._custom import layer as layer
from axonax.graph._dropout import dropout as dropout
from axonax.graph._input import input as input
from axonax.graph._linear import dense as dense
from axonax.graph._node import Layer as Layer
from axonax.graph._node import Node as Node
from axonax.graph._param import Param as Param
from axonax.graph._param import param as param
