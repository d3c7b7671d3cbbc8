"""A trained network on images of any size, in tiles, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from quietct.nn.network import Network, Workspace

# About so many pixels go through the network at a time.
TILE_PIXELS = 65536


class TiledInference:
    """A network for images of one size, with memory for one tile per thread.

    A tile is a strip of rows as wide as the image: rows lie one after the other in memory. Each is read with the
    rows around it that decide its output, so that the result is that of the whole image to the last bit.

    Parameters
    ----------
    network : Network
    rows, columns : int
        Size of the images.
    threads : int
        Tiles that are computed at the same time; does not change the result.
    tile_pixels : int
        Size of a tile; does not change the result.
    """

    def __init__(self, network: Network, rows: int, columns: int, threads: int = 1, tile_pixels: int = TILE_PIXELS):
        self.network, self.shape, self.threads = network, (rows, columns), threads
        height = max(tile_pixels // columns, 1)
        self.tiles = [
            (
                start,
                min(start + height, rows),
                *network.architecture.rows_needed(start, min(start + height, rows), rows),
            )
            for start in range(0, rows, height)
        ]
        self._workspaces: list[dict[int, Workspace]] = [{} for _ in range(threads)]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Run one image through the network.

        Parameters
        ----------
        image : ndarray, shape (rows, columns)

        Returns
        -------
        ndarray, shape (rows, columns)

        Raises
        ------
        ValueError
            If the image has another size.
        """
        if image.shape != self.shape:
            raise ValueError(f"the image must have shape {self.shape}, not {image.shape}")
        result = np.empty(self.shape, self.network.parameters.dtype)
        if self.threads == 1:
            self._compute(0, image, result)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(lambda thread: self._compute(thread, image, result), range(self.threads)))
        return result

    def _compute(self, thread: int, image: np.ndarray, result: np.ndarray) -> None:
        """Compute every `threads`-th tile."""
        known = self._workspaces[thread]
        for start, stop, first, last in self.tiles[thread :: self.threads]:
            if last - first not in known:
                known[last - first] = Workspace(self.network, 1, last - first, self.shape[1])
            output = known[last - first].forward(image[None, None, first:last])
            result[start:stop] = output[0, 0, start - first : stop - first]


def denoise_image(network: Network, normalisation: Mapping[str, float], hu: np.ndarray) -> np.ndarray:
    """Denoise one image.

    Parameters
    ----------
    network : Network
    normalisation : mapping
        {'shift_hu', 'scale_hu'}: the network sees (HU - shift) / scale, and its output is taken back to HU.
    hu : ndarray, shape (rows, columns)

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        HU.
    """
    shift, scale = np.float32(normalisation["shift_hu"]), np.float32(normalisation["scale_hu"])
    return TiledInference(network, *hu.shape)((hu - shift) / scale) * scale + shift
