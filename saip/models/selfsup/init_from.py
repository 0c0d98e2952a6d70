"""Beginning with weights of another training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from saip.checkpoint import load_checkpoint_file
from saip.checkpoint.renamed import translate_checkpoint
from saip.checkpoint.strict import WeightsError, check_tensors, fit_encoder
from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder

EXPERT = 'expert.'
REMEDY = (
    'under a prefix of model.init_from all keys have to match; model.init_from.allow_missing '
    'names beginnings of keys of the model that the file may lack'
)


@dataclass(frozen=True)
class InitFrom:
    """Which weights of a file go where.

    Attributes:
        checkpoint: the file.
        prefixes: beginnings of keys in the file -> beginnings of keys in the model.
        allow_missing: beginnings of the model's keys that the file may lack.
    """

    checkpoint: str
    prefixes: Mapping[str, str]
    allow_missing: tuple[str, ...] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> InitFrom:
        """Read ``model.init_from``.

        Raises:
            InputError: a key is missing or unknown, or no prefix is given.
        """
        unknown = sorted(set(config) - {'checkpoint', 'prefixes', 'allow_missing'})
        given = config.get('prefixes')
        if (
            unknown
            or not config.get('checkpoint')
            or not isinstance(given, Mapping)
            or not given
        ):
            raise InputError(
                'model.init_from: dict(checkpoint=FILE, prefixes={beginning of keys in the file: '
                f'beginning of keys in the model}}, allow_missing=(...)) is needed, got {config!r}'
            )
        missing = config.get('allow_missing', ())
        prefixes = {_dotted(k): _dotted(v) for k, v in given.items()}
        if '' in prefixes.values():
            raise InputError(
                'model.init_from.prefixes: an empty beginning of keys in the model leads '
                "everywhere; name its parts, such as {'backbone': 'backbone'}"
            )
        return cls(
            checkpoint=str(config['checkpoint']),
            prefixes=prefixes,
            allow_missing=(missing,) if isinstance(missing, str) else tuple(missing),
        )


def load_parts(model: nn.Module, init_from: InitFrom, of_expert: bool) -> None:
    """Load parts of a model from a file.

    Keys under no prefix are ignored. Under one all keys of the file must be the model's, and all
    of the model's must be in the file unless ``allow_missing`` says otherwise. Position embeddings
    of encoders are resampled.

    Args:
        model: the pretraining model.
        init_from: which weights go where.
        of_expert: whether to load the prefixes that lead into the expert, or the others. The
            expert is copied from the student between the two, so what no prefix leads to is the
            student's.

    Raises:
        WeightsError: a key or a shape does not match.
        CheckpointError: the file cannot be read.
        FileNotFoundError: there is no such file.
    """
    prefixes = {
        there: here
        for there, here in init_from.prefixes.items()
        if here.startswith(EXPERT) is of_expert
    }
    if not prefixes:
        return
    checkpoint = load_checkpoint_file(init_from.checkpoint)
    translate_checkpoint(checkpoint)
    for there, here in prefixes.items():
        found = {
            key.removeprefix(there): value
            for key, value in checkpoint.get('state_dict', checkpoint).items()
            if key.startswith(there)
        }
        if not found:
            raise WeightsError(
                f'{init_from.checkpoint}: model.init_from: no key begins with {there!r}'
            )
        count = _load(model, here, found, checkpoint, init_from)
        print_log(
            f'{init_from.checkpoint}: {count} tensors under {there!r} went to {here!r}',
            'current',
        )


def _load(
    model: nn.Module,
    prefix: str,
    found: dict[str, Tensor],
    checkpoint: Mapping[str, Any],
    init_from: InitFrom,
) -> int:
    """Load ``found`` into the submodule at ``prefix``; return how many tensors."""
    name = prefix.rstrip('.')
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise InputError(f'model.init_from.prefixes: the model has no {name!r}') from error
    optional = {
        key
        for key in module.state_dict()
        if any(f'{prefix}{key}'.startswith(each) for each in init_from.allow_missing)
    }
    path = init_from.checkpoint
    for below, encoder in module.named_modules():
        if isinstance(encoder, BaseEncoder):
            found = _fit(encoder, f'{below}.' if below else '', found, checkpoint, path)
    check_tensors(found, module.state_dict(), path, optional, REMEDY)
    module.load_state_dict({**module.state_dict(), **found}, strict=True)
    return len(found)


def _fit(
    encoder: BaseEncoder,
    prefix: str,
    found: dict[str, Tensor],
    checkpoint: Mapping[str, Any],
    path: str,
) -> dict[str, Tensor]:
    """Resample the position embeddings of the encoder at ``prefix``."""
    own = {k.removeprefix(prefix): x for k, x in found.items() if k.startswith(prefix)}
    if not own:
        return found
    own, _, _ = fit_encoder(encoder, own, checkpoint.get('meta') or {}, path)
    return {**found, **{f'{prefix}{key}': value for key, value in own.items()}}


def _dotted(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith('.') else f'{prefix}.'
