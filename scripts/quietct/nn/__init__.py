"""Convolutional networks in NumPy alone: the convolution, back-propagation, training."""
