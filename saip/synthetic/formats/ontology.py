"""Names of Fashionpedia's 46 categories and 294 attributes, as its files number them."""

from __future__ import annotations

# Supercategory and its categories, which are numbered from 0.
_CATEGORIES = (
    ('upperbody',
     'shirt, blouse|top, t-shirt, sweatshirt|sweater|cardigan|jacket|vest'),
    ('lowerbody',
     'pants|shorts|skirt'),
    ('wholebody',
     'coat|dress|jumpsuit|cape'),
    ('head',
     'glasses|hat|headband, head covering, hair accessory'),
    ('neck',
     'tie'),
    ('arms and hands',
     'glove|watch'),
    ('waist',
     'belt'),
    ('legs and feet',
     'leg warmer|tights, stockings|sock|shoe'),
    ('others',
     'bag, wallet|scarf|umbrella'),
    ('garment parts',
     'hood|collar|lapel|epaulette|sleeve|pocket|neckline'),
    ('closures',
     'buckle|zipper'),
    ('decorations',
     'applique|bead|bow|flower|fringe|ribbon|rivet|ruffle|sequin|tassel'),
)  # fmt: skip
# Supercategory, number of its first attribute, and its attributes. Not all numbers are used.
_ATTRIBUTES = (
    ('nickname', 0,
     'classic (t-shirt)|polo (shirt)|undershirt|henley (shirt)|ringer (t-shirt)|'
     'raglan (t-shirt)|rugby (shirt)|sailor (shirt)|crop (top)|halter (top)|camisole|'
     'tank (top)|peasant (top)|tube (top)|tunic (top)|smock (top)|hoodie|blazer|'
     'pea (jacket)|puffer (jacket)|biker (jacket)|trucker (jacket)|bomber (jacket)|'
     'anorak|safari (jacket)|mao (jacket)|nehru (jacket)|norfolk (jacket)|'
     'classic military (jacket)|track (jacket)|windbreaker|chanel (jacket)|bolero|'
     'tuxedo (jacket)|varsity (jacket)|crop (jacket)|jeans|sweatpants|leggings|'
     'hip-huggers (pants)|cargo (pants)|culottes|capri (pants)|harem (pants)|'
     'sailor (pants)|jodhpur|peg (pants)|camo (pants)|track (pants)|crop (pants)|'
     'short (shorts)|booty (shorts)|bermuda (shorts)|cargo (shorts)|trunks|boardshorts|'
     'skort|roll-up (shorts)|tie-up (shorts)|culotte (shorts)|lounge (shorts)|bloomers|'
     'tutu (skirt)|kilt|wrap (skirt)|skater (skirt)|cargo (skirt)|hobble (skirt)|'
     'sheath (skirt)|ball gown (skirt)|gypsy (skirt)|rah-rah (skirt)|prairie (skirt)|'
     'flamenco (skirt)|accordion (skirt)|sarong (skirt)|tulip (skirt)|dirndl (skirt)|'
     'godet (skirt)|blanket (coat)|parka|trench (coat)|pea (coat)|shearling (coat)|'
     'teddy bear (coat)|puffer (coat)|duster (coat)|raincoat|kimono|robe|dress (coat )|'
     'duffle (coat)|wrap (coat)|military (coat)|swing (coat)|halter (dress)|'
     'wrap (dress)|chemise (dress)|slip (dress)|cheongsams|jumper (dress)|shift (dress)|'
     'sheath (dress)|shirt (dress)|sundress|kaftan|bodycon (dress)|nightgown|gown|'
     'sweater (dress)|tea (dress)|blouson (dress)|tunic (dress)|skater (dress)'),
    ('silhouette', 114,
     'asymmetrical|symmetrical|peplum|circle|flare|fit and flare|trumpet|mermaid|'
     'balloon|bell|bell bottom|bootcut|peg|pencil|straight|a-line|tent|baggy|wide leg|'
     'high low|curved (fit)|tight (fit)|regular (fit)|loose (fit)|oversized'),
    ('waistline', 139,
     'empire waistline|dropped waistline|high waist|normal waist|low waist|'
     'basque (wasitline)|no waistline'),
    ('length', 146,
     'above-the-hip (length)|hip (length)|micro (length)|mini (length)|'
     'above-the-knee (length)|knee (length)|below the knee (length)|midi|maxi (length)|'
     'floor (length)|sleeveless|short (length)|elbow-length|three quarter (length)|'
     'wrist-length'),
    ('nickname', 161,
     'asymmetric (collar)|regular (collar)|shirt (collar)|polo (collar)|'
     'chelsea (collar)|banded (collar)|mandarin (collar)|peter pan (collar)|'
     'bow (collar)|stand-away (collar)|jabot (collar)|sailor (collar)|'
     'oversized (collar)|notched (lapel)|peak (lapel)|shawl (lapel)|napoleon (lapel)|'
     'oversized (lapel)'),
    ('neckline type', 179,
     'collarless|asymmetric (neckline)|crew (neck)|round (neck)|v-neck|surplice (neck)|'
     'oval (neck)|u-neck|sweetheart (neckline)|queen anne (neck)|boat (neck)|'
     'scoop (neck)|square (neckline)|plunging (neckline)|keyhole (neck)|halter (neck)|'
     'crossover (neck)|choker (neck)|high (neck)|turtle (neck)|cowl (neck)|'
     'straight across (neck)|illusion (neck)|off-the-shoulder|one shoulder'),
    ('nickname', 204,
     'set-in sleeve|dropped-shoulder sleeve|raglan (sleeve)|cap (sleeve)|tulip (sleeve)|'
     'puff (sleeve)|bell (sleeve)|circular flounce (sleeve)|poet (sleeve)|'
     'dolman (sleeve), batwing (sleeve)|bishop (sleeve)|leg of mutton (sleeve)|'
     'kimono (sleeve)|cargo (pocket)|patch (pocket)|welt (pocket)|kangaroo (pocket)|'
     'seam (pocket)|slash (pocket)|curved (pocket)|flap (pocket)'),
    ('opening type', 225,
     'single breasted|double breasted|lace up|wrapping|zip-up|fly (opening)|'
     'chained (opening)|buckled (opening)|toggled (opening)|no opening'),
    ('non-textile material type', 281,
     'plastic|rubber|metal'),
    ('non-textile material type', 285,
     'feather|gem|bone|ivory|fur'),
    ('leather', 290,
     'suede|shearling|crocodile|snakeskin'),
    ('non-textile material type', 294,
     'wood|no non-textile material'),
    ('textile finishing, manufacturing techniques', 296,
     'burnout|distressed|washed|embossed|frayed|printed|ruched|quilted|pleat|gathering|'
     'smocking|tiered|cutout|slit|perforated|lining|applique(a)|bead(a)|rivet(a)|'
     'sequin(a)|no special manufacturing technique'),
    ('textile pattern', 317,
     'plain (pattern)|abstract|cartoon|letters, numbers|camouflage|check|dot|fair isle|'
     'floral|geometric|paisley|stripe|houndstooth (pattern)|herringbone (pattern)|'
     'chevron|argyle'),
    ('animal', 333,
     'leopard|snakeskin (pattern)|cheetah|peacock|zebra|giraffe'),
    ('textile pattern', 339,
     'toile de jouy|plant'),
)  # fmt: skip


def _entry(number: int, name: str, supercategory: str) -> dict:
    level = 1 if supercategory not in ('leather', 'animal') else 2
    return {'id': number, 'name': name, 'supercategory': supercategory, 'level': level}


def _categories() -> list[dict]:
    pairs = [(name, group) for group, names in _CATEGORIES for name in names.split('|')]
    return [{**_entry(number, *pair), 'level': 2} for number, pair in enumerate(pairs)]


CATEGORIES = _categories()
ATTRIBUTES = [
    _entry(number, name, group)
    for group, first, names in _ATTRIBUTES
    for number, name in enumerate(names.split('|'), first)
]
CATEGORY = {entry['name']: entry['id'] for entry in CATEGORIES}
ATTRIBUTE = {entry['name']: entry['id'] for entry in ATTRIBUTES}
