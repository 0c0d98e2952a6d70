"""Captions, parts of several people, garments and clips: what is written is what is drawn."""

import json
import re
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest

from saip.synthetic.formats.base import APART
from saip.synthetic.formats.cihp import RAW_SPLITS
from saip.synthetic.formats.fashionpedia import FOLDERS
from saip.synthetic.formats.ontology import ATTRIBUTES, CATEGORIES
from saip.synthetic.formats.portraits import draw_portrait
from saip.synthetic.scene.appearance import Appearance
from saip.synthetic.scene.captions import COLORS, captions, color_word
from saip.synthetic.scene.parts import CIHP_LABELS, LIP_LABELS


def read(path):
    return json.loads(path.read_text())


def gray(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8
    assert image.ndim == 2
    return image


def covered(segmentation, height, width):
    """Pixels of polygons or of uncompressed run lengths, (h, w) bool."""
    if isinstance(segmentation, dict):
        assert segmentation['size'] == [height, width]
        values = np.arange(len(segmentation['counts'])) % 2
        flat = np.repeat(values, segmentation['counts'])
        return flat.reshape(width, height).T.astype(bool)
    mask = np.zeros((4 * height, 4 * width), np.uint8)
    for polygon in segmentation:
        corners = np.round(np.array(polygon).reshape(-1, 2) * 4 - 0.5).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1)
    return mask[2::4, 2::4].astype(bool)


@pytest.mark.parametrize(
    ('name', 'file', 'first', 'count', 'splits'),
    [
        ('cuhk_pedes', 'reid_raw.json', 1, 2, {'train': 24, 'val': 6, 'test': 12}),
        ('icfg_pedes', 'ICFG-PEDES.json', 0, 1, {'train': 24, 'test': 12}),
    ],
)
def test_captions_of_pedestrians(drawn, name, file, first, count, splits):
    root = drawn(name)
    rows = read(root / file)
    assert Counter(row['split'] for row in rows) == splits
    shots, owners = defaultdict(set), {}
    for row in rows:
        assert row.keys() == {'split', 'captions', 'file_path', 'processed_tokens', 'id'}
        assert (root / 'imgs' / row['file_path']).is_file()
        assert len(set(row['captions'])) == len(row['captions']) == count
        for text, tokens in zip(row['captions'], row['processed_tokens'], strict=True):
            assert text[0].isupper()
            assert text.endswith('.')
            assert not re.search(r'\{|\}|  |\b[Aa] [aeiou]', text)
            assert ' '.join(tokens) == re.sub(r'[.,]', '', text).lower()
            assert 8 <= len(tokens) <= 77
        shots[row['id']].add(row['file_path'])
        owners.setdefault(row['id'], row['split'])
        assert owners[row['id']] == row['split'], 'nobody is in two splits'
    train = sorted(pid for pid, split in owners.items() if split == 'train')
    assert train == list(range(first, first + 8))
    assert {len(paths) for paths in shots.values()} == {3}
    assert len({row['file_path'] for row in rows}) == len(rows)


def test_captions_say_only_what_is_seen():
    """Every statement about things that can be missing holds, over many people and wordings."""
    said = Counter()
    for identity in range(40):
        portrait = draw_portrait(0, 4 * APART + identity, 0, (110, 120))
        appearance = Appearance(portrait, portrait.main)
        texts = captions(appearance, (0, identity, 0), 4)
        assert len(set(texts)) == 4
        for text in texts:
            words = set(re.findall(r'[a-z-]+', text.lower()))
            assert bool(words & {'woman', 'lady', 'girl', 'she'}) == appearance.character.female
            for seen, names in (
                (appearance.bag != 'none', {'backpack', 'rucksack', 'bag', 'handbag'}),
                (appearance.hat, {'cap', 'hat'}),
                (appearance.scarf, {'scarf'}),
                (appearance.held, {'box'}),
                (appearance.glasses, {'glasses'}),
                (appearance.sunglasses, {'sunglasses'}),
                (appearance.boots, {'boots'}),
                (appearance.lower == 'skirt', {'skirt'}),
                (appearance.upper == 'dress', {'dress'}),
                (
                    appearance.character.person.hair.style == 'bald' and not appearance.hat,
                    {'bald'},
                ),
                (appearance.facing < -0.5, {'behind'}),
            ):
                if words & names:
                    assert seen, (text, names)
                    said.update(names & words)
            if appearance.trunk:
                assert color_word(appearance.character.person.upper.color) in text
    assert len(said) >= 10, said
    assert color_word((40, 40, 40)) == 'black'
    assert all(color_word(color) == name for name, color in COLORS.items())


