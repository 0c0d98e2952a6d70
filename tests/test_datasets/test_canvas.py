"""The decode policy, against Pillow and against values worked out by hand."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from saip.datasets.canvas import (
    ImageError,
    decode_image,
    open_image,
    plain_jpeg_header,
    read_canvas,
    to_canvas,
    upright_size,
)
from tests.test_datasets.image_files import (
    BROKEN,
    JPEG,
    ODD,
    encode,
    pixels,
    text_orientation,
    with_orientation,
)


@pytest.mark.parametrize('name', BROKEN)
def test_broken_files_are_typed_errors(name, tmp_path):
    with pytest.raises(ImageError) as caught:
        decode_image(BROKEN[name])
    assert '\n' not in str(caught.value)
    path = tmp_path / 'image.jpg'
    path.write_bytes(BROKEN[name])
    with pytest.raises(ImageError, match=r'image\.jpg'):
        decode_image(path)


def test_huge_image_is_refused_from_its_header():
    with pytest.raises(ImageError, match='pixels'):
        decode_image(BROKEN['png_huge'])
    with pytest.raises(ImageError, match='cap of 1,000'):
        decode_image(JPEG, max_pixels=1000)
    assert decode_image(JPEG, max_pixels=1200).shape == (40, 30, 3)


@pytest.mark.parametrize('name', ODD)
def test_odd_files_become_rgb(name):
    image = decode_image(ODD[name])
    with Image.open(io.BytesIO(ODD[name])) as reference:
        width, height = reference.size
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_colors_of_odd_files():
    gray = decode_image(ODD['gray_jpeg'])
    assert np.array_equal(gray[..., 0], gray[..., 2])
    # Full-range 16-bit values are divided by 256: 0xABCD -> 0xAB.
    assert np.unique(decode_image(ODD['gray16_png'])).tolist() == [0xAB]
    assert np.unique(decode_image(ODD['rgb16_png'])).tolist() == [0xAB]
    # Transparency shows white: fully, by half (60 * 128 / 255 + 255 * 127 / 255 = 157).
    assert np.unique(decode_image(ODD['rgba_png'])).tolist() == [255]
    assert abs(int(decode_image(ODD['gray_alpha_png'])[0, 0, 0]) - 157) <= 1
    palette = decode_image(ODD['palette_png'])
    assert palette[0, 0].tolist() == [255, 255, 255]
    assert palette[0, 15].tolist() == [10, 200, 30]
    cmyk = decode_image(ODD['cmyk_jpeg']).astype(int)
    assert np.abs(cmyk - pixels()).mean() < 6
    assert np.abs(decode_image(ODD['adobe_rgb_jpeg']).astype(int) - pixels()).mean() < 2


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('orientation', range(10))
def test_exif_orientation_as_pillow_applies_it(kind, orientation):
    data = with_orientation(pixels(), orientation, kind)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    assert np.array_equal(decode_image(data), expected)


DAMAGED_EXIF = [
    b'Exif\0\0' + bytes(range(40)),
    b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01',  # ends in its first entry
    text_orientation(),
]


@pytest.mark.parametrize('exif', DAMAGED_EXIF)
def test_damaged_exif_does_not_lose_the_image(exif):
    data = encode(pixels(), exif=exif)
    assert decode_image(data).shape == (40, 30, 3)
    assert upright_size(open_image(data)) == (40, 30)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('orientation', range(10))
def test_size_in_the_header_is_that_of_the_decoded_image(tmp_path, kind, orientation):
    data = with_orientation(pixels(), orientation, kind)
    path = tmp_path / 'image'
    path.write_bytes(data)
    with open(path, 'rb') as file:
        assert upright_size(open_image(file)) == decode_image(data).shape[:2]


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'subsampling': 2}])
def test_fast_path_gives_pillows_pixels(options):
    data = encode(pixels(203, 117), **options)
    assert plain_jpeg_header(data) is not None
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode_image(data), np.asarray(image.convert('RGB')))


@pytest.mark.parametrize('name', ['gray_jpeg', 'cmyk_jpeg', 'adobe_rgb_jpeg', 'png', 'gif'])
def test_other_images_leave_the_fast_path(name):
    assert plain_jpeg_header(ODD[name]) is None


def test_every_cut_of_a_jpeg_is_an_error():
    for end in range(0, len(JPEG) - 40, 37):
        with pytest.raises(ImageError):
            decode_image(JPEG[:end])


@pytest.mark.parametrize(
    'shape', [(40, 30), (500, 200), (500, 90), (200, 500), (1, 1), (3, 900)]
)
def test_canvas_is_pillows_antialiased_bilinear(shape):
    image = pixels(*shape)
    canvas = to_canvas(image, (320, 160))
    assert canvas.shape == (3, 320, 160)
    assert canvas.dtype == torch.uint8
    assert canvas.is_contiguous()
    expected = Image.fromarray(image).resize((160, 320), Image.Resampling.BILINEAR)
    difference = canvas.permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 1


def test_large_jpeg_at_reduced_scale_keeps_size_and_look():
    image = np.asarray(Image.fromarray(pixels(80, 60)).resize((900, 1500)))
    data = with_orientation(image, 6)
    canvas, size = read_canvas(data, (320, 160))
    assert size == (900, 1500)
    full = to_canvas(decode_image(data), (320, 160))
    assert (canvas.int() - full.int()).abs().float().mean() < 1


def test_box_is_cut_in_the_upright_image():
    image = pixels(60, 40)
    turned = decode_image(with_orientation(image, 8))
    canvas, size = read_canvas(with_orientation(image, 8), (32, 16), box=(5, 6, 45, 36))
    assert size == (30, 40)
    assert torch.equal(canvas, to_canvas(turned[6:36, 5:45], (32, 16)))


def test_box_beyond_the_image():
    _, size = read_canvas(JPEG, (32, 16), box=(-10, 20, 500, 600))
    assert size == (20, 30)
    with pytest.raises(ImageError, match='outside of the image'):
        read_canvas(JPEG, (32, 16), box=(30, 0, 60, 20))
