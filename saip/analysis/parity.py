"""Comparison of one training step with a recorded step of the method's first release."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from saip.checkpoint import load_checkpoint_file
from saip.engine.converters.release import convert_release, revert_release
from saip.errors import InputError
from saip.registry import MODELS
from saip.structures import PatchMask, View, Views
from saip.views.device import rescale

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
# Below this share of a tensor's largest gradient AdamW's first step amplifies rounding noise.
NOISE = 1e-3
EMA_MOMENTUM = 0.996
PARTS = {
    *('config', 'inputs', 'student_state', 'teacher_state', 'center_before', 'center_after'),
    *('scales_drawn', 'mask', 'losses', 'grad_norms', 'backbone_grads', 'after_step'),
}
SIZES = {
    *('patch_size', 'embed_dim', 'depth', 'num_heads', 'img_size', 'mask_ratio', 'out_dim'),
    *('student_temp', 'teacher_temp', 'center_momentum', 'norm_pix_loss'),
    *('decoder_embed_dim', 'decoder_depth', 'decoder_num_heads'),
}
"""Entries of a dump's ``config`` that the model is built from."""
CONFIG_NAME = 'saip-official_vit-tiny-p16_8xb64-accum4-amp-coslr-300e_lup1m.py'


@dataclass(frozen=True)
class Row:
    """One compared quantity: ``error`` is max|a - b| / max|b|, over all ``count`` tensors."""

    name: str
    error: float
    tolerance: float
    count: int = 1

    @property
    def agrees(self) -> bool:
        """Within tolerance; NaN never is."""
        return self.error <= self.tolerance


def load_dump(path: Path) -> dict[str, Any]:
    """Read a recorded step.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not a recorded step.
    """
    dump = load_checkpoint_file(path)
    missing = PARTS - set(dump) or SIZES - set(dump['config'])
    if missing:
        raise InputError(f'{path}: not a recorded step; it lacks {", ".join(sorted(missing))}')
    return dump


def build_model(dump: dict[str, Any], config: Path) -> Any:
    """The preset's algorithm with the dump's sizes and weights, in training mode."""
    sizes = dump['config']
    if sizes.get('norm_eps', 1e-6) != 1e-6:
        raise InputError(f'norm_eps={sizes["norm_eps"]}: the preset norms with 1e-6')
    cfg = Config.fromfile(config).model
    patch = _side(sizes['patch_size'])
    ratio = sizes.get('mlp_ratio', 4)
    cfg.backbone.arch = {
        'embed_dims': sizes['embed_dim'],
        'num_layers': sizes['depth'],
        'num_heads': sizes['num_heads'],
        'feedforward_channels': int(sizes['embed_dim'] * ratio),
    }
    cfg.backbone.update(patch_size=patch, feature_level=sizes.get('out_index', 6))
    local = dump['inputs']['local'].shape[-2:]
    cfg.data_preprocessor.update(size=tuple(sizes['img_size']), patch_size=patch)
    views = cfg.data_preprocessor.views
    views.local_crops.size = views.extra_local_crop.size = tuple(local)
    views.masked.mask.ratio = sizes['mask_ratio']
    objectives = cfg.objectives
    objectives.csm.neck.update(
        hidden_channels=sizes.get('hidden_dim', 2048),
        bottleneck_channels=sizes.get('bottleneck_dim', 256),
        out_channels=sizes['out_dim'],
    )
    objectives.csm.head.update(
        student_temp=sizes['student_temp'],
        teacher_temp=sizes['teacher_temp'],
        center_momentum=sizes['center_momentum'],
    )
    objectives.csr.neck.update(
        dims=sizes['decoder_embed_dim'],
        depth=sizes['decoder_depth'],
        num_heads=sizes['decoder_num_heads'],
        mlp_ratio=ratio,
    )
    objectives.csr.head.norm_pix = sizes['norm_pix_loss']
    objectives.css.neck.update(
        dims=sizes.get('hidden_dim', 512), num_heads=sizes['decoder_num_heads'], mlp_ratio=ratio
    )
    model = MODELS.build(cfg).to(dump['inputs']['anchor'].dtype)
    parts = {
        'student': dump['student_state'],
        'teacher': dump['teacher_state'],
        'csm_loss': {'center': dump['center_before']},
    }
    try:
        model.load_state_dict(convert_release(parts), strict=True)
    except RuntimeError as error:
        raise InputError(
            f'the recorded weights are not of the recorded sizes: {error}'
        ) from error
    return model.train()


