"""The 80 categories of COCO's objects, as its files number them."""

from __future__ import annotations

# Supercategory and its categories; a number before a name is its id where ids leave a gap.
_CATEGORIES = (
    ('person', 'person'),
    ('vehicle', 'bicycle|car|motorcycle|airplane|bus|train|truck|boat'),
    ('outdoor', 'traffic light|fire hydrant|13:stop sign|parking meter|bench'),
    ('animal', 'bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe'),
    ('accessory', '27:backpack|umbrella|31:handbag|tie|suitcase'),
    ('sports',
     'frisbee|skis|snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|'
     'tennis racket'),
    ('kitchen', 'bottle|46:wine glass|cup|fork|knife|spoon|bowl'),
    ('food',
     'banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake'),
    ('furniture', 'chair|couch|potted plant|bed|67:dining table|70:toilet'),
    ('electronic', '72:tv|laptop|mouse|remote|keyboard|cell phone'),
    ('appliance', 'microwave|oven|toaster|sink|refrigerator'),
    ('indoor', '84:book|clock|vase|scissors|teddy bear|hair drier|toothbrush'),
)  # fmt: skip


def _numbered() -> list[dict]:
    found: list[dict] = []
    for group, names in _CATEGORIES:
        for entry in names.split('|'):
            given, colon, name = entry.rpartition(':')
            number = int(given) if colon else (found[-1]['id'] + 1 if found else 1)
            found.append({'supercategory': group, 'id': number, 'name': name})
    return found


CATEGORIES = tuple(_numbered())
"""Entries of ``categories`` in an annotation file, in its order."""
