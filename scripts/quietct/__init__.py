"""CT denoising with convolutional networks written in NumPy alone."""

__version__ = "0.1.0"
