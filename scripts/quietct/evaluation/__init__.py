"""How good an image is: metrics, and the classical denoisers to compare with."""
