"""Fashionpedia: garments and their parts, with masks and localized attributes."""

from __future__ import annotations

from ..scene.appearance import Appearance
from ..scene.parts import codes
from ..scene.render import box_of
from ..sheet import BLUE, YELLOW, Card
from .base import APART, Job, Splits, draw_splits, native
from .coco_format import numbered, polygons, run_lengths, xywh
from .ontology import ATTRIBUTE, ATTRIBUTES, CATEGORIES, CATEGORY
from .portraits import draw_portrait

SIZES = {'tiny': Splits(12, 6, 0, (144, 176)), 'small': Splits(400, 80, 0, (224, 288))}
# Of garments and parts fewer pixels are not annotated.
LEAST_AREA = 12
# Every fifth mask is written as run lengths, the others are polygons.
_RUNS = 5
# Validation images lie in the folder of the test images.
FOLDERS = {'train': 'train', 'val': 'test'}

_PATTERN = {
    'stripes': 'stripe', 'bars': 'stripe', 'seam': 'stripe', 'checks': 'check',
    'block': 'geometric', 'plain': 'plain (pattern)', 'logo': 'plain (pattern)',
}  # fmt: skip
_UPPER = {
    'tshirt': ('top, t-shirt, sweatshirt', 'classic (t-shirt)', 'hip (length)'),
    'hoodie': ('top, t-shirt, sweatshirt', 'hoodie', 'hip (length)'),
    'vest': ('top, t-shirt, sweatshirt', 'tank (top)', 'hip (length)'),
    'shirt': ('shirt, blouse', '', 'hip (length)'),
    'jacket': ('jacket', '', 'hip (length)'),
    'coat': ('coat', '', 'above-the-knee (length)'),
    'dress': ('dress', '', 'above-the-knee (length)'),
}
_LOWER = {
    'trousers': ('pants', 'maxi (length)'),
    'shorts': ('shorts', 'knee (length)'),
    'skirt': ('skirt', 'above-the-knee (length)'),
}
# Category, names of attributes, codes of the parts that show it.
Worn = tuple[str, set[str], frozenset[int]]


@native('fashionpedia', SIZES)
def write_fashionpedia(job: Job[Splits]) -> list[Card]:
    """Write ``{train,test}/*.jpg`` and ``instances_attributes_{train,val}2020.json``."""
    cards: list[Card] = []
    for split, found in draw_splits(job, _draw, 6 * APART):
        images, rows = numbered(found)
        document = {
            'info': {'year': '2020', 'version': '1.0', 'description': 'Synthetic persons'},
            'licenses': [],
            'categories': CATEGORIES,
            'attributes': ATTRIBUTES,
            'images': images,
            'annotations': rows,
        }
        job.save_json(f'instances_attributes_{split}2020.json', document)
        cards += [_card(FOLDERS[split], *one) for one in found[:4]]
    return cards


def _draw(job: Job[Splits], item: tuple[str, int]) -> tuple[dict, list[dict]]:
    split, number = item
    # One person an image: the set has no box of people but the union of what they wear.
    portrait = draw_portrait(job.seed, number, 0, job.spec.size, (0.6, 0.8), True, alone=True)
    name = f'{number:032x}.jpg'
    job.save(f'{FOLDERS[split]}/{name}', portrait.image, portrait.quality)
    height, width = portrait.image.shape[:2]
    image = {'id': number, 'file_name': name, 'width': width, 'height': height}
    image |= {'license': 1, 'time_captured': '', 'original_url': '', 'isstatic': 1}
    rows: list[dict] = []
    for category, names, shown in worn(Appearance(portrait, portrait.main)):
        mask = portrait.shown(portrait.main, shown)
        box = box_of(mask)
        if box is None or mask.sum() < LEAST_AREA:
            continue
        as_runs = (number + len(rows)) % _RUNS == 0
        rows.append({
            'image_id': number,
            'category_id': CATEGORY[category],
            'attribute_ids': sorted(ATTRIBUTE[name] for name in names),
            'segmentation': run_lengths(mask) if as_runs else polygons(mask),
            'bbox': xywh(box),
            'area': int(mask.sum()),
            'iscrowd': 0,
        })  # fmt: skip
    return image, rows