@pytest.mark.parametrize(('split', 'count'), [('train', 8), ('val', 6)])
def test_cihp(drawn, split, count):
    root = drawn('cihp')
    document = read(root / f'annotations/CIHP_{split}.json')
    (category,) = document['categories']
    assert category['name'] == 'person'
    assert category['parsing'] == list(CIHP_LABELS)
    assert len(document['images']) == count
    painted = {}
    for image in document['images']:
        labels = gray(root / f'{split}_seg' / image['file_name'].replace('.jpg', '.png'))
        assert labels.shape == (image['height'], image['width'])
        painted[image['id']] = np.zeros_like(labels)
    for row in document['annotations']:
        parsing = gray(root / f'{split}_parsing' / row['parsing'])
        assert parsing.max() < 20
        lines, columns = np.nonzero(parsing)
        x, y, width, height = row['bbox']
        assert (x, y) == (columns.min(), lines.min())
        assert (x + width, y + height) == (columns.max() + 1, lines.max() + 1)
        assert row['area'] == len(lines) >= 40
        mask = covered(row['segmentation'], *parsing.shape)
        assert (mask & (parsing > 0)).sum() / (mask | (parsing > 0)).sum() > 0.6
        assert not painted[row['image_id']][parsing > 0].any(), 'nobody shares a pixel'
        painted[row['image_id']] += parsing
    for image in document['images']:
        labels = gray(root / f'{split}_seg' / image['file_name'].replace('.jpg', '.png'))
        np.testing.assert_array_equal(painted[image['id']], labels)
    assert {label for labels in painted.values() for label in np.unique(labels)} >= {
        0, 2, 5, 7, 9, 10, 13, 14, 15, 18, 19,
    }  # fmt: skip
    assert len(CIHP_LABELS) == 20
    # Alike but for case and hyphens, except the tenth; LIP has Jumpsuits there.
    plain = [
        [name.replace('-', '').lower() for name in names] for names in (CIHP_LABELS, LIP_LABELS)
    ]
    assert [n for n in range(20) if plain[0][n] != plain[1][n]] == [10]


def test_the_raw_layout_of_cihp_holds_the_same_scenes(drawn):
    raw, done = drawn('cihp_raw'), drawn('cihp')
    gaps = 0
    for split, folder in RAW_SPLITS.items():
        stems = (raw / folder / f'{split}_id.txt').read_text().split()
        document = read(done / f'annotations/CIHP_{split}.json')
        assert [f'{stem}.jpg' for stem in stems] == [i['file_name'] for i in document['images']]
        names = {row['parsing'] for row in document['annotations']}
        for stem in stems:
            image = (raw / folder / 'Images' / f'{stem}.jpg').read_bytes()
            assert image == (done / f'{split}_img' / f'{stem}.jpg').read_bytes()
            categories = gray(raw / folder / 'Category_ids' / f'{stem}.png')
            np.testing.assert_array_equal(categories, gray(done / f'{split}_seg/{stem}.png'))
            humans = gray(raw / folder / 'Human_ids' / f'{stem}.png')
            instances = gray(raw / folder / 'Instance_ids' / f'{stem}.png')
            ids = [number for number in np.unique(humans) if number]
            gaps += ids != list(range(1, len(ids) + 1))
            for number in ids:
                parsing = gray(done / f'{split}_parsing/{stem}-{number}.png')
                expected = np.where(humans == number, categories, 0)
                np.testing.assert_array_equal(parsing, expected)
                names.discard(f'{stem}-{number}.png')
            pairs = {*zip(humans.flat, categories.flat, instances.flat, strict=True)}
            assert len(pairs) == instances.max() + 1 == len(np.unique(instances))
            for kind in ('Categories', 'Human', 'Instances'):
                picture = cv2.imread(str(raw / folder / kind / f'{stem}.png'))
                assert picture.shape == (*humans.shape, 3)
        assert not names
    assert gaps >= 2


