"""Files of CLIP, converted: OpenAI's archive without running it, and open_clip's state dicts."""

import pickle
import warnings
import zipfile
from copy import deepcopy
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from saip.checkpoint import CheckpointError, load_checkpoint_file
from saip.downstream.text_reid import CLIPTextTransformer
from saip.downstream.text_reid.clip_weights import convert_clip_text
from saip.downstream.text_reid.torchscript import is_torchscript, read_torchscript
from tests.tools import call_tool

theirs = pytest.importorskip('open_clip.model')

TOOL = 'model_converters/clip_text_to_saip.py'
IDS = torch.tensor([[48, 3, 9, 49, 0, 0], [48, 7, 1, 2, 30, 49]])


@pytest.fixture(scope='module')
def clip() -> nn.Module:
    """A small CLIP of open_clip with random weights, as OpenAI's in half precision."""
    torch.manual_seed(3)
    vision = theirs.CLIPVisionCfg(
        layers=1, width=32, head_width=16, patch_size=16, image_size=32
    )
    text = theirs.CLIPTextCfg(context_length=6, vocab_size=50, width=128, heads=2, layers=2)
    model = theirs.CLIP(24, vision, text, quick_gelu=True).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.half().float()  # values that half precision holds


@pytest.fixture(scope='module')
def archive(clip, tmp_path_factory) -> Path:
    """What ``torch.jit.save`` writes of it, in half precision."""
    path = tmp_path_factory.mktemp('clip') / 'ViT-tiny.pt'
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of the tracer
        traced = torch.jit.trace_module(deepcopy(clip), {'encode_text': IDS}, check_trace=False)
        for parameter in traced.parameters():
            parameter.data = parameter.data.half()
        traced.save(str(path))
    return path


def features(path: str | Path, clip: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the converted file, and open_clip's."""
    stored = load_checkpoint_file(path)['meta']['architecture']
    options = {key: value for key, value in stored.items() if key != 'type'}
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    text = CLIPTextTransformer(**options, init_cfg=init_cfg).eval()
    text.init_weights()
    with torch.no_grad():
        return text(IDS)[torch.arange(2), IDS.argmax(1)], clip.encode_text(IDS)


def test_the_archive_of_openai_is_read_and_not_run(archive, clip, tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError('the archive was run')

    assert is_torchscript(archive)
    expected = torch.jit.load(str(archive)).state_dict()
    monkeypatch.setattr(torch.jit, 'load', refused)
    monkeypatch.setattr(torch, 'load', refused)
    found = read_torchscript(archive)
    assert expected.keys() <= found.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    assert found['transformer.resblocks.1.mlp.c_fc.weight'].dtype == torch.float16
    monkeypatch.undo()
    conversion = convert_clip_text(archive, tmp_path / 'text.safetensors', 'quick_gelu')
    assert conversion.tensors == 12 * 2 + 5
    assert any(key.startswith('visual.') for key in conversion.dropped)
    found, wanted = features(tmp_path / 'text.safetensors', clip)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('kind', ['bare.pth', 'wrapped.pth', 'open_clip_model.safetensors'])
def test_state_dicts_of_open_clip(clip, tmp_path, monkeypatch, capsys, kind):
    source, target = tmp_path / kind, tmp_path / 'text.pth'
    weights = clip.state_dict()
    if kind.endswith('.safetensors'):
        safetensors.torch.save_file(weights, source)
    elif kind == 'bare.pth':
        torch.save(weights, source)
    else:
        torch.save({'state_dict': {f'module.{k}': v for k, v in weights.items()}}, source)
    arguments = (source, target, '--activation', 'quick_gelu')
    assert call_tool(monkeypatch, TOOL, *arguments) == 0
    said = capsys.readouterr().out
    assert 'dropped: ' in said
    assert 'model.text: width=128, layers=2, heads=2, context=6, vocab_size=50, dims=24' in said
    found, wanted = features(target, clip)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_the_activation_has_to_be_said(tmp_path, monkeypatch, capsys):
    assert call_tool(monkeypatch, TOOL, tmp_path / 'a.pt', tmp_path / 'b.pth') == 2
    assert '--activation' in capsys.readouterr().err


class Runs:
    """A pickle of it writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('model/code/__torch__.py', 'class Model: pass')
        archive.writestr('model/data.pkl', content)
    return path


def test_an_archive_that_would_run_something_is_refused(tmp_path):
    trace = tmp_path / 'ran'
    content = pickle.dumps(Runs(trace), protocol=2)
    pickle.loads(content)
    assert trace.exists()  # so it would
    trace.unlink()
    path = write_archive(tmp_path / 'bad.pt', content)
    with pytest.raises(
        CheckpointError, match=r'bad\.pt: refused, because reading it would run'
    ):
        convert_clip_text(path, tmp_path / 'text.pth', 'quick_gelu')
    assert not trace.exists()
    assert not (tmp_path / 'text.pth').exists()


def test_other_files_are_refused(clip, archive, tmp_path):
    target = tmp_path / 'text.pth'
    with pytest.raises(CheckpointError, match=r'cut\.pt: damaged, or no archive of a model'):
        read_torchscript(write_archive(tmp_path / 'cut.pt', b'\x80\x02}('))
    torch.save({'fc.weight': torch.zeros(2, 2)}, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='no text transformer of CLIP: token_embedding'):
        convert_clip_text(tmp_path / 'other.pth', target, 'gelu')
    weights = {k: v for k, v in clip.state_dict().items() if not k.endswith('ln_final.bias')}
    torch.save(
        {**weights, 'transformer.resblocks.1.more': torch.zeros(1)}, tmp_path / 'part.pth'
    )
    with pytest.raises(
        CheckpointError,
        match=r'1 missing, such as norm\.bias; 1 without a place, such as transformer\.resb',
    ):
        convert_clip_text(tmp_path / 'part.pth', target, 'gelu')
    assert not target.exists()
