"""The view recipe: which views a method makes of a picture, and how they are drawn.

Every part is a frozen dataclass built from a config's dict; a key that it does not have is an
error that names those it has. Sizes are (height, width) in pixels, scales are in eighths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Size = tuple[int, int]
Range = tuple[float, float]
EIGHTHS = (6, 7, 9, 10, 11, 12)
Part = TypeVar('Part', bound='DataclassInstance')


@dataclass(frozen=True)
class CropRecipe:
    """A random crop at the anchor's size.

    Attributes:
        area: share of the picture's area that the crop covers.
        blur: probability of a Gaussian blur.
        solarize: probability of solarisation.
        aspect: range of the crop's width / height; None takes the one of the anchor's shape.
    """

    area: Range = (0.8, 1.0)
    blur: float = 0.0
    solarize: float = 0.0
    aspect: Range | None = None


@dataclass(frozen=True)
class LocalsRecipe:
    """``number`` small crops of ``size``; other keys as in :class:`CropRecipe`."""

    number: int = 6
    size: Size = (128, 64)
    area: Range = (0.05, 0.8)
    blur: float = 0.5
    solarize: float = 0.0
    aspect: Range | None = None


@dataclass(frozen=True)
class MultiresRecipe:
    """The same crop at several resolutions, k/8 of its size, k drawn per micro-batch.

    Attributes:
        number: of views.
        eighths: the scales k to draw from.
        source: ``anchor`` resizes the anchor, with distinct k, to whole patches; ``official``
            resizes one further local crop (view 0) and the anchor reduced to the size of the
            locals (view 1), with independent k.
    """

    number: int = 2
    eighths: tuple[int, ...] = EIGHTHS
    source: str = 'anchor'


@dataclass(frozen=True)
class MaskedRecipe:
    """The view of which most patches are hidden.

    Attributes:
        source: ``augmented`` or ``anchor`` resized by k/8, or ``multires``: one of the
            multires views, drawn per micro-batch.
        eighths: the scales k to draw from; not with source ``multires``.
        ratio: share of hidden patches.
        mode: ``exact`` hides an exact number on the view's own grid; ``official`` draws on the
            anchor's grid and enlarges the mask, as the authors' release does.
    """

    source: str = 'augmented'
    eighths: tuple[int, ...] | None = None
    ratio: float = 0.75
    mode: str = 'exact'


@dataclass(frozen=True)
class SceneRecipe:
    """People pasted on another picture.

    Attributes:
        size: of the scene.
        layout: ``visible`` places at random, at least half of each paste uncovered;
            ``overlap`` places at random; ``official`` puts a crop left of the reduced anchor.
        alpha: opacity of a paste.
        others: how many other people (0 or 1) join the queries.
        area, aspect, blur, solarize: of the background's crop.
    """

    size: Size = (224, 224)
    layout: str = 'visible'
    alpha: float = 0.7
    others: int = 0
    area: Range = (0.2, 1.0)
    aspect: Range = (3 / 4, 4 / 3)
    blur: float = 0.1
    solarize: float = 0.2


@dataclass(frozen=True)
class JitterRecipe:
    """Colour jitter.

    With ``probability``, four operations in random order, each with a factor of 1 +- its
    strength (hue: a shift of +- its strength of the colour circle).
    """

    probability: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1


@dataclass(frozen=True)
class Recipe:
    """All views of one picture. ``size`` is the anchor's; a part that is None is not made."""

    size: Size
    patch_size: int
    anchor: CropRecipe
    augmented: CropRecipe | None = None
    locals: LocalsRecipe | None = None
    multires: MultiresRecipe | None = None
    masked: MaskedRecipe | None = None
    scene: SceneRecipe | None = None
    jitter: JitterRecipe = field(default_factory=JitterRecipe)
    gray: float = 0.2
    flip: float = 0.5

    @property
    def available(self) -> frozenset[str]:
        """Names of the views that this recipe makes."""
        optional = ('augmented', 'locals', 'multires', 'masked', 'scene')
        return frozenset({'anchor', *(name for name in optional if getattr(self, name))})


_PARTS: dict[str, type] = {
    'anchor': CropRecipe,
    'augmented': CropRecipe,
    'locals': LocalsRecipe,
    'multires': MultiresRecipe,
    'masked': MaskedRecipe,
    'scene': SceneRecipe,
    'jitter': JitterRecipe,
}


def build_recipe(size: Size, patch_size: int, parts: Mapping[str, Any]) -> Recipe:
    """Build a recipe from a config.

    Args:
        size: the anchor's size.
        patch_size: of the encoder, in pixels.
        parts: a dict or None for each of the recipe's parts, and plain ``gray`` and ``flip``.

    Raises:
        ValueError: an unknown key, named with those allowed; a required key is missing.
    """
    values = {'size': size, 'patch_size': patch_size, **parts}
    for name, part in _PARTS.items():
        if values.get(name) is not None:
            values[name] = _checked(part, values[name], f'view recipe, {name}')
    return _checked(Recipe, values, 'view recipe')


def _checked(cls: type[Part], config: Mapping[str, Any], where: str) -> Part:
    if not isinstance(config, Mapping):
        raise ValueError(f'{where}: expected a dict or None, got {config!r}')
    known = {f.name: f for f in fields(cls)}
    for key in config:
        if key not in known:
            raise ValueError(f'{where}: unknown key {key!r}; allowed: {", ".join(known)}')
    for name, f in known.items():
        required = f.default is MISSING and f.default_factory is MISSING
        if required and config.get(name) is None:
            raise ValueError(f'{where}: {name} is missing')
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    return cls(**tuples)
