"""Draw docs/architecture.svg: the flow of one pretraining step.

python docs/draw_architecture.py
"""

# ruff: noqa: RUF001 - the image shows real multiplication and minus signs

from __future__ import annotations

import os
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 1180, 786
FONT = 'Helvetica, Arial, sans-serif'
HOST, DEVICE, STUDENT, EXPERT, LOSS = '#eef1f5', '#e3f0fb', '#fdebd8', '#e9e4f7', '#e2f3e5'


def box(x: int, y: int, w: int, h: int, fill: str, title: str, *lines: str) -> str:
    """A rounded box with a bold title and smaller lines."""
    parts = [
        f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{fill}" stroke="#444"/>',
        text(x + 12, y + 23, title, 15, 'bold'),
    ]
    parts += [text(x + 12, y + 44 + 19 * i, line, 13) for i, line in enumerate(lines)]
    return '\n'.join(parts)


def text(x: int, y: int, content: str, size: int = 13, weight: str = 'normal') -> str:
    """One line of text."""
    return (
        f'<text x="{x}" y="{y}" font-family="{FONT}" font-size="{size}" font-weight="{weight}" '
        f'fill="#1a1a1a">{escape(content)}</text>'
    )


def arrow(points: str, dashed: bool = False) -> str:
    """A line through ``x,y`` points with a head at its end."""
    style = ' stroke-dasharray="6 5"' if dashed else ''
    return (
        f'<polyline points="{points}" fill="none" stroke="#333" stroke-width="1.7"{style} '
        'marker-end="url(#head)"/>'
    )


def shapes() -> list[str]:
    """All parts of the image, from top to bottom."""
    return [
        text(20, 30, 'One pretraining step', 20, 'bold'),
        # Worker processes.
        box(20, 50, 330, 120, HOST, 'PersonImages   (worker)',
            'folder | list | COCO boxes | LMDB | manifest',
            'decode once, one resize',
            'canvas (3,320,160) uint8, original size,',
            'key = hash of the path'),
        arrow('350,110 408,110'),
        text(356, 100, 'collate', 12),
        box(410, 50, 350, 120, DEVICE, 'ViewsPreprocessor   (device)',
            'view types draw on the host, keyed by',
            '(seed, key, epoch) and (seed, step), and',
            'render views from the canvases; only',
            'views read by an objective'),
        arrow('820,110 762,110', dashed=True),
        box(820, 50, 340, 120, HOST, 'ProgressHook   (before the step)',
            'model.begin_step(progress)',
            'the same plan on any number of processes,',
            'and after a resume'),
        arrow('585,170 585,198'),
        box(20, 200, 1140, 84, DEVICE, 'Views   (n · B, 3, h, w), normalized',
            'anchor 256×128  ·  augmented 256×128  ·  local_crops 6 × 128×64  ·  '
            'multires_0, multires_1: anchor · s, s = .75 … 1.5',
            'masked: augmented · s, 75 % of the patches hidden  ·  '
            'scene 224×224 with a mask per query'),
        # Encoders.
        arrow('300,284 300,328'),
        arrow('880,284 880,328'),
        box(20, 330, 560, 106, STUDENT, 'Student: backbone (BaseEncoder)',
            'every view once, only as deep as it is read; views of one size share a batch',
            'image token after the last block and norm',
            'dense features after block feature_level and dense_norm'),
        box(640, 330, 520, 106, EXPERT, 'Expert: EMAExpert   (no gradient, eval)',
            'averaged copies for objectives and validation',
            'image token of its target views',
            'dense features of the scene'),
        text(24, 322, 'predicting views, queries, masked', 12),
        text(892, 312, 'anchor, augmented, scene', 12),
        # Objectives.
        arrow('120,436 120,488'),
        arrow('300,436 490,488'),
        arrow('480,436 850,488'),
        arrow('760,436 250,488', dashed=True),
        arrow('1000,436 1000,488', dashed=True),
        text(1010, 466, 'scene', 12),
        text(318, 468, 'targets', 12),
        box(20, 490, 350, 110, LOSS, 'csm   cross-scale matching',
            'neck DINOProjector: mlp, l2, prototypes',
            'head SelfDistillationHead: cross-entropy,',
            'running center'),
        box(395, 490, 370, 110, LOSS, 'csr   cross-scale reconstruction',
            'neck CrossScaleDecoder: masked view',
            'queries the anchor',
            'head PixelReconstructionHead: squared error'),
        box(790, 490, 370, 110, LOSS, 'css   cross-scale search',
            'neck InstanceSearchDecoder: a kernel per',
            'query on the scene’s map',
            'head InstanceMaskHead: mask of the query'),
        arrow('195,600 195,638'),
        arrow('520,600 520,638'),
        arrow('975,600 975,619 545,619 545,638'),
        # After the losses.
        box(20, 640, 560, 126, HOST,
            'loss_csm + loss_csr + loss_css  →  backward  →  optimizer step',
            'bfloat16 autocast, accumulation, clipping (optim_wrapper)',
            'losses, learning rate, momentum, teacher entropy → console, JSON, TensorBoard',
            'CollapseHook warns of collapsed features or scores',
            'validation: Rank-1 and mAP, or two-view recall'),
        arrow('580,690 638,690'),
        box(640, 640, 520, 126, EXPERT, 'After the optimizer step',
            'expert ← m · expert + (1 − m) · student, m from .996 to 1',
            'over the run; then the center moves; both skip bad steps',
            'AtomicCheckpointHook: epoch_N.pth, written atomically',
            'ExportBackboneHook: backbones/*.pth, *.safetensors'),
        arrow('1160,690 1172,690 1172,383 1162,383', dashed=True),
    ]  # fmt: skip


def image() -> str:
    """The whole image as SVG."""
    head = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#333"/></marker>'
        '</defs>'
    )
    return '\n'.join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}">',
            head,
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *shapes(),
            '</svg>\n',
        ]
    )


def main() -> None:
    """Write the image beside this file."""
    target = Path(__file__).with_name('architecture.svg')
    partial = target.with_name(target.name + '.partial')
    partial.write_text(image(), encoding='utf-8')
    os.replace(partial, target)


if __name__ == '__main__':
    main()
