"""What the rows of the paper's tables begin with: pretrained, published or random weights."""

from __future__ import annotations

from dataclasses import dataclass

ENCODERS = {
    'vit-tiny-p16': 'ViT-Tiny',
    'starnet-s3': 'StarNet-S3',
    'tinyvit-5m': 'TinyViT-5M',
    'edgenext-s': 'EdgeNeXt-S',
    'cspnext-s': 'CSPNeXt-S',
    'resnet18': 'ResNet-18',
}
"""Fragments of ``configs/_base_/backbones`` and the paper's names."""


@dataclass(frozen=True)
class Published:
    """Published weights, trained with labels, and how they become a file of ours.

    Attributes:
        name: in the library that has them; for timm model and tag.
        url: where they are.
        labels: that they were trained with.
        converter: in ``tools/model_converters``.
        arguments: of the converter, after the file and its target.
        open: what the paper leaves open, or ''.
    """

    name: str
    url: str
    labels: str
    converter: str
    arguments: tuple[str, ...]
    open: str = ''


@dataclass(frozen=True)
class Weights:
    """What a row's fine-tunings begin with.

    Attributes:
        name: of its folder.
        encoder: a fragment.
        pretraining: configuration below ``configs/pretrain``; '' without one.
        options: of the pretraining, ``KEY=VALUE``.
        published: in place of a pretraining.
        data: folders of the pretraining below SAIP_DATA.
        variable: that names a file for it, the file where it is not set, or '', and what makes
            that file.
        layer_scale: of the encoder, SAIP_LAYER_SCALE of its fine-tunings; '' without.
    """

    name: str
    encoder: str
    pretraining: str = ''
    options: tuple[str, ...] = ()
    published: Published | None = None
    data: tuple[str, ...] = ()
    variable: tuple[str, str, str] | None = None
    layer_scale: str = ''


def _timm(
    name: str, labels: str = 'ImageNet-1k, 1.28M images', left_open: str = ''
) -> Published:
    return Published(
        name,
        f'https://huggingface.co/timm/{name}',
        labels,
        'timm_to_saip.py',
        ('--model', name),
        left_open,
    )


PUBLISHED = {
    'vit-tiny-p16': _timm(
        'deit_tiny_patch16_224.fb_in1k',
        left_open='The paper cites ViT, whose authors have no tiny one, and says IN1K: DeiT-Tiny '
        'without distillation is the published ViT-Tiny of ImageNet-1k alone; the tiny ViT of '
        '"How to train your ViT" saw ImageNet-21k first.',
    ),
    'starnet-s3': _timm('starnet_s3.in1k'),
    'tinyvit-5m': _timm(
        'tiny_vit_5m_224.in1k',
        left_open='The paper says IN1K. TinyViT is best known by weights that were distilled on '
        'ImageNet-22k (tiny_vit_5m_224.dist_in22k_ft_in1k); these were neither distilled nor '
        'shown 22k.',
    ),
    'edgenext-s': _timm(
        'edgenext_small.usi_in1k',
        labels='ImageNet-1k, 1.28M images, and a teacher (USI, distilled)',
        left_open='The authors of EdgeNeXt-S publish weights without a teacher (79.4 % on '
        'ImageNet), which timm does not have, and these with USI (81.1 %). The paper does not say '
        'which.',
    ),
    'cspnext-s': Published(
        'cspnext-s_udp_8xb256-210e_aic-coco-256x192',
        'https://download.openmmlab.com/mmpose/v1/projects/rtmposev1/'
        'cspnext-s_udp-aic-coco_210e-256x192-92f5a029_20230130.pth',
        'poses of AIC and COCO, 0.5M people',
        'openmmlab_to_saip.py',
        ('--backbone', 'configs/_base_/backbones/cspnext-s.py'),
        'The paper says AIC+COCO: the file from which RTMPose-S begins, and not a detector.',
    ),
    'resnet18': _timm(
        'resnet18.tv_in1k',
        left_open="The paper does not say which of the many; this is torchvision's.",
    ),
}  # fmt: skip
"""Supervised weights by fragment."""

