"""Fine-tuned models as files, against their own predictions in the libraries."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from saip.deploy import read_programs
from saip.deploy.program import Program
from saip.engine.launch import read_config
from saip.errors import InputError
from saip.registry import MODELS
from tests.tiny import ROOT
from tests.tools import call_tool

from .small import VIT, noise, run_alone

pytest.importorskip('onnx')
pytest.importorskip('onnxscript')
pytest.importorskip('onnxruntime')

CONFIGS = ROOT / 'configs/downstream'
SIZE = (64, 32)
ENCODER = {**VIT, 'out_type': 'image_token'}


def build(cfg: Config) -> Any:
    """A model with random weights, none of which is where a new one has it."""
    torch.manual_seed(2)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmpretrain'):
        model = MODELS.build(cfg.model)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            low = 0.5 if name.endswith('running_var') else -0.3
            tensor.uniform_(low, low + 0.6)
    return model.eval()


def checkpoint(path: Path, cfg: Config, model: nn.Module, **meta: Any) -> Path:
    """Write what mmengine's Runner keeps of a training."""
    stored = {'cfg': cfg.pretty_text, 'epoch': 1, **meta}
    torch.save({'state_dict': model.state_dict(), 'meta': stored}, path)
    return path


def export(monkeypatch, *arguments: object) -> int:
    return call_tool(monkeypatch, 'export_model.py', *arguments)


def for_library(images: np.ndarray) -> torch.Tensor:
    """Images as the loaders of OpenMMLab give them: (B, 3, h, w) uint8, BGR."""
    return torch.from_numpy(images[..., ::-1].transpose(0, 3, 1, 2).copy())


def in_batches(out: Path, images: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """Outputs of six images, in batches of one, two and three."""
    assert len(images) == 6
    found = run_alone(out, {'a': images[:1], 'b': images[1:3], 'c': images[3:]}, folder)
    names = {key.partition(' ')[2] for key in found}
    return {name: np.concatenate([found[f'{key} {name}'] for key in 'abc']) for name in names}


def normalized(cfg: Config, images: np.ndarray) -> torch.Tensor:
    """(B, h, w, 3) uint8 RGB -> (B, 3, h, w) as the model of a configuration takes them."""
    mean, std = (np.array(cfg.model.data_preprocessor[key]) for key in ('mean', 'std'))
    return torch.from_numpy(((images - mean) / std).transpose(0, 3, 1, 2).astype(np.float32))


def classifier_config(name: str, classes: int) -> Config:
    cfg = read_config(str(CONFIGS / name))
    cfg.model.backbone = dict(ENCODER)
    cfg.model.head.update(num_classes=classes, in_channels=48)
    return cfg


def predictions(model: Any, images: np.ndarray) -> list[Any]:
    from mmpretrain.structures import DataSample

    samples = [DataSample() for _ in images]
    with torch.no_grad():
        return model.test_step({'inputs': for_library(images), 'data_samples': samples})


def test_reid_embeddings_are_those_of_the_model(tmp_path, monkeypatch):
    cfg = classifier_config('reid/transreid_market1501.py', 5)
    model = build(cfg)
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, model)
    out = tmp_path / 'reid.onnx'
    assert export(monkeypatch, source, out, '--dynamic-batch') == 0
    images = noise(6)
    found = in_batches(out, images, tmp_path)['feature']
    wanted = torch.stack([sample.feature for sample in predictions(model, images)])
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    (program,) = read_programs(source)
    assert program.input['resize'] == 'bilinear'  # of the test, not of the training


def test_attributes_are_those_of_the_model(tmp_path, monkeypatch):
    cfg = classifier_config('attributes/par_pa100k.py', 3)
    model = build(cfg)
    names = ['hat', 'bag', 'skirt']
    meta = dict(dataset_meta=dict(classes=names))
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, model, **meta)
    (program,) = read_programs(source)
    assert program.about['attributes'] == names
    out = tmp_path / 'attributes.onnx'
    assert export(monkeypatch, source, out, '--size', 96, 32, '--dynamic-batch') == 0
    images = noise(6, (96, 32))
    found = in_batches(out, images, tmp_path)['scores']
    wanted = torch.stack([sample.pred_score for sample in predictions(model, images)])
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_keypoints_are_decoded_as_in_mmpose():
    """Peaks between the cells, at the border, and a heatmap without one."""
    codecs = pytest.importorskip('mmpose.codecs')
    from saip.deploy.tasks.pose import Keypoints

    size, (height, width) = (64, 48), (16, 12)
    places = [(5.3, 7.8), (0.2, 3.0), (11.0, 15.0), (6.5, 0.4)]
    y, x = np.mgrid[:height, :width]
    maps = np.stack(
        [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) * 0.9 for px, py in places]
        + [np.full((height, width), -0.5)]
    ).astype(np.float32)
    codec = codecs.UDPHeatmap(input_size=size[::-1], heatmap_size=(width, height))
    wanted, scores = codec.decode(maps.copy())
    model = SimpleNamespace(head=lambda x: x, extract_feat=lambda x: x)
    network = Keypoints.__new__(Keypoints)
    nn.Module.__init__(network)
    network.model, network.size = model, size
    from saip.deploy.tasks.pose import gaussian

    network.register_buffer('blur', gaussian(11))
    found, found_scores = network(torch.from_numpy(maps)[None])
    np.testing.assert_allclose(found_scores[0], scores[0], rtol=1e-6)
    np.testing.assert_allclose(found[0, :4], wanted[0, :4], atol=1e-2)
    assert found_scores[0, 4] < 0


