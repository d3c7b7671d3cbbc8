"""Two-dimensional convolution and its gradients in NumPy, fast because every product in it is a matrix product.

canvas
    The memory layout: every window is a view.
direct, unfolded, gathered, winograd
    Four ways to compute the same sum, each best for some shapes; `layer` chooses.
functions
    `conv2d` and its gradients for arrays in the usual order.
reference
    The definition in a few slow lines, for the tests.
"""

from quietct.nn.conv.functions import LayerWorkspace, conv2d, conv2d_gradients

__all__ = ["LayerWorkspace", "conv2d", "conv2d_gradients"]
