"""Every downstream task on small synthetic persons: untrained, from random weights, pretrained.

    python tools/dataset_converters/make_people.py data/small --size small --datasets market1501 \
        cuhk_pedes pa100k coco lip crowdhuman cihp fashionpedia humanart ap10k imagenet
    python benchmarks/bench_tasks.py data/small FOUR_BLOCKS.pth --tasks reid text parts parsing \
        detection garments
    python benchmarks/bench_tasks.py data/small STARNET.pth --encoder starnet-s3 \
        --tasks attributes classes pose wholebody humanart ap10k

The shipped configurations train for minutes on a CPU, with small images, few epochs and AdamW's
usual rate; the functions below say what else is not theirs. A plain ViT needs more than minutes for
what depends on positions. Two jobs run beside each other, a thread each; every start has the same
seeds.
The figures show that a task learns and whether pretraining helps it in such a short time; they say
nothing about the method on real data.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Before torch is imported: two trainings share the cores.
os.environ['OMP_NUM_THREADS'] = '1'

import torch
from machine import machine
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from saip.datasets.files import write_atomic
from saip.engine import launch
from saip.experiments.table import align
from saip.visualization.curves import read_last_validation

ROOT = Path(__file__).resolve().parents[1]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
UNTRAINED, RANDOM, PRETRAINED = STARTS = ('untrained', 'random', 'pretrained')


@dataclass(frozen=True)
class Task:
    """A short training.

    Attributes:
        config: below ``configs/downstream``.
        metric: of the validation.
        epochs: of the training.
        batch: images, or people, in a step.
        rate: learning rate of AdamW.
        options: from the configuration to what makes the images small.
    """

    config: str
    metric: str
    epochs: int
    batch: int
    rate: float
    options: Callable[[Config], dict[str, Any]]


def crops(cfg: Config) -> dict[str, Any]:
    """Person crops of 128x64."""
    options: dict[str, Any] = {'model.backbone.img_size': (128, 64)}
    for loader in LOADERS:
        for index, step in enumerate(cfg[loader].dataset.pipeline):
            place = f'{loader}.dataset.pipeline.{index}'
            if step.type == 'Resize':
                options[f'{place}.scale'] = (64, 128)
            if step.type == 'RandomCrop':
                options[f'{place}.crop_size'] = (128, 64)
    return options


def classes(cfg: Config) -> dict[str, Any]:
    """Animals of eight classes in 64x64, without labels that are mixed."""
    options: dict[str, Any] = {
        'model.backbone.img_size': (64, 64),
        'model.head.num_classes': 8,
        'model.data_preprocessor.num_classes': 8,
        'model.train_cfg': None,
        'train_dataloader.dataset.pipeline.1.scale': 64,
        'optim_wrapper.accumulative_counts': 1,
        'optim_wrapper.paramwise_cfg.layer_decay_rate': 1.0,  # random weights learn, too
    }
    for loader in LOADERS[1:]:
        options[f'{loader}.dataset.pipeline.1.scale'] = 73
        options[f'{loader}.dataset.pipeline.2.crop_size'] = (64, 64)
    return options


def identities(cfg: Config) -> dict[str, Any]:
    """The crops of 120 people."""
    return {**crops(cfg), 'model.head.num_classes': 120}


def described(cfg: Config) -> dict[str, Any]:
    """The crops of 200 people with captions, a text transformer of two narrow layers."""
    sizes = {'dims': 64, 'vocab_size': 1024, 'heads': 2}
    text = {**sizes, 'width': 64, 'layers': 2, 'context': 40}
    head = {**sizes, 'num_classes': 200, 'layers': 1}
    return {
        **crops(cfg),
        **{f'model.text.{key}': value for key, value in text.items()},
        **{f'model.head.{key}': value for key, value in head.items()},
    }


def poses(cfg: Config) -> dict[str, Any]:
    """Half of the width and of the height, a narrow head, nobody turned or cut in half."""
    width, height = (side // 2 for side in cfg.model.head.decoder.input_size)
    codec = {'input_size': (width, height), 'heatmap_size': (width // 4, height // 4)}
    deconvolutions = len(cfg.model.head.deconv_out_channels)
    options: dict[str, Any] = {
        'model.backbone.img_size': (height, width),
        'model.head.deconv_out_channels': (128,) * deconvolutions,
        'optim_wrapper.paramwise_cfg.layer_decay_rate': 1.0,  # random weights learn, too
    }
    options |= {f'model.head.decoder.{key}': value for key, value in codec.items()}
    for loader in LOADERS:
        # So few steps do not suffice for people in every direction.
        steps = cfg[loader].dataset.pipeline
        pipeline = [step.to_dict() for step in steps if step.type != 'RandomHalfBody']
        for step in pipeline:
            if step['type'] == 'RandomBBoxTransform':
                step['rotate_prob'] = 0.0
            if step['type'] == 'TopdownAffine':
                step['input_size'] = codec['input_size']
            if step['type'] == 'GenerateTarget':
                step['encoder'] |= codec
        options[f'{loader}.dataset.pipeline'] = pipeline
    return options


def parts(cfg: Config) -> dict[str, Any]:
    """128x128, a narrow head; the weights are averaged at three ends."""
    size = (128, 128)
    options: dict[str, Any] = {
        'model.data_preprocessor.size': size,
        'model.backbone.encoder.img_size': size,
        'model.decode_head.channels': 64,
        'model.decode_head.pool_channels': 64,
        'model.decode_head.edge_channels': 32,
        'custom_hooks.0.epochs': [6, 8, 10],
    }
    for loader in LOADERS:
        for index, step in enumerate(cfg[loader].dataset.pipeline):
            if step.type == 'saip.PersonAffine':
                options[f'{loader}.dataset.pipeline.{index}.size'] = size
    return options


def crowds(cfg: Config) -> dict[str, Any]:
    """192x128, a narrow neck and heads, fewer proposals."""
    options: dict[str, Any] = {
        'model.data_preprocessor.batch_augments.0.scale': (192, 128),
        'model.neck.out_channels': 64,
        'model.rpn_head.in_channels': 64,
        'model.rpn_head.feat_channels': 64,
        'model.roi_head.bbox_roi_extractor.out_channels': 64,
        'model.roi_head.bbox_head.in_channels': 64,
        'model.roi_head.bbox_head.fc_out_channels': 256,
        'model.train_cfg.rpn_proposal.max_per_img': 300,
        'model.train_cfg.rcnn.sampler.num': 128,
        'model.test_cfg.rpn.max_per_img': 200,
    }
    for loader in LOADERS[1:]:
        options[f'{loader}.dataset.pipeline.1.scale'] = (192, 128)
    return options


def parsed(cfg: Config) -> dict[str, Any]:
    """192x144, a narrow neck and heads, maps of half the side, fewer proposals."""
    scale, width = (192, 144), 64
    options: dict[str, Any] = {
        'model.neck.out_channels': width,
        'model.rpn_head.in_channels': width,
        'model.rpn_head.feat_channels': width,
        'model.roi_head.bbox_roi_extractor.out_channels': width,
        'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.roi_head.bbox_head.in_channels': width,
        'model.roi_head.bbox_head.fc_out_channels': 256,
        'model.roi_head.mask_roi_extractor.out_channels': width,
        'model.roi_head.mask_roi_extractor.roi_layer.output_size': 16,
        'model.roi_head.mask_head.in_channels': width,
        'model.roi_head.mask_head.branch_channels': 32,
        'model.roi_head.mask_head.channels': 64,
        'model.roi_head.mask_head.dilations': (3, 6, 9),
        'model.roi_head.mask_head.num_convs': 2,
        'model.roi_head.max_parsed': 6,
        'model.train_cfg.rpn_proposal.max_per_img': 200,
        'model.train_cfg.rcnn.sampler.num': 64,
        'model.test_cfg.rpn.max_per_img': 100,
        'model.test_cfg.rcnn.max_per_img': 20,
        'train_dataloader.dataset.pipeline.2.scales': [scale],
        'optim_wrapper.paramwise_cfg': {'_delete_': True},  # random weights learn, too
    }
    for loader in LOADERS[1:]:
        options[f'{loader}.dataset.pipeline.1.scale'] = scale
    return options


def garments(cfg: Config) -> dict[str, Any]:
    """160x160, a narrow neck and heads, fewer proposals."""
    scale, width = (160, 160), 64
    options: dict[str, Any] = {
        'model.neck.out_channels': width,
        'model.rpn_head.in_channels': width,
        'model.rpn_head.feat_channels': width,
        'model.roi_head.bbox_roi_extractor.out_channels': width,
        'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.roi_head.bbox_head.in_channels': width,
        'model.roi_head.bbox_head.conv_out_channels': width,
        'model.roi_head.bbox_head.fc_out_channels': 256,
        'model.roi_head.mask_roi_extractor.out_channels': width,
        'model.roi_head.mask_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.roi_head.mask_head.in_channels': width,
        'model.roi_head.mask_head.conv_out_channels': width,
        'model.roi_head.mask_head.num_convs': 2,
        'model.roi_head.human_roi_extractor.out_channels': width,
        'model.roi_head.human_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.roi_head.attribute_head.in_channels': width,
        'model.roi_head.attribute_head.class_channels': 256,
        'model.roi_head.attribute_head.channels': 64,
        'model.roi_head.attribute_head.hidden': 128,
        'model.roi_head.attribute_head.heads': 4,
        'model.roi_head.attribute_head.layers': 1,
        'model.roi_head.attribute_head.dropout': 0.0,
        'model.roi_head.max_garments': 4,
        'model.train_cfg.rpn_proposal.max_per_img': 200,
        'model.train_cfg.rcnn.sampler.num': 48,
        'model.test_cfg.rpn.max_per_img': 100,
        'model.test_cfg.rcnn.max_per_img': 20,
        'train_dataloader.dataset.pipeline.2.scale': scale,
        'train_dataloader.dataset.pipeline.2.ratio_range': (1.0, 1.0),
    }
    for loader in LOADERS[1:]:
        options[f'{loader}.dataset.pipeline.1.scale'] = scale
    return options


def scenes(cfg: Config) -> dict[str, Any]:
    """96x96, narrow heads."""
    size = (96, 96)
    options: dict[str, Any] = {
        'model.data_preprocessor.size': size,
        'model.backbone.encoder.img_size': size,
        'model.decode_head.channels': 64,
        'model.auxiliary_head.channels': 32,
        'model.test_cfg.crop_size': size,
        'model.test_cfg.stride': (64, 64),
        'train_dataloader.dataset.pipeline.2.scale': (384, 96),
        'train_dataloader.dataset.pipeline.2.ratio_range': (1.0, 1.5),
        'train_dataloader.dataset.pipeline.3.crop_size': size,
        'optim_wrapper.paramwise_cfg.layer_decay_rate': 1.0,  # random weights learn, too
    }
    for loader in LOADERS[1:]:
        options[f'{loader}.dataset.pipeline.1.scale'] = (384, 96)
    return options


def objects(cfg: Config) -> dict[str, Any]:
    """192x144, a narrow neck and heads, fewer proposals, no crops."""
    scale, width = (192, 144), 64
    resized = {'type': 'RandomChoiceResize', 'scales': [scale], 'keep_ratio': True}
    options: dict[str, Any] = {
        'model.backbone.encoder.img_size': (144, 192),
        'model.neck.out_channels': width,
        'model.rpn_head.in_channels': width,
        'model.rpn_head.feat_channels': width,
        'model.roi_head.bbox_roi_extractor.out_channels': width,
        'model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.roi_head.bbox_head.in_channels': width,
        'model.roi_head.bbox_head.conv_out_channels': width,
        'model.roi_head.bbox_head.fc_out_channels': 256,
        'model.roi_head.mask_roi_extractor.out_channels': width,
        'model.roi_head.mask_roi_extractor.roi_layer.sampling_ratio': 2,
        'model.roi_head.mask_head.in_channels': width,
        'model.roi_head.mask_head.conv_out_channels': width,
        'model.roi_head.mask_head.num_convs': 2,
        'model.train_cfg.rpn_proposal.max_per_img': 200,
        'model.train_cfg.rcnn.sampler.num': 64,
        'model.test_cfg.rpn.max_per_img': 100,
        'model.test_cfg.rcnn.max_per_img': 20,
        'train_dataloader.dataset.pipeline.3.transforms': [[resized]],
        'optim_wrapper.paramwise_cfg.layer_decay_rate': 1.0,
    }
    for loader in LOADERS[1:]:
        options[f'{loader}.dataset.pipeline.1.scale'] = scale
    return options


TASKS = {
    'reid': Task('reid/transreid_market1501', 'reid/mAP', 16, 64, 5e-4, identities),
    'text': Task('text_reid/irra_cuhk-pedes', 'text_reid/Rank-1', 12, 32, 5e-4, described),
    'attributes': Task('attributes/par_pa100k', 'attributes/mA', 24, 32, 1e-3, crops),
    'classes': Task('classification/finetune_imagenet', 'accuracy/top1', 12, 32, 1e-3, classes),
    'pose': Task('pose/vitpose_coco', 'coco/AP', 16, 8, 1e-3, poses),
    'wholebody': Task('pose/vitpose_wholebody', 'coco-wholebody/AP', 32, 8, 2e-3, poses),
    'humanart': Task('pose/vitpose_humanart', 'coco/AP', 16, 8, 1e-3, poses),
    'ap10k': Task('pose/vitpose_ap10k', 'coco/AP', 16, 8, 1e-3, poses),
    'parts': Task('part_segmentation/schp_lip', 'mIoU', 10, 8, 1e-3, parts),
    'parsing': Task('human_parsing/parsing-rcnn_cihp', 'parsing/mIoU', 5, 4, 1e-3, parsed),
    'garments': Task(
        'part_attributes/ke-rcnn_fashionpedia', 'fashionpedia/segm_AP', 12, 4, 1e-3, garments
    ),
    'detection': Task('detection/crowddet_crowdhuman', 'crowd_human/mAP', 6, 4, 5e-4, crowds),
    'scenes': Task('semantic_segmentation/upernet_ade20k', 'mIoU', 10, 8, 1e-3, scenes),
    'objects': Task(
        'instance_segmentation/mask-rcnn_coco', 'coco/segm_mAP', 6, 4, 1e-3, objects
    ),
}


def options_of(task: Task, cfg: Config) -> dict[str, Any]:
    """What turns the shipped configuration into a training of minutes in one process."""
    options = {
        'train_dataloader.batch_size': task.batch,
        'train_cfg.max_epochs': task.epochs,
        'train_cfg.val_interval': task.epochs,
        'optim_wrapper.optimizer': {
            '_delete_': True,
            'type': 'AdamW',
            'lr': task.rate,
            'weight_decay': 0.05,
        },
        'param_scheduler': [
            {
                'type': 'LinearLR',
                'start_factor': 0.01,
                'by_epoch': False,
                'begin': 0,
                'end': 20,
            },
            {
                'type': 'CosineAnnealingLR',
                'T_max': task.epochs,
                'eta_min_ratio': 0.01,
                'convert_to_iter_based': True,
            },
        ],
        'default_hooks.checkpoint.interval': task.epochs,
        'default_hooks.checkpoint.save_best': None,
        'default_hooks.logger.interval': 10,
        'visualizer.vis_backends': [{'type': 'LocalVisBackend'}],
        **task.options(cfg),
    }
    for loader in LOADERS:
        options |= {
            f'{loader}.num_workers': 0,
            f'{loader}.persistent_workers': False,
            f'{loader}.pin_memory': False,
        }
    return options


def run(
    name: str,
    data: str,
    encoder: str,
    weights: str | None,
    seed: int,
    epochs: int | None,
    out: str,
) -> dict[str, float]:
    """One training of the table, in a process of its own.

    Args:
        name: of the task.
        data: folder of the sets.
        encoder: of ``configs/_base_/backbones``.
        weights: an exported file, ``none`` for random weights, None for no training.
        seed: of weights and order.
        epochs: of the training, None for the task's own number.
        out: folder for the logs.
    """
    torch.set_num_threads(1)
    os.environ |= {
        'SAIP_DATA': data,
        'SAIP_BACKBONE': encoder,
        'SAIP_INIT': weights or 'none',
        'SAIP_SCHEDULE': '1',
    }
    task = TASKS[name]
    task = replace(task, epochs=epochs or task.epochs)
    config = str(ROOT / f'configs/downstream/{task.config}.py')
    options = {**options_of(task, launch.read_config(config)), 'randomness.seed': seed}
    started = time.monotonic()
    if weights is None:
        cfg = launch.read_config(config, options, out)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            runner = Runner.from_cfg(cfg)
            runner.model.init_weights()
            metrics = runner.val()
    else:
        launch.train(config, work_dir=out, options=options)
        metrics = read_last_validation(out)[1]
    metrics = {key: float(value) for key, value in metrics.items()}
    return {**metrics, 'minutes': round((time.monotonic() - started) / 60, 2)}


def spread(values: list[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f'{statistics.mean(values):.3f}'
    return mean if len(values) == 1 else f'{mean} ± {statistics.stdev(values):.3f}'


def main() -> int:
    """Train, print the table, keep all metrics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', help='folder of make_people.py with the sets')
    parser.add_argument('weights', help='exported backbone')
    parser.add_argument('--encoder', default='vit-4blocks-p16')
    parser.add_argument('--tasks', nargs='+', choices=TASKS, default=list(TASKS))
    parser.add_argument('--starts', nargs='+', choices=STARTS, default=list(STARTS))
    parser.add_argument('--seeds', type=int, default=1, help='how many trainings of each start')
    parser.add_argument('--epochs', type=int, help="instead of each task's own number")
    parser.add_argument('--jobs', type=int, default=2, help='trainings beside each other')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/tasks'))
    args = parser.parse_args()
    used = [name for name in args.tasks if (args.out / name).exists()]
    if used:
        parser.error(f'{args.out / used[0]}: an earlier run; name another folder with --out')
    weights = {UNTRAINED: None, RANDOM: 'none', PRETRAINED: args.weights}
    rows: dict[str, dict[str, list[dict[str, float]]]] = {}
    spawn = multiprocessing.get_context('spawn')
    with spawn.Pool(args.jobs, maxtasksperchild=1) as pool:
        waiting = {
            (name, start, seed): pool.apply_async(
                run,
                (
                    name,
                    args.data,
                    args.encoder,
                    weights[start],
                    seed,
                    args.epochs,
                    f'{args.out}/{name}/{start}/{seed}',
                ),
            )
            for name in args.tasks
            for seed in range(args.seeds)
            for start in args.starts
        }
        for (name, start, seed), result in waiting.items():
            found = result.get()
            rows.setdefault(name, {}).setdefault(start, []).append(found)
            print(name, start, 'seed', seed, found, file=sys.stderr, flush=True)
            record = {'machine': machine(), 'weights': args.weights, 'rows': rows}
            text = json.dumps({**record, 'encoder': args.encoder}, indent=2)
            write_atomic(args.out / 'tasks.json', f'{text}\n'.encode())
    table = [['task', 'metric', *args.starts]]
    for name, starts in rows.items():
        metric = TASKS[name].metric
        cells = (spread([run[metric] for run in starts[start]]) for start in args.starts)
        table.append([name, metric, *cells])
    print(align(table))
    return 0


if __name__ == '__main__':
    sys.exit(main())