def build_views(dump: dict[str, Any], patch: int) -> Views:
    """The dump's images as the preset's views; rescaled by the drawn factors."""
    inputs, mask, drawn = dump['inputs'], dump['mask'], dump['scales_drawn']
    *crops, seventh, region = inputs['local']

    def scaled(images: Tensor, factor: float) -> Tensor:
        return rescale(images, factor, 'nearest', patch)

    enlarged = round(
        (mask['ids_restore'].shape[1] / _cells(inputs['anchor'], patch)) ** 0.5 * 8
    )
    images = {
        'anchor': inputs['anchor'],
        'augmented': inputs['aug'],
        'local_crops': torch.cat(crops),
        'multires_0': scaled(seventh, drawn['crop7']),
        'multires_1': scaled(region, drawn['region']),
        'masked': rescale(inputs['aug'], enlarged / 8, 'nearest', patch),
        'scene': inputs['ref'],
    }
    restore = mask['ids_restore']
    hidden = mask['loss_mask'] > 0
    # As many columns as the image with most scored patches has; the rest is weighted 0.
    order = (~hidden).to(torch.uint8).argsort(dim=1, stable=True)
    order = order[:, : int(hidden.sum(1).max())]
    patch_mask = PatchMask(
        keep=restore.argsort(dim=1)[:, : mask['n_keep']],
        restore=restore,
        scored=order,
        scored_weight=hidden.gather(1, order),
    )
    masks = torch.stack([inputs['inst_mask'], inputs['roi_mask']], dim=1)
    views = {
        name: View(x, patch_mask if name == 'masked' else None) for name, x in images.items()
    }
    return Views(views, {'scene_masks': masks.to(inputs['anchor'].dtype)})


def compare_step(path: Path, config: Path) -> list[Row]:
    """Repeat the recorded step with the real classes and compare every number.

    Args:
        path: the dump.
        config: a leaf config of the preset ``saip-official``.

    Returns:
        A row per quantity.

    Raises:
        FileNotFoundError: no such dump.
        ValueError: the dump is not of the expected format.
    """
    dump = load_dump(path)
    model = build_model(dump, config)
    views = build_views(dump, _side(dump['config']['patch_size']))
    tolerance = TOLERANCE[dump['inputs']['anchor'].dtype]
    terms = model.loss(views)
    losses = {name: value for name, value in terms.items() if 'loss' in name}
    total = sum(losses.values())
    total.backward()
    rows = _compare_losses(dump['losses'], total, terms, tolerance)
    rows += _compare_gradients(dump, model, tolerance)
    rows += _compare_step(dump, model, tolerance)
    return rows


def _compare_losses(
    recorded: dict[str, float], total: Tensor, terms: dict[str, Tensor], tolerance: float
) -> list[Row]:
    ours = {
        'total': total,
        'csm_rep': terms['loss_csm'],
        'csm_att': terms['loss_relation'],
        'csr': terms['loss_csr'],
        'css_inst': terms['css_anchor'],
        'css_roi': terms['css_multires_0'],
    }
    return [
        Row(f'loss {name}', _relative(float(ours[name].detach()), float(value)), tolerance)
        for name, value in recorded.items()
    ]


