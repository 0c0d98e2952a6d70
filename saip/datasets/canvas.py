"""The one way from an encoded image to pixels, used by pretraining, evaluation and transfer.

Policy, whatever the file format:

* The EXIF orientation is applied; sizes and boxes are those of the upright image.
* Gray, palette, CMYK, YCbCr and Lab images become RGB. 16-bit samples keep their high byte
  (they are scaled, not clipped). Transparent pixels are laid over white. Animations give their
  first frame. 32-bit integer and float images have no defined range and are refused.
* A truncated or damaged file is an error, never an image that is partly gray.
* The pixel count is checked in the header, before the image is decoded.

JPEG files, which is nearly all of them, go through OpenCV, everything else through Pillow; both
give equal pixels for JPEG, OpenCV in less time.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from saip.errors import InputError

from .crops import Box, DataError

MAX_PIXELS = 80_000_000
"""Largest image that is decoded: 80 megapixels, 240 MB as RGB."""

FORMATS = ('JPEG', 'PNG', 'BMP', 'WEBP', 'TIFF', 'PPM', 'GIF')

WHITE = (255, 255, 255, 255)
EXIF_ORIENTATION = 0x0112
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class ImageError(InputError):
    """An image cannot be used; the message is the reason."""


class JpegHeader(NamedTuple):
    """What the markers before the first scan of a JPEG file say.

    Attributes:
        height: in pixels, as stored.
        width: in pixels, as stored.
        metadata: there is EXIF or XMP data, which may hold an orientation.
    """

    height: int
    width: int
    metadata: bool


def plain_jpeg_header(data: bytes) -> JpegHeader | None:
    """Read the header of a complete 8-bit YCbCr JPEG file.

    Returns:
        The header, or None for every other file: it is left to Pillow. A file that does not
        end with the end-of-image marker is one of these, for OpenCV fills the missing part
        of a truncated file with gray.
    """
    if data[:2] != b'\xff\xd8' or data[-2:] != b'\xff\xd9':
        return None
    position, metadata = 2, False
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in (0xC0, 0xC1, 0xC2):
            height = int.from_bytes(data[position + 5 : position + 7], 'big')
            width = int.from_bytes(data[position + 7 : position + 9], 'big')
            plain = data[position + 4] == 8 and data[position + 9] == 3 and height * width > 0
            return JpegHeader(height, width, metadata) if plain else None
        # Other frame types, stray scans and Adobe's color transforms are Pillow's.
        if marker in (0x01, 0xDA, 0xEE) or (0xC3 <= marker <= 0xD9 and marker != 0xC4):
            return None
        metadata |= marker == 0xE1
        position += 2 + int.from_bytes(data[position + 2 : position + 4], 'big')
    return None


def check_pixels(height: int, width: int, max_pixels: int) -> None:
    """Refuse images that would not fit in memory.

    Raises:
        ImageError: there are more than ``max_pixels`` pixels.
    """
    if height * width > max_pixels:
        raise ImageError(f'{width}x{height} pixels, more than the cap of {max_pixels:,}')


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (1 to 8; other values mean upright) to an (h, w, 3) array."""
    if orientation == 2:
        return image[:, ::-1]
    if orientation == 3:
        return image[::-1, ::-1]
    if orientation == 4:
        return image[::-1]
    if orientation == 5:
        return image.swapaxes(0, 1)
    if orientation == 6:
        return np.rot90(image, -1)
    if orientation == 7:
        return image[::-1, ::-1].swapaxes(0, 1)
    if orientation == 8:
        return np.rot90(image)
    return image


def _turned(orientation: int) -> bool:
    return orientation in (5, 6, 7, 8)


def open_image(source: bytes | BinaryIO) -> Image.Image:
    """Read the header of an encoded image with Pillow.

    Args:
        source: the encoded image, or an open file, of which only the header is read.

    Raises:
        ImageError: it is empty or of no known format, or the header is damaged.
    """
    if source == b'':
        raise ImageError('the file is empty')
    file = BytesIO(source) if isinstance(source, bytes) else source
    try:
        return Image.open(file, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError('not an image of a known format') from None
    except Image.DecompressionBombError as error:
        raise ImageError(str(error)) from error
    except (OSError, ValueError, SyntaxError, EOFError, OverflowError) as error:
        raise ImageError(f'damaged header ({error})') from error


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(EXIF_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, EOFError):
        # Damaged metadata does not make the pixels unusable.
        return 1


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) in pixels that an opened image has once it is upright."""
    size = (image.height, image.width)
    return size[::-1] if _turned(_orientation(image)) else size


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) as the image is loaded, read from its header alone.

    Raises:
        DataError: the file is no image.
    """
    try:
        with open(path, 'rb') as file, open_image(file) as image:
            return upright_size(image)
    except (OSError, ImageError) as error:
        raise DataError(f'{path}: not a readable image ({error}); copy it again') from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith('I;16'):
        high = np.asarray(image).astype(np.uint16) >> 8
        return Image.fromarray(high.astype(np.uint8)).convert('RGB')
    if image.mode in ('I', 'F'):
        raise ImageError(f'32-bit samples (mode {image.mode}) have no defined range')
    if image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, WHITE), image)
    return image.convert('RGB')


