"""The twenty labels of CIHP."""

PARTS = (
    'background',
    'hat',
    'hair',
    'glove',
    'sunglasses',
    'upper clothes',
    'dress',
    'coat',
    'socks',
    'pants',
    'torso skin',
    'scarf',
    'skirt',
    'face',
    'left arm',
    'right arm',
    'left leg',
    'right leg',
    'left shoe',
    'right shoe',
)
"""By their numbers; left and right are the person's own."""

MIRRORED = ((14, 15), (16, 17), (18, 19))
"""Labels that a mirror image exchanges."""

COLORS = (
    (0, 0, 0),
    (128, 64, 0),
    (220, 60, 20),
    (120, 120, 0),
    (60, 60, 60),
    (250, 140, 40),
    (200, 80, 200),
    (250, 200, 60),
    (140, 140, 140),
    (40, 80, 200),
    (240, 190, 160),
    (110, 0, 110),
    (240, 110, 160),
    (255, 220, 190),
    (40, 180, 80),
    (150, 230, 90),
    (0, 150, 180),
    (110, 210, 240),
    (90, 0, 200),
    (170, 120, 250),
)
"""RGB of each label in images; sides have two shades of a color."""
