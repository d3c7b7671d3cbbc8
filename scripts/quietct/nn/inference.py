"""A trained network on images of any size, in tiles, so that memory does not grow with the image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quietct.nn.network import Network, Workspace
from quietct.nn.workers import Workers, shared_array

# About so many pixels go through the network at a time.
TILE_PIXELS = 131072


class TiledInference:
    """A network for images of one size. A context manager, which leaves no worker behind.

    A tile is a strip of rows as wide as the image: rows lie one after the other in memory. Each is read with the
    rows around it that decide its output, so that the result is that of the whole image to the last bit.

    Parameters
    ----------
    network : Network
        Each call uses its parameters as they then are.
    rows, columns : int
        Size of the images.
    threads : int
        Tiles that are computed at the same time; does not change the result.
    tile_pixels : int
        Size of a tile; does not change the result.
    kind : {'', 'processes', 'threads'}
        As in `Workers`.
    """

    def __init__(
        self,
        network: Network,
        rows: int,
        columns: int,
        threads: int = 1,
        tile_pixels: int = TILE_PIXELS,
        kind: str = "",
    ):
        self.network = network
        # Each worker gets a tile at least, and each tile its share of the rows.
        count = max(-(-rows * columns // tile_pixels), min(threads, rows))
        self.tiles = network.architecture.strips(rows, count)
        dtype = network.parameters.dtype
        self._shared = Network(network.architecture, dtype, shared_array)  # what the workers compute with
        self._image, self._result = shared_array((rows, columns), dtype), shared_array((rows, columns), dtype)
        self._workspaces: dict[tuple[int, int], Workspace] = {}
        self._workers = Workers(self._compute_tiles, min(threads, count), kind)

    def __enter__(self) -> TiledInference:
        """Start the workers."""
        self._workers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop the workers."""
        self._workers.__exit__(*error)

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
        WorkerLostError
            If a worker process has been killed or has ended.
        """
        return self._normalised(image, 0, 1)

    def denoise_hu(self, hu: np.ndarray, normalisation: Mapping[str, float]) -> np.ndarray:
        """Denoise one image in its own units.

        Parameters
        ----------
        hu : ndarray, shape (rows, columns)
        normalisation : mapping
            {'shift_hu', 'scale_hu'}: the network sees (HU - shift) / scale, and its output is taken back to HU.

        Returns
        -------
        ndarray, shape (rows, columns)
            HU.
        """
        return self._normalised(hu, np.float32(normalisation["shift_hu"]), np.float32(normalisation["scale_hu"]))

    def _normalised(self, image: np.ndarray, shift: Any, scale: Any) -> np.ndarray:
        if image.shape != self._image.shape:
            raise ValueError(f"the image must have shape {self._image.shape}, not {image.shape}")
        self._image[...], self._shared.parameters[...] = image, self.network.parameters
        self._workers.run((shift, scale))
        return self._result.copy()

    def _compute_tiles(self, worker: int, message: tuple[Any, Any]) -> None:
        """Compute one worker's tiles: number `worker`, `worker` + count, ..."""
        shift, scale = message
        for tile in self.tiles[worker :: self._workers.count]:
            key = (worker, tile.last - tile.first)
            if key not in self._workspaces:
                self._workspaces[key] = Workspace(self._shared, 1, key[1], self._image.shape[1])
            own = slice(tile.start - tile.first, tile.stop - tile.first)
            # Each thread has its own error state. What is not finite shows in the result.
            with np.errstate(over="ignore", invalid="ignore"):
                image = self._image[None, None, tile.first : tile.last] - shift
                image /= scale
                output = self._workspaces[key].forward(image, own)[0, 0, own]
                output *= scale
                np.add(output, shift, out=self._result[tile.start : tile.stop])
