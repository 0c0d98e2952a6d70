"""Checkpoint files: what is read and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from saip.checkpoint import CheckpointError, load_checkpoint_file, parse_config_text
from tests.test_checkpoint.checkpoint_files import CONFIG


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ('touch pwned',)


def test_training_checkpoint_is_read_with_its_log(training: Path) -> None:
    hub = load_checkpoint_file(training)['message_hub']
    assert hub['log_scalars']['train/loss'].data[0].tolist() == [3.0, 2.0]
    assert hub['log_scalars']['train/loss'].mean() == 2.5
    assert hub['runtime_info']['eta'] == 1.5


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='a folder; name the checkpoint file in it'):
        load_checkpoint_file(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'none.pth: no such checkpoint file'):
        load_checkpoint_file(tmp_path / 'none.pth')


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
@pytest.mark.parametrize('damage', ['empty', 'text', 'half'])
def test_damaged_file_is_named_in_one_line(exported: Path, suffix: str, damage: str) -> None:
    path = exported.with_suffix(f'.{suffix}')
    whole = path.read_bytes()
    content = {'empty': b'', 'text': b'no weights here\n', 'half': whole[: len(whole) // 2]}
    path.write_bytes(content[damage])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint_file(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_changed_bytes_of_an_exported_file_are_noticed(exported: Path, suffix: str) -> None:
    path = exported.with_suffix(f'.{suffix}')
    tensors = load_checkpoint_file(path)['state_dict']
    inside = max(tensors.values(), key=torch.Tensor.numel).numpy().tobytes()[:64]
    content = path.read_bytes()
    place = content.index(inside)
    path.write_bytes(content[:place] + bytes(64) + content[place + 64 :])
    with pytest.raises(CheckpointError, match=r'damaged: its tensors are not those'):
        load_checkpoint_file(path)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_in_a_file_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': Evil()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r'evil.pth: refused.*\.system'):
        load_checkpoint_file(path)
    assert not (tmp_path / 'pwned').exists()


class Reach:
    """Asks the unpickler for ``getattr`` of something else than a log statistic."""

    def __reduce__(self) -> tuple:
        return getattr, (HistoryBuffer, '__init__')


def test_getattr_reads_nothing_but_log_statistics(tmp_path: Path) -> None:
    torch.save({'a': Reach()}, tmp_path / 'reach.pth')
    with pytest.raises(CheckpointError, match=r'refused.*getattr'):
        load_checkpoint_file(tmp_path / 'reach.pth')


def test_stored_configuration_is_read_but_never_run() -> None:
    more = {'rates': {'mlm.head': {'lr_mult': 5.0}, 'bias': 2.0}}  # keys that are no names
    text = Config({**CONFIG, **more}).pretty_text + "a = dict(b=-1.5, c={'x y': (1, None)})\n"
    parsed = parse_config_text(text)
    assert parsed['model'] == CONFIG['model']
    assert parsed['rates'] == more['rates']
    assert parsed['a'] == {'b': -1.5, 'c': {'x y': (1, None)}}
    for code in (
        "x = __import__('os')",
        'import os',
        'x = [i for i in y]',
        'x = dict(**y)',
        'x = dict({**y})',
        'x = dict([("a", 1)])',
    ):
        with pytest.raises(CheckpointError, match='line 1'):
            parse_config_text(code)
