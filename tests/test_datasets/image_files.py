"""Broken and odd image files, made on the spot."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(height=40, width=30, seed=0):
    """A smooth color gradient with a little noise, so that JPEG keeps it nearly."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(seed).integers(0, 8, (height, width, 3))
    ramp = np.stack([rows * 240 // height, columns * 240 // width, rows + columns], -1)
    return (ramp % 248 + noise).astype(np.uint8)


def encode(image, kind='JPEG', **options):
    """Encode a PIL image or an array."""
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if kind == 'JPEG':
        options = {'quality': 95, 'subsampling': 0} | options
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def fill(folder, count, height=40, width=30):
    """Write ``count`` JPEG files into two subfolders."""
    for number in range(count):
        path = Path(folder) / 'train' / f'{number % 2:04d}' / f'{number:03d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(pixels(height, width, number)))


def with_orientation(image, orientation, kind='JPEG'):
    """Encode an array with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image, kind, exif=exif)


def text_orientation():
    """EXIF data whose orientation is a text, which Pillow reads as one."""
    entry = struct.pack('<HHHI4s', 1, 0x0112, 2, 3, b'up')  # one entry, of three characters
    return b'Exif\0\0II*\0' + struct.pack('<I', 8) + entry + bytes(4)


def png_of(width, height, depth, color, rows):
    """Encode a PNG chunk by chunk: color 0 gray, 2 RGB; ``rows`` are the raw samples."""

    def chunk(name, body):
        crc = zlib.crc32(name + body)
        return struct.pack('>I', len(body)) + name + body + struct.pack('>I', crc)

    header = struct.pack('>IIBBBBB', width, height, depth, color, 0, 0, 0)
    body = zlib.compress(rows)
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        [chunk(b'IHDR', header), chunk(b'IDAT', body), chunk(b'IEND', b'')]
    )


def png16(values, color):
    """Encode 16-bit samples: (h, w) gray or (h, w, 3) RGB."""
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
    return png_of(values.shape[1], values.shape[0], 16, color, rows)


def palette_with_alpha():
    """A 20x20 palette PNG: left half transparent, right half the color (10, 200, 30)."""
    image = Image.new('P', (20, 20), 0)
    image.putpalette([255, 0, 0, 10, 200, 30])
    image.paste(1, (10, 0, 20, 20))
    return encode(image, 'PNG', transparency=0)


JPEG = encode(pixels())
PNG = encode(pixels(), 'PNG')

BROKEN = {
    'empty': b'',
    'zeros': bytes(5000),
    'text': b'this is not an image\n' * 20,
    'html': b'<!DOCTYPE html><html><body>404</body></html>',
    'json': b'{"image": 1}',
    'jpeg_half': JPEG[: len(JPEG) // 2],
    'jpeg_almost': JPEG[:-200],
    'jpeg_header_only': JPEG[:200],
    'jpeg_start_only': JPEG[:2],
    'jpeg_start_and_end': JPEG[:2] + JPEG[-2:],
    'jpeg_wrong_start': b'\0\0' + JPEG[2:],
    'jpeg_zero_tail': JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2),
    'png_half': PNG[: len(PNG) // 2],
    'png_header_only': PNG[:33],
    'png_bad_crc': PNG[:60] + bytes([PNG[60] ^ 255]) + PNG[61:],
    'png_huge': png_of(60000, 60000, 8, 2, b''),
    'png_zero_size': png_of(0, 10, 8, 2, b''),
    'gif_half': encode(pixels(), 'GIF')[:300],
    'bmp_half': encode(pixels(), 'BMP')[:500],
    'webp_half': encode(pixels(), 'WEBP')[:100],
    'tiff_half': encode(pixels(), 'TIFF')[:400],
    'float_tiff': encode(Image.new('F', (20, 20), 0.5), 'TIFF'),
    'int_tiff': encode(Image.new('I', (20, 20), 70000), 'TIFF'),
    'svg': b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    'pdf': b'%PDF-1.4\n%\xe2\xe3\xcf\xd3\n',
}

ODD = {
    'gray_jpeg': encode(Image.fromarray(pixels()).convert('L')),
    'cmyk_jpeg': encode(Image.fromarray(pixels()).convert('CMYK')),
    'progressive_jpeg': encode(pixels(), progressive=True),
    'subsampled_jpeg': encode(pixels(), subsampling=2),
    'adobe_rgb_jpeg': encode(pixels(), keep_rgb=True),
    'jpeg_with_tail': JPEG + b'padding after the end',
    'png': PNG,
    'bit_png': encode(Image.fromarray(pixels()).convert('1'), 'PNG'),
    'gray_alpha_png': encode(Image.new('LA', (20, 20), (60, 128)), 'PNG'),
    'rgba_png': encode(Image.new('RGBA', (20, 20), (0, 0, 0, 0)), 'PNG'),
    'palette_png': palette_with_alpha(),
    'gray16_png': png16(np.full((20, 20), 0xABCD), 0),
    'rgb16_png': png16(np.full((20, 20, 3), 0xABCD), 2),
    'gif': encode(pixels(), 'GIF'),
    'bmp': encode(pixels(), 'BMP'),
    'webp': encode(pixels(), 'WEBP'),
    'tiff': encode(pixels(), 'TIFF'),
    'lab_tiff': encode(Image.new('LAB', (20, 20), (128, 128, 128)), 'TIFF'),
    'ppm': encode(pixels(), 'PPM'),
    'one_pixel': encode(np.full((1, 1, 3), 77, np.uint8), 'PNG'),
    'one_row': encode(np.full((1, 500, 3), 77, np.uint8)),
}