def _compare_gradients(dump: dict, model: Any, tolerance: float) -> list[Row]:
    ours, _ = revert_release(
        {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    )
    recorded = {k: v for k, v in dump['grad_norms'].items() if v is not None}
    recorded = {k: float(v) for k, v in recorded.items() if not k.endswith('weight_g')}
    unmatched = set(recorded) ^ set(ours)
    if unmatched:
        raise InputError(
            f'gradients of other parameters than recorded: {sorted(unmatched)[:5]}'
        )
    largest = max(recorded.values())
    norms = [
        abs(float(ours[name].norm()) - norm) / max(norm, 1e-6 * largest)
        for name, norm in recorded.items()
    ]
    encoder = {name: grad for name, grad in dump['backbone_grads'].items() if grad is not None}
    errors = [
        _error(*_without_key_bias(name, ours[f'backbone.{name}'], grad))
        for name, grad in encoder.items()
    ]
    return [
        Row('gradient norms', max(norms), tolerance, len(norms)),
        Row("encoder's gradients", max(errors), tolerance, len(errors)),
    ]


def _compare_step(dump: dict, model: Any, tolerance: float) -> list[Row]:
    """Compare the AdamW step of the encoder, the expert's average and the center."""
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {'params': [p for _, p in named if p.ndim > 1], 'weight_decay': 0.05},
            {'params': [p for _, p in named if p.ndim <= 1], 'weight_decay': 0.0},
        ],
        lr=1e-3,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    optimizer.step()
    model.expert.update(dump['after_step'].get('ema_m', EMA_MOMENTUM))
    model.objectives['csm'].head.update_center()
    student, teacher = revert_release(model.state_dict())
    rows = []
    for label, ours, recorded in (
        ('AdamW step', student, dump['after_step']['student_backbone']),
        ('EMA', teacher, dump['after_step']['teacher_backbone']),
    ):
        errors = []
        for name, value in recorded.items():
            grad = dump['backbone_grads'].get(name)
            ours_value = ours[f'backbone.{name}']
            a, b = _without_key_bias(name, ours_value, value)
            if grad is not None and value.dtype == torch.float32:
                kept = _without_key_bias(name, grad, grad)[0].abs()
                clear = kept > NOISE * kept.max()
                a, b = a[clear], b[clear]
            errors.append(_error(a, b, value))
        rows.append(Row(label, max(errors), tolerance, len(errors)))
    center = model.objectives['csm'].head.center
    rows.append(Row('center', _error(center, dump['center_after']), tolerance))
    return rows


def _relative(ours: float, recorded: float) -> float:
    difference = abs(ours - recorded)
    return difference / abs(recorded) if recorded else difference


def _without_key_bias(name: str, ours: Tensor, recorded: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out the key third of a qkv bias: its gradient is zero in exact arithmetic."""
    if not name.endswith('qkv.bias'):
        return ours, recorded
    query, _, value = ours.chunk(3)
    query_recorded, _, value_recorded = recorded.chunk(3)
    return torch.cat([query, value]), torch.cat([query_recorded, value_recorded])


def _error(ours: Tensor, recorded: Tensor, scale: Tensor | None = None) -> float:
    """max|ours - recorded| / max|scale|, scale being the recorded tensor unless given."""
    if ours.numel() == 0:
        return 0.0
    reference = recorded if scale is None else scale
    return float((ours.detach() - recorded).abs().max() / reference.abs().max())


def _side(patch_size: Any) -> int:
    return int(patch_size if isinstance(patch_size, int) else patch_size[0])


def _cells(images: Tensor, patch: int) -> int:
    return (images.shape[-2] // patch) * (images.shape[-1] // patch)


def print_comparison(rows: list[Row]) -> bool:
    """Print a table; True if everything agrees."""
    for row in rows:
        verdict = 'ok' if row.agrees else 'DIFFERS'
        tensors = f' ({row.count} tensors)' if row.count > 1 else ''
        print(
            f'{row.name + tensors:32s} {row.error:9.2e}  allowed {row.tolerance:.0e}  {verdict}'
        )
    agreed = all(row.agrees for row in rows)
    print('the step agrees with the record' if agreed else 'the step DIFFERS from the record')
    return agreed