def _decode_with_pillow(data: bytes, max_pixels: int) -> np.ndarray:
    with open_image(data) as image:
        check_pixels(image.height, image.width, max_pixels)
        orientation = _orientation(image)
        try:
            if image.format == 'PNG':
                # Decoding passes over wrong checksums; this does not.
                open_image(data).verify()
            pixels = np.array(_to_rgb(image))
        except (ImageError, MemoryError):
            raise
        except Exception as error:
            # Pillow's plugins raise errors of many unrelated types on damaged data.
            raise ImageError(f'damaged or truncated ({error})') from error
    return upright(pixels, orientation)


def _reduction(height: int, width: int, at_least: tuple[int, int] | None) -> int:
    """Largest scale divisor of the JPEG decoder that still gives ``at_least`` (h, w) pixels."""
    if at_least is None:
        return 1
    factors = (f for f in (8, 4, 2) if height >= f * at_least[0] and width >= f * at_least[1])
    return next(factors, 1)


def _decode(
    data: bytes, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode an image, a large JPEG at reduced scale if ``at_least`` (h, w) allows it.

    Returns:
        (h, w, 3) uint8 RGB pixels and the (h, w) of the image at full scale.
    """
    header = plain_jpeg_header(data)
    if header is not None:
        check_pixels(header.height, header.width, max_pixels)
        orientation = _orientation(open_image(data)) if header.metadata else 1
        size = (header.height, header.width)
        if _turned(orientation):
            size = size[::-1]
        flags = _REDUCED[_reduction(*size, at_least)] | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if pixels is not None:
            cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)
            return upright(pixels, orientation), size
    pixels = _decode_with_pillow(data, max_pixels)
    return pixels, (pixels.shape[0], pixels.shape[1])


def check_complete(data: bytes, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse what :func:`decode_image` would, without decoding complete JPEG and PNG files.

    What only decoding shows, wrong codes inside of a complete file, goes unnoticed.

    Raises:
        ImageError: the image is damaged, too large, or no image.
    """
    header = plain_jpeg_header(data)
    if header is not None:
        check_pixels(header.height, header.width, max_pixels)
        return
    with open_image(data) as image:
        check_pixels(image.height, image.width, max_pixels)
        if image.format != 'PNG':
            _decode_with_pillow(data, max_pixels)
            return
        try:
            image.verify()
        except Exception as error:  # as when decoding
            raise ImageError(f'damaged or truncated ({error})') from error


def decode_image(
    source: str | os.PathLike[str] | bytes, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode an image by the policy of this module.

    Args:
        source: a file's path, or its content.
        max_pixels: largest height times width that is decoded.

    Returns:
        (h, w, 3) uint8, RGB, upright.

    Raises:
        ImageError: the image is damaged, too large, or no image.
        OSError: the file cannot be read.
    """
    if isinstance(source, bytes):
        return np.ascontiguousarray(_decode(source, max_pixels=max_pixels)[0])
    with open(source, 'rb') as file:
        data = file.read()
    try:
        return np.ascontiguousarray(_decode(data, max_pixels=max_pixels)[0])
    except ImageError as error:
        raise ImageError(f'{os.fspath(source)}: {error}') from error


def to_canvas(image: np.ndarray, size: tuple[int, int] = (320, 160)) -> Tensor:
    """Squeeze a whole image to one size by one antialiased bilinear resize.

    Args:
        image: (h, w, 3) uint8.
        size: (height, width) of the canvas; the aspect of the image is not kept.

    Returns:
        (3, height, width) uint8.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    return F.interpolate(pixels, size, mode='bilinear', antialias=True)[0].contiguous()


def read_canvas(
    data: bytes, size: tuple[int, int] = (320, 160), box: Box | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """Decode an image, cut a box out of it if one is given, and squeeze it to a canvas.

    Args:
        data: the encoded image.
        size: (height, width) of the canvas.
        box: what to cut out, in pixels of the upright image; it is clipped to the image.

    Returns:
        The (3, height, width) uint8 canvas and the (h, w) of the image or crop before it
        was squeezed.

    Raises:
        ImageError: the image cannot be decoded, or the box lies outside of it.
    """
    if box is None:
        pixels, full_size = _decode(data, at_least=size)
        return to_canvas(pixels, size), full_size
    pixels, (height, width) = _decode(data)
    x0, y0, x1, y1 = box
    pixels = pixels[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if pixels.size == 0:
        raise ImageError(f'the box {box} lies outside of the image ({width}x{height})')
    return to_canvas(pixels, size), (pixels.shape[0], pixels.shape[1])