def test_a_pose_estimator_is_exported_with_its_landmarks(tmp_path, monkeypatch):
    pytest.importorskip('mmpose')
    cfg = read_config(str(CONFIGS / 'pose/vitpose_coco.py'))
    encoder = {**VIT, 'img_size': (64, 48)}
    cfg.model.backbone = encoder
    cfg.model.head.in_channels = 48
    cfg.model.head.deconv_out_channels = (16, 16)
    cfg.model.head.decoder.update(input_size=(48, 64), heatmap_size=(12, 16))
    model = build(cfg)
    images = noise(6, (64, 48))
    with torch.no_grad():
        heatmaps = model.head(model.extract_feat(normalized(cfg, images)))
    for parameter in model.head.final_layer.parameters():
        parameter.data /= heatmaps.max()  # those of a trained model are near 1
    meta = dict(
        dataset_meta=dict(
            keypoint_id2name={0: 'nose', 1: 'left_eye'},
            skeleton_links=[(0, 1)],
            sigmas=np.ones(2, np.float32),
        )
    )
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, model, **meta)
    out = tmp_path / 'pose.onnx'
    assert export(monkeypatch, source, out, '--dynamic-batch') == 0
    (program,) = read_programs(source)
    assert program.about['keypoints'] == ['nose', 'left_eye']
    assert program.about['skeleton'] == [[0, 1]]
    found = in_batches(out, images, tmp_path)
    with torch.no_grad():
        heatmaps = model.head(model.extract_feat(normalized(cfg, images)))
    np.testing.assert_allclose(found['scores'], heatmaps.amax((2, 3)), atol=1e-4)
    decoded = [model.head.decoder.decode(maps.numpy())[0][0] for maps in heatmaps]
    # A flat maximum makes a far step of a small difference in both.
    places = heatmaps.flatten(2).argmax(-1).numpy()
    cells = np.stack([places % 12, places // 12], -1) * np.array([48 / 11, 64 / 15])
    steady = np.abs(np.stack(decoded) - cells).max(-1) < 8
    off = np.abs(found['keypoints'] - np.stack(decoded)).max(-1)
    assert steady.mean() > 0.3
    assert (off[steady] < 0.1).mean() > 0.95


def part_logits(cfg: Config, model: Any, images: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return model.encode_decode(normalized(cfg, images), [{'img_shape': images.shape[1:3]}])


@pytest.mark.slow
def test_parts_are_those_of_the_segmentor(tmp_path, monkeypatch):
    pytest.importorskip('mmseg')
    cfg = read_config(str(CONFIGS / 'part_segmentation/schp_lip.py'))
    size = (96, 64)
    cfg.model.backbone = dict(
        type='saip.FeaturePyramid', encoder={**VIT, 'img_size': size}, strides=(4, 8, 16, 32)
    )
    cfg.model.decode_head.update(
        in_channels=[12, 24, 48, 48],
        channels=8,
        pool_channels=4,
        edge_channels=4,
        detail_channels=6,
        num_classes=4,
        pool_scales=(1, 2),
    )
    cfg.model.test_cfg.flip_pairs = [(1, 2)]
    cfg.model.data_preprocessor.size = size
    model = build(cfg)
    model.averaged.steps.fill_(2)  # the average predicts
    model.cycles = 2
    images = noise(6, (12, 8)).repeat(8, 1).repeat(8, 2)
    last = model.averaged.module.decode_head.conv_seg  # every class the likeliest somewhere
    last.bias.data -= part_logits(cfg, model, images).mean((0, 2, 3))
    source = checkpoint(
        tmp_path / 'epoch_1.pth', cfg, model, dataset_meta=dict(classes=('a', 'b', 'c', 'd'))
    )
    out = tmp_path / 'parts.onnx'
    assert export(monkeypatch, source, out, '--dynamic-batch') == 0
    found = in_batches(out, images, tmp_path)
    logits = part_logits(cfg, model, images)
    assert found['labels'].dtype == np.uint8
    assert (found['labels'] == logits.argmax(1).numpy()).mean() > 0.999
    assert len(np.unique(found['labels'])) > 1
    np.testing.assert_allclose(found['scores'], logits.softmax(1).amax(1), atol=1e-4)


@pytest.mark.slow
def test_persons_are_those_of_crowddet(tmp_path, monkeypatch):
    """After the paired suppression of the example, which has nothing of mmdet's."""
    pytest.importorskip('mmdet')
    import runpy

    from mmdet.structures import DetDataSample

    cfg = read_config(str(CONFIGS / 'detection/crowddet_crowdhuman.py'))
    size = (128, 192)
    cfg.model.backbone.encoder = dict(VIT)
    cfg.model.neck.in_channels = [12, 24, 48, 48]
    cfg.model.data_preprocessor.batch_augments = None
    cfg.model.roi_head.bbox_head.fc_out_channels = 32
    cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=60)
    torch.manual_seed(4)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    for layer in (model.rpn_head.rpn_cls, model.rpn_head.rpn_reg):
        torch.nn.init.normal_(layer.weight, std=0.05)  # boxes and scores that differ
    for name, layer in model.roi_head.bbox_head.named_modules():
        if isinstance(layer, nn.Linear) and ('fc_cls' in name or 'fc_reg' in name):
            torch.nn.init.normal_(layer.weight, std=0.5)
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, model.eval())
    out = tmp_path / 'detector.onnx'
    assert export(monkeypatch, source, out, '--size', *size) == 0
    assert export(monkeypatch, source, tmp_path / 'no.onnx', '--dynamic-batch') == 2
    image = noise(1, (16, 24)).repeat(8, 1).repeat(8, 2)
    found = run_alone(out, {'one': image}, tmp_path)
    (program,) = read_programs(source, size=size)
    suppress = runpy.run_path(str(ROOT / 'examples/persons.py'))['suppress']
    boxes, scores = found['one boxes'][0], found['one scores'][0]
    kept = suppress(boxes, scores, **program.about['suppression'])
    metas = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
    sample = DetDataSample(metainfo=metas)
    with torch.no_grad():
        inputs = [for_library(image)[0]]
        wanted = model.test_step({'inputs': inputs, 'data_samples': [sample]})[0]
    instances = wanted.pred_instances
    order = instances.scores.argsort(descending=True)
    assert len(kept) == len(order) > 10
    np.testing.assert_allclose(
        [scores[place] for place in kept], instances.scores[order], atol=1e-4
    )
    np.testing.assert_allclose(
        [boxes[place] for place in kept], instances.bboxes[order], atol=0.05
    )


def test_text_reid_has_a_file_for_each_side(tmp_path, monkeypatch):
    pytest.importorskip('tokenizers')
    pytest.importorskip('ftfy')
    from mmpretrain.structures import DataSample

    from saip.downstream.text_reid.tokenizer import learn_vocabulary
    from tests.test_downstream.test_text_reid.small import CUHK, TEXT

    cfg = read_config(CUHK, TEXT)
    cfg.model.backbone = dict(VIT)
    cfg.model.head.num_classes = 3
    model = build(cfg)
    captions = ['A man in a red coat', 'A woman with a red bag and a red coat, walking']
    model.tokenizer = learn_vocabulary(captions * 3, 600)
    meta = dict(tokenizer=model.tokenizer.state())
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, model, **meta)
    out = tmp_path / 'text.onnx'
    assert export(monkeypatch, source, out, '--dynamic-batch') == 0
    assert sorted(path.name for path in tmp_path.glob('*.onnx')) == [
        'text-image.onnx',
        'text-text.onnx',
    ]
    images = noise(2)
    samples = [DataSample(captions=[caption]) for caption in captions]
    for sample, caption in zip(samples, captions, strict=True):
        sample.set_field([caption], 'captions')
    with torch.no_grad():
        wanted = model.test_step({'inputs': for_library(images), 'data_samples': samples})
    found = run_alone(tmp_path / 'text-image.onnx', {'two': images}, tmp_path)
    tokens = torch.stack([sample.feature for sample in wanted])
    np.testing.assert_allclose(found['two feature'], tokens, atol=1e-4)
    ids, _ = model.tokenizer.encode(captions, model.text.context)
    found = run_alone(tmp_path / 'text-text.onnx', {'two': ids.numpy()}, tmp_path)
    texts = torch.cat([sample.caption_features for sample in wanted])
    np.testing.assert_allclose(found['two feature'], texts, atol=1e-4)


