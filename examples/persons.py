"""Search persons, estimate poses, detect: exported models, onnxruntime, numpy and pillow alone.

    python persons.py search encoder.onnx QUERY.jpg FOLDER ranked.png
    python persons.py pose pose.onnx CROP.jpg pose.png
    python persons.py detect detector.onnx IMAGE.jpg boxes.png

The models are those of tools/export_model.py; what they take is in their metadata.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageDraw, ImageOps

SUFFIXES = {'.jpg', '.jpeg', '.png', '.bmp', '.webp'}
SHOWN = 10
TASKS = {'search': ('encoder', 'reid'), 'pose': ('pose',), 'detect': ('detection',)}


class Model:
    """An exported model of one of some tasks, and its description."""

    def __init__(self, path, tasks):
        if not Path(path).is_file():
            raise SystemExit(f'{path}: no such model')
        try:
            self.session = onnxruntime.InferenceSession(
                path, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # of a damaged file the parser raises any of many classes
            raise SystemExit(f'{path}: damaged, or no ONNX model') from error
        described = self.session.get_modelmeta().custom_metadata_map
        if 'saip' not in described:
            raise SystemExit(f'{path}: this model was not written by tools/export_model.py')
        self.meta = json.loads(described['saip'])
        if self.meta['task'] not in tasks:
            raise SystemExit(f'{path}: a model of {self.meta["task"]}, not of {tasks[0]}')
        _, self.height, self.width, _ = self.meta['input']['shape']
        self.resize = Image.Resampling[self.meta['input']['resize'].upper()]

    def run(self, image):
        """Run one RGB image of the model's size; the outputs of this image by name."""
        names = [output['name'] for output in self.meta['outputs']]
        found = self.session.run(names, {self.meta['input']['name']: np.asarray(image)[None]})
        return {name: value[0] for name, value in zip(names, found, strict=True)}

    def feature(self, image):
        """A vector of length one, by which persons are compared."""
        outputs = self.run(image.resize((self.width, self.height), self.resize))
        if self.meta['task'] != 'encoder':
            vector = outputs['feature']
        elif self.meta['feature'] == 'patch_mean':
            vector = outputs['patch_tokens'].mean(0)
        else:
            vector = outputs['image_token']
        return vector / np.linalg.norm(vector)


def load(path):
    """Read an image as it is meant to be seen: upright, transparent pixels over white."""
    try:
        image = ImageOps.exif_transpose(Image.open(path))
        if image.mode.startswith('I;16'):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert('RGBA')
            image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
        return image.convert('RGB')
    except (OSError, ValueError, SyntaxError) as error:
        raise SystemExit(f'{path}: cannot be read as an image: {error}') from error


def search(model, query, folder):
    """Images of a folder with their cosine to a query, the nearest first."""
    paths = sorted(p for p in Path(folder).rglob('*') if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f'{folder}: no images')
    features = np.stack([model.feature(load(path)) for path in paths])
    cosines = features @ model.feature(load(query))
    return [(paths[i], float(cosines[i])) for i in np.argsort(-cosines, kind='stable')]


def draw_ranked(query, ranked, size=(128, 256)):
    """The query and the nearest images beside it, with their cosines."""
    shown = [(query, None), *ranked[:SHOWN]]
    sheet = Image.new('RGB', (len(shown) * (size[0] + 8), size[1] + 20), 'white')
    draw = ImageDraw.Draw(sheet)
    for place, (path, cosine) in enumerate(shown):
        left = place * (size[0] + 8)
        sheet.paste(load(path).resize(size), (left, 0))
        draw.text((left, size[1] + 4), 'query' if cosine is None else f'{cosine:.3f}', 'black')
    return sheet