def worn(appearance: Appearance) -> list[Worn]:
    """Return all garments and parts of garments that somebody wears, seen or not."""
    character, person = appearance.character, appearance.character.person
    found = _upper(appearance)
    if appearance.upper != 'dress':
        found.append(_lower(appearance))
    if appearance.upper in ('jacket', 'coat'):
        attributes = {'plain (pattern)', 'symmetrical', 'no special manufacturing technique'}
        found.append(('top, t-shirt, sweatshirt', attributes, codes('inner')))
    for category, parts in (
        ('hat', ('hat', 'cap')),
        ('glasses', ('glasses', 'sunglasses')),
        ('scarf', ('scarf',)),
        ('bag, wallet', ('bag',)),
    ):
        found.append((category, set(), codes(*parts)))
    for side in ('l', 'r'):
        found.append(('shoe', set(), codes('shoe', 'boot', sides=(side,))))
        found.append(('sock', set(), codes('sock', sides=(side,))))
        if character.gloves is not None:
            found.append(('glove', set(), codes('palm', 'finger', sides=(side,))))
    if person.upper.kind in ('tshirt', 'vest', 'hoodie', 'dress'):
        found.append(('neckline', {'round (neck)'}, codes('collar')))
    return found


def _upper(appearance: Appearance) -> list[Worn]:
    """The upper garment, its sleeves and its hood."""
    garment = appearance.character.person.upper
    category, nickname, length = _UPPER[garment.kind]
    sleeve = {'vest': 'sleeveless', 'tshirt': 'short (length)', 'dress': 'short (length)'}.get(
        garment.kind, 'wrist-length'
    )
    names = {length, sleeve, 'symmetrical', _PATTERN[garment.pattern]}
    names.add(_fit(garment.fit, 1.03, 1.12))
    names |= {nickname} if nickname else set()
    printed = garment.pattern == 'logo' and appearance.logo
    names.add('printed' if printed else 'no special manufacturing technique')
    if garment.kind == 'dress':
        names.add('no waistline')
    if garment.kind not in ('shirt', 'jacket', 'coat'):
        names.add('no opening')
    elif appearance.facing > 0.2:
        names.add('single breasted')
    parts = codes('upper', 'tail', 'hood', *(['skirt'] if garment.kind == 'dress' else []))
    found = [(category, names, parts), ('hood', set[str](), codes('hood'))]
    for side in ('l', 'r'):
        found.append(('sleeve', {'set-in sleeve', sleeve}, codes('upper', sides=(side,))))
    return found


def _lower(appearance: Appearance) -> Worn:
    garment = appearance.character.person.lower
    category, length = _LOWER[garment.kind]
    names = {length, 'symmetrical', 'normal waist', _PATTERN[garment.pattern]}
    names |= {_fit(garment.fit, 1.0, 1.2), 'no special manufacturing technique'}
    if garment.kind == 'skirt':
        names.add('a-line' if garment.fit > 1.1 else 'straight')
        return category, names, codes('skirt')
    names.add('wide leg' if garment.fit > 1.2 else 'straight')
    return category, names, codes('lower', 'seat')


def _fit(fit: float, tight: float, regular: float) -> str:
    if fit < tight:
        return 'tight (fit)'
    return 'regular (fit)' if fit < regular else 'loose (fit)'


def _card(folder: str, image: dict, rows: list[dict]) -> Card:
    names = {entry['id']: entry['name'] for entry in ATTRIBUTES}
    outlines = [
        o for row in rows if isinstance(row['segmentation'], list) for o in row['segmentation']
    ]
    words = [
        f'{CATEGORIES[row["category_id"]]["name"]}: '
        + ', '.join(names[number] for number in row['attribute_ids'])
        for row in rows
    ]
    boxes = [
        (row['bbox'], BLUE if isinstance(row['segmentation'], list) else YELLOW) for row in rows
    ]
    return Card(f'{folder}/{image["file_name"]}', words, boxes, outlines)