@pytest.mark.parametrize(
    ('head', 'reason'),
    [
        ('saip.ParsingRoIHead', "human parsing cannot be exported: .*mmcv's RoIAlign"),
        ('saip.KERoIHead', "part attributes cannot be exported: .*mmcv's RoIAlign"),
        ('StandardRoIHead', 'a model of type MaskRCNN is none of the tasks'),
    ],
)
def test_tasks_whose_operators_have_no_onnx_form_are_refused_by_name(head, reason, tmp_path):
    cfg = Config(dict(model=dict(type='mmdet.MaskRCNN', roi_head=dict(type=head))))
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, nn.Linear(2, 2))
    with pytest.raises(InputError, match=f'{re.escape(str(source))}: {reason}'):
        read_programs(source)


def test_another_model_than_the_configuration_is_named(tmp_path):
    cfg = classifier_config('reid/transreid_market1501.py', 5)
    other = build(classifier_config('reid/transreid_market1501.py', 6))
    source = checkpoint(tmp_path / 'epoch_1.pth', cfg, other)
    with pytest.raises(
        InputError, match=r'epoch_1\.pth: .*of another shape.*classifier\.weight'
    ):
        read_programs(source)


def test_a_program_says_what_it_takes():
    program = Program('x', nn.Identity(), {'name': 'images', 'shape': [4, 2, 3]}, ())
    assert program.size == (4, 2)
