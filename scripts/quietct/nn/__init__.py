"""Convolutional networks in NumPy alone: the convolution, back-propagation, training.

conv
    The convolution and its gradients.
architecture, network
    What a network is made of; its parameters, its forward and its backward pass.
losses, variants, optimizers, gradients, workers, training, checkpoint
    How it is trained, with four variants of back-propagation and any number of workers.
inference
    A trained network on whole images.

Examples
--------
>>> import numpy as np
>>> network = Network(Architecture.from_config({"layers": [{"filters": 8, "kernel": 3}, {"filters": 1, "kernel": 3}]}))
>>> network.initialise(np.random.default_rng(1))
>>> network.apply(np.zeros((2, 1, 32, 32), np.float32)).shape
(2, 1, 32, 32)
"""

from quietct.nn.architecture import Architecture, Layer
from quietct.nn.checkpoint import load_network, save_network
from quietct.nn.conv import LayerWorkspace, conv2d, conv2d_gradients
from quietct.nn.gradients import BatchGradient
from quietct.nn.inference import TiledInference
from quietct.nn.network import Network, Workspace
from quietct.nn.training import Trainer
from quietct.nn.variants import Variant

__all__ = [
    "Architecture",
    "BatchGradient",
    "Layer",
    "LayerWorkspace",
    "Network",
    "TiledInference",
    "Trainer",
    "Variant",
    "Workspace",
    "conv2d",
    "conv2d_gradients",
    "load_network",
    "save_network",
]