def test_fashionpedia(drawn):
    root = drawn('fashionpedia')
    found, forms = Counter(), Counter()
    for split, count in (('train', 12), ('val', 6)):
        document = read(root / f'instances_attributes_{split}2020.json')
        assert len(document['images']) == count
        assert document['attributes'] == ATTRIBUTES
        sizes = {}
        for image in document['images']:
            path = root / FOLDERS[split] / image['file_name']
            sizes[image['id']] = (image['height'], image['width'])
            assert cv2.imread(str(path)).shape[:2] == sizes[image['id']]
        known = {attribute['id']: attribute['name'] for attribute in document['attributes']}
        for row in document['annotations']:
            category = document['categories'][row['category_id']]
            found[category['name']] += 1
            names = {known[number] for number in row['attribute_ids']}
            # Eighteen of the categories may have attributes.
            may = row['category_id'] in {*range(13), 28, 29, 31, 32, 33}
            assert bool(names) == may, (category, names)
            if category['supercategory'] != 'garment parts':
                lengths = {name for name in names if '(length)' in name and 'short' not in name}
                assert len(lengths) <= 1
            mask = covered(row['segmentation'], *sizes[row['image_id']])
            forms[type(row['segmentation'])] += 1
            if isinstance(row['segmentation'], dict):
                assert mask.sum() == row['area']
            lines, columns = np.nonzero(mask)
            x, y, width, height = row['bbox']
            assert abs(columns.min() - x) <= 1
            assert abs(lines.min() - y) <= 1
            assert abs(columns.max() + 1 - x - width) <= 1
            assert abs(lines.max() + 1 - y - height) <= 1
    assert forms[dict] >= 10
    assert forms[list] >= 40
    assert {'sleeve', 'shoe', 'pants', 'neckline', 'bag, wallet'} <= found.keys()


def test_names_of_fashionpedia_are_numbered_as_published():
    assert [entry['id'] for entry in CATEGORIES] == list(range(46))
    assert (CATEGORIES[10]['name'], CATEGORIES[31]['name']) == ('dress', 'sleeve')
    numbers = [entry['id'] for entry in ATTRIBUTES]
    assert numbers == sorted(set(range(341)) - set(range(235, 281)) - {284})
    assert len({entry['name'] for entry in ATTRIBUTES}) == 294
    names = {entry['id']: entry['name'] for entry in ATTRIBUTES}
    assert (names[136], names[295], names[317]) == (
        'regular (fit)',
        'no non-textile material',
        'plain (pattern)',
    )


def test_chimpact(drawn):
    root = drawn('chimpact')
    for split, clips in (('train', 4), ('val', 2), ('test', 3)):
        document = read(root / f'annotations/{split}.json')
        assert document.keys() == {'categories', 'videos', 'images', 'annotations'}
        assert len(document['videos']) == clips
        assert len(document['images']) == 5 * clips
        frames = {}
        for image in document['images']:
            assert (root / split / 'images' / image['file_name']).is_file()
            frames[image['id']] = (image['video_id'], int(image['file_name'][-10:-4]))
        assert min(frame for _, frame in frames.values()) == 0
        boxes = {}
        for row in document['annotations']:
            assert 'num_keypoints' not in row
            video, frame = frames[row['image_id']]
            assert row['iskeyframe'] == (frame % 10 == 0)
            assert row['area'] == pytest.approx(row['bbox'][2] * row['bbox'][3])
            boxes[video, row['instance_id'], frame] = np.array(row['bbox'])
            points = np.array(row['keypoints']).reshape(-1, 3)
            assert len(points) == (16 if row['iskeyframe'] else 0)
            x, y, width, height = row['bbox']
            for mark in points[points[:, 2] > 0]:
                assert x - 1 <= mark[0] <= x + width
                assert y - 1 <= mark[1] <= y + height
        # Between two key frames that show an animal its box is in the middle.
        middle = [key for key in boxes if key[2] % 10 and (*key[:2], key[2] + 5) in boxes]
        assert len(middle) >= 2 * clips
        for video, animal, frame in middle:
            sides = boxes[video, animal, frame - 5] + boxes[video, animal, frame + 5]
            np.testing.assert_allclose(boxes[video, animal, frame], sides / 2)


def test_an_animal_walks_through_its_clip(drawn):
    document = read(drawn('chimpact') / 'annotations/train.json')
    first = document['images'][0]['file_name'].split('/')[0]
    images = {i['id'] for i in document['images'] if i['file_name'].startswith(f'{first}/')}
    rows = [r for r in document['annotations'] if r['image_id'] in images and r['keypoints']]
    marks = np.array([np.array(row['keypoints']).reshape(-1, 3) for row in rows])
    seen = (marks[..., 2] > 0).all(0)
    # Ankles and wrists swing more than the pelvis moves.
    moved = np.ptp(marks[:, :, 0], axis=0)
    assert moved[[2, 4, 12, 15]][seen[[2, 4, 12, 15]]].max() > moved[0] + 2
