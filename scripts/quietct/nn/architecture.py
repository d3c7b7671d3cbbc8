"""What a network is made of: convolutions one after the other, shortcuts between them, and where their pixels lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import lcm
from typing import Any

from quietct.errors import UserError
from quietct.nn.conv.canvas import Frame, Region
from quietct.nn.conv.layer import rows_together


@dataclass(frozen=True)
class Layer:
    """A convolution and what follows it.

    Parameters
    ----------
    filters, kernel : int
        Output channels, and edge of the square kernel (pixels, odd).
    padding : {'same', 'valid', 'full'}
        See `quietct.nn.conv.conv2d`. A transposed convolution of stride 1 is one with `full` padding.
    relu : bool
        A ReLU follows.
    add : int, optional
        Before the ReLU, the output of this layer is added: 1 is the first layer, 0 the network's input.
    """

    filters: int
    kernel: int
    padding: str = "same"
    relu: bool = True
    add: int | None = None

    @property
    def shrinks(self) -> int:
        """Pixels that the image loses on each side."""
        return {"same": 0, "valid": self.kernel // 2, "full": -(self.kernel // 2)}[self.padding]


@dataclass(frozen=True)
class Strip:
    """Some rows of an image: output rows `start` to `stop`, decided by the rows `first` to `last` of the input."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Architecture:
    """Layers from first to last. One channel goes in, one comes out, of the same size.

    Parameters
    ----------
    layers : tuple of Layer

    Raises
    ------
    UserError
        If layers do not fit together.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        """Check that the layers fit together."""
        last = len(self.layers)
        if not last or self.layers[-1].filters != 1:
            raise UserError("The last layer of a network must have one filter: its output is the image.")
        lost = 2 * self.margins[-1]
        if lost:
            raise UserError(
                f"The network's output is {abs(lost)} pixels {'smaller' if lost > 0 else 'larger'} than its input; "
                "use as many layers with `padding: valid` as with `padding: full`, with the same kernels."
            )
        for k, layer in enumerate(self.layers, start=1):
            if layer.kernel % 2 == 0:
                raise UserError(f"Layer {k} has a kernel of {layer.kernel} pixels; it must be odd.")
            if layer.add is None:
                continue
            if not 0 <= layer.add < k:
                raise UserError(f"Layer {k} adds layer {layer.add}; it can add 0, the input, to {k - 1}.")
            if self.channels[layer.add] != layer.filters or self.margins[layer.add] != self.margins[k]:
                raise UserError(f"Layer {k} adds layer {layer.add}, which has other channels or another image size.")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Architecture:
        """Read the entry of a network in the configuration.

        Parameters
        ----------
        config : mapping
            {'layers': [{'filters', 'kernel', 'padding', 'relu', 'add'}, ...], 'residual'}. A ReLU follows each layer
            but the last unless `relu` says otherwise; `residual` makes the last layer add the input.
        """
        last = len(config["layers"]) - 1
        layers = [{"relu": k < last, **layer} for k, layer in enumerate(config["layers"])]
        if layers and config.get("residual"):
            if "add" in layers[-1]:
                raise UserError("The last layer has `add` beside `residual: true`, which adds the input; keep one.")
            layers[-1]["add"] = 0
        return cls(tuple(Layer(**layer) for layer in layers))

    def to_config(self) -> dict[str, Any]:
        """Write an entry that `from_config` reads."""
        return {"layers": [{k: v for k, v in asdict(layer).items() if v is not None} for layer in self.layers]}

    @property
    def channels(self) -> list[int]:
        """Channels of the input and of each layer's output."""
        return [1, *(layer.filters for layer in self.layers)]

    @cached_property
    def weight_shapes(self) -> list[tuple[int, int, int, int]]:
        """Shape (filters, channels, height, width) of each layer's weights."""
        return [
            (layer.filters, channels, layer.kernel, layer.kernel)
            for channels, layer in zip(self.channels, self.layers, strict=False)
        ]

    @property
    def margins(self) -> list[int]:
        """How many pixels the input and each layer's output lack on each side, compared with the input."""
        return list(accumulate((layer.shrinks for layer in self.layers), initial=0))

    def place(self, samples: int, rows: int, columns: int) -> tuple[Frame, list[Region]]:
        """Lay out the input and each layer's output for images of one size.

        Raises
        ------
        UserError
            If an image is so small that a layer has no output.
        """
        smallest, largest = max(self.margins), -min(self.margins)
        if min(rows, columns) <= 2 * smallest:
            raise UserError(
                f"Images of {rows} x {columns} pixels are too small: the network's layers without padding "
                f"take {2 * smallest} pixels away."
            )
        border = max(layer.kernel // 2 for layer in self.layers)
        frame = Frame(samples, rows + 2 * largest, columns + 2 * largest, border)
        return frame, [
            Region(largest + margin, largest + margin, rows - 2 * margin, columns - 2 * margin)
            for margin in self.margins
        ]

    def strips(self, rows: int, count: int) -> list[Strip]:
        """Cut an image into strips, each with the rows around it that decide its output to the last bit.

        Those are more than the kernels cover, because some layers compute several rows together; and each strip
        begins where the whole image's rows are grouped in the same way. All strips read equally many rows, so that
        they can share their memory.

        Parameters
        ----------
        rows : int
            Rows of the image.
        count : int
            Number of strips.

        Returns
        -------
        list of Strip
        """
        edges = [rows * k // count for k in range(count + 1)]
        needed = [self._rows_needed(start, stop, rows) for start, stop in pairwise(edges)]
        height = max(last - first for first, last in needed)
        height = min(height + (rows - height) % self._rows_together, rows)
        firsts = [min(first, rows - height) for first, _ in needed]
        return [
            Strip(start, stop, first, first + height)
            for (start, stop), first in zip(pairwise(edges), firsts, strict=True)
        ]

    @property
    def _rows_together(self) -> int:
        """Rows after which the grouping of all layers repeats itself."""
        return lcm(*(rows_together(shape) for shape in self.weight_shapes))

    def rows_computed(self, start: int, stop: int) -> list[slice]:
        """Tell which rows of each layer's output decide the network's output rows `start` to `stop`, to the last bit.

        Parameters
        ----------
        start, stop : int

        Returns
        -------
        list of slice
            From the first layer to the last, in rows of the image; they may lie beyond it.
        """
        rows = []
        for layer, margin, shape in reversed(list(zip(self.layers, self.margins[1:], self.weight_shapes, strict=True))):
            together = rows_together(shape)
            start = margin + (start - margin) // together * together
            stop = margin - (margin - stop) // together * together
            rows.append(slice(start, stop))
            start, stop = start - layer.kernel // 2, stop + layer.kernel // 2
        return rows[::-1]

    def _rows_needed(self, start: int, stop: int, rows: int) -> tuple[int, int]:
        of_first_layer, reach = self.rows_computed(start, stop)[0], self.layers[0].kernel // 2
        first = (of_first_layer.start - reach) // self._rows_together * self._rows_together
        return max(first, 0), min(of_first_layer.stop + reach, rows)