LABELED = {name: 'AIC+COCO' if name == 'cspnext-s' else 'IN1K' for name in PUBLISHED}
"""The paper's word for what they were trained on."""

_FOLDERS = {
    'DINO': 'dino',
    'MAE': 'mae',
    'MAE+DINO': 'mae-dino',
    'HAP': 'hap',
    'SOLIDER': 'solider',
    'SAIP': 'saip',
    'SAIP*': 'saip-star',
}
_FILES = {
    'HAP': (
        'SAIP_KEYPOINTS',
        '',
        'python tools/dataset_converters/make_keypoints.py model POSE_CONFIG pose.pth '
        '{data}/LUP1M lup1m.npz; export SAIP_KEYPOINTS=lup1m.npz (docs/data.md#keypoints)',
    ),
    'SAIP*': (
        'SAIP_EXPERT',
        'data/experts/path_vit-base-p16.pth',  # as configs/pretrain/_base_/experts has it
        'python tools/model_converters/path_to_saip.py RELEASED.pth '
        'data/experts/path_vit-base-p16.pth',
    ),
}
_TOKENIZER = (
    'SAIP_TOKENIZER',
    'data/tokenizers/tokenizer.pth',  # as configs/pretrain/_base_/methods has it
    'python tools/model_converters/dalle_to_saip.py encoder.pkl data/tokenizers/dalle.pth; export '
    'SAIP_TOKENIZER=data/tokenizers/dalle.pth (docs/cae.md#targets)',
)
_OBJECTIVES = ('csm', 'csr', 'css')


def supervised(encoder: str) -> Weights:
    """Published weights of an encoder, trained with labels."""
    return Weights(f'supervised_{encoder}', encoder, published=PUBLISHED[encoder])


def pretrained(method: str, encoder: str, data: tuple[str, ...] = ('LUP1M',)) -> Weights:
    """A pretraining by the common recipe of the paper.

    Args:
        method: as in the paper's tables.
        encoder: fragment.
        data: folders of the images.
    """
    short = _FOLDERS[method]
    sets = '-'.join(name.lower() for name in data)
    recipe = '' if method.startswith('SAIP') else '-saip-recipe'
    name = f'{short}_{encoder}_8xb256-amp-coslr-300e{recipe}_{sets}'
    folder = 'saip' if method.startswith('SAIP') else short
    return Weights(
        f'{short}_{encoder}_{sets}',
        encoder,
        f'{folder}/{name}.py',
        data=data,
        variable=_FILES.get(method),
    )


def ablated(*objectives: str) -> Weights:
    """SAIP's ViT-Tiny with some of its objectives."""
    whole = pretrained('SAIP', 'vit-tiny-p16')
    left_out = [name for name in _OBJECTIVES if name not in objectives]
    return Weights(
        f'{"-".join(objectives)}_{whole.name}' if left_out else whole.name,
        whole.encoder,
        whole.pretraining,
        tuple(f'model.objectives.{name}=None' for name in left_out),
        data=whole.data,
    )


def of_imagenet(method: str, size: str, epochs: int) -> Weights:
    """A pretraining on ImageNet of the table of CAE's README.

    Args:
        method: ``MAE`` or ``CAE``.
        size: of the ViT, ``base`` or ``large``.
        epochs: of the pretraining.
    """
    encoder = f'vit-{size}-p16'
    if method == 'MAE':
        config = f'mae/mae_{encoder}_8xb512-amp-coslr-{epochs}e_in1k.py'
        return Weights(f'mae_{encoder}_{epochs}e_in1k', encoder, config, data=('IN1K',))
    return Weights(
        f'cae_{encoder}_{epochs}e_in1k',
        encoder,
        f'cae/cae-dalle_{encoder}_8xb256-amp-coslr-{epochs}e_in1k.py',
        data=('IN1K',),
        variable=_TOKENIZER,
        layer_scale='1e-5' if size == 'large' else '0.1',
    )


def from_scratch(encoder: str) -> Weights:
    """Random weights."""
    return Weights(f'none_{encoder}', encoder)
