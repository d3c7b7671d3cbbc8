"""Convolutional networks in NumPy alone: the convolution, back-propagation, training.

conv
    `conv2d` and its gradients.
architecture, network
    What a network is made of; its parameters, its forward and its backward pass.
losses, variants, optimizers, gradients, workers, training, checkpoint
    How it is trained, with four variants of back-propagation and any number of workers.
inference
    A trained network on whole images.

Nothing is imported here: the workflow reruns what imports a changed module, and no more.

Examples
--------
>>> import numpy as np
>>> from quietct.nn.architecture import Architecture
>>> from quietct.nn.network import Network
>>> network = Network(Architecture.from_config({"layers": [{"filters": 8, "kernel": 3}, {"filters": 1, "kernel": 3}]}))
>>> network.initialise(np.random.default_rng(1))
>>> network.apply(np.zeros((2, 1, 32, 32), np.float32)).shape
(2, 1, 32, 32)
"""