def estimate_pose(model, crop):
    """Keypoints (K, 2) in pixels of a crop of one person, and their scores (K,).

    The models were trained on boxes with a margin: the crop gets one, black.
    """
    scale = min(model.width / crop.width, model.height / crop.height) / model.meta['padding']
    left = (model.width - scale * crop.width) / 2
    top = (model.height - scale * crop.height) / 2
    back = (1 / scale, 0, -left / scale, 0, 1 / scale, -top / scale)
    size = (model.width, model.height)
    framed = crop.transform(size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    outputs = model.run(framed)
    return (outputs['keypoints'] - [left, top]) / scale, outputs['scores']


def draw_pose(model, crop, points, scores, lowest=0.3):
    """The crop with its keypoints and the lines between them."""
    drawn, radius = crop.copy(), max(2, crop.height // 100)
    draw = ImageDraw.Draw(drawn)
    for first, second in model.meta['skeleton'] or []:
        if min(scores[first], scores[second]) > lowest:
            line = [tuple(points[first]), tuple(points[second])]
            draw.line(line, fill='lime', width=radius)
    for (x, y), score in zip(points, scores, strict=True):
        if score > lowest:
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill='red')
    return drawn


def suppress(boxes, scores, score, overlap, most):
    """Places (proposal, number) of the boxes that stay, the likeliest first.

    Of boxes (P, 2, 4) that overlap the likeliest stays, but two of one proposal do not count as
    overlapping: they are two persons.
    """
    places = [divmod(i, 2) for i in np.argsort(-scores.ravel(), kind='stable')]
    kept = []
    for place in places:
        if scores[place] <= score or len(kept) == most:
            break
        others = [boxes[other] for other in kept if other[0] != place[0]]
        if all(shared(boxes[place], other) <= overlap for other in others):
            kept.append(place)
    return kept


def shared(one, other):
    """Area that two boxes share, as a part of both together."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = np.prod(np.maximum(high - low, 0))
    areas = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])
    return both / max(areas - both, 1e-6)


def detect(model, image):
    """Boxes (N, 4) of persons in pixels of an image, and their scores (N,)."""
    scale = min(model.width / image.width, model.height / image.height)
    size = (round(scale * image.width), round(scale * image.height))
    framed = Image.new('RGB', (model.width, model.height), (124, 116, 104))
    framed.paste(image.resize(size, Image.Resampling.BILINEAR))
    outputs = model.run(framed)
    kept = suppress(outputs['boxes'], outputs['scores'], **model.meta['suppression'])
    boxes = np.array([outputs['boxes'][place] for place in kept]).reshape(-1, 4)
    limits = [image.width, image.height] * 2
    return np.clip(boxes / scale, 0, limits), np.array([outputs['scores'][p] for p in kept])


def draw_boxes(image, boxes, scores, lowest=0.3):
    """The image with its boxes."""
    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    for box, score in zip(boxes, scores, strict=True):
        if score > lowest:
            draw.rectangle([float(x) for x in box], outline='red', width=2)
    return drawn


def check_place(out):
    """Stop before the work where its result cannot be written."""
    if not Path(out).parent.is_dir():
        raise SystemExit(f'{out}: there is no folder {Path(out).parent}')
    if Path(out).suffix.lower() not in SUFFIXES:
        raise SystemExit(f'{out}: name an image, {", ".join(sorted(SUFFIXES))}')


def main():
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser('search', help='find a person in a folder')
    for name in ('model', 'query', 'folder', 'out'):
        one.add_argument(name)
    two = commands.add_parser('pose', help='keypoints of one crop')
    for name in ('model', 'crop', 'out'):
        two.add_argument(name)
    three = commands.add_parser('detect', help='boxes of the persons in an image')
    for name in ('model', 'image', 'out'):
        three.add_argument(name)
    args = parser.parse_args()
    check_place(args.out)
    model = Model(args.model, TASKS[args.command])
    if args.command == 'search':
        ranked = search(model, args.query, args.folder)
        for path, cosine in ranked[:SHOWN]:
            print(f'{cosine:.4f} {path}')
        draw_ranked(args.query, ranked).save(args.out)
        return
    if args.command == 'detect':
        image = load(args.image)
        boxes, scores = detect(model, image)
        for box, score in zip(boxes, scores, strict=True):
            print(f'{score:.3f}', *(f'{x:.1f}' for x in box))
        draw_boxes(image, boxes, scores).save(args.out)
        return
    crop = load(args.crop)
    points, scores = estimate_pose(model, crop)
    names = model.meta['keypoints'] or range(len(points))
    for name, (x, y), score in zip(names, points, scores, strict=True):
        print(f'{name}: {x:.1f} {y:.1f} ({score:.2f})')
    draw_pose(model, crop, points, scores).save(args.out)


if __name__ == '__main__':
    main()
