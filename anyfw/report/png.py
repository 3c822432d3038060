"""Small pictures as PNG files, by the standard library alone."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anyfw.core.errors import ShapeError


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file.

    Shapes:
        pixels: (height, width) in grey, or (height, width, 3) in red, green and blue.

    Raises:
        ShapeError: pixels of another shape, or none.

    Source: W3C, "Portable Network Graphics (PNG) Specification", third edition, 2025.
    """
    if pixels.ndim not in (2, 3) or not pixels.size or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ShapeError(f"png: expected pixels (height, width) or (height, width, 3), got {pixels.shape}.")
    height, width = pixels.shape[:2]
    kind = 0 if pixels.ndim == 2 else 2
    rows = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(height, -1)
    # Each row begins with the number of its filter: 0, none.
    raw = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def as_pixels(
    row: NDArray[np.generic], shape: Sequence[int] | None, low: float, high: float
) -> NDArray[np.uint8] | None:
    """A row of numbers as a picture, `low` black and `high` white; None where its shape is none of a picture.

    Args:
        row: as many numbers as the shape has.
        shape: (height, width), and 1 or 3 colours as the last axis or as the first.
        low, high: what is black and what is white.
    """
    if shape is None or row.size != np.prod(shape):
        return None
    image = np.asarray(row, dtype=np.float64).reshape(shape)
    if image.ndim == 3 and image.shape[0] in (1, 3) and image.shape[2] not in (1, 3):
        image = np.moveaxis(image, 0, 2)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        return None
    return np.clip(np.round((image - low) * (255.0 / ((high - low) or 1.0))), 0, 255).astype(np.uint8)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
