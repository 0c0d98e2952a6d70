"""Commands of README and docs: tools, options, values, configs and make targets exist."""

import argparse
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmengine.config import Config

from saip.checkpoint import export_backbone
from saip.engine.launch import read_config
from saip.registry import MODELS
from tests.tiny import ROOT

DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])
ASSIGNMENT = re.compile(r'(\w+)=(\S*)')
# Positional arguments of a script before those that it hands on, and the place of the config.
SCRIPTS = {
    'dist_train.sh': (2, 0),
    'dist_test.sh': (3, 0),
    'dist_finetune.sh': (4, 0),
    'slurm_train.sh': (4, 2),
    'slurm_test.sh': (4, 2),
}
OTHERS = {
    'git': 'fetches the repository',
    '.': 'activates the environment',
    'export': 'sets a variable',
    'mkdir': 'makes a folder',
    'pip': 'installs packages',
    'for': 'begins a loop',
    'done': 'ends it',
    'train()': 'defines a function, whose options tests/test_docs.py checks',
    'train': 'calls it',
    'mim': 'starts configs by name; tests/test_packaging.py runs it',
    'python -m pytest': 'runs a test of this project',
}
"""What is not tried here, and why."""


class Parsed(Exception):  # noqa: N818, it is no error
    """A tool has read its command line."""


def commands_of(document: Path) -> Iterator[list[str]]:
    """Words of every command, variables of the same block put in, without comments."""
    for block in re.findall(r'```bash\n(.*?)```', document.read_text(), re.DOTALL):
        variables = {}
        for line in re.sub(r'\\\n\s*', ' ', block).splitlines():
            for name, value in variables.items():
                line = re.sub(rf'\${name}\b', value, line)
            line = re.sub(r'\$\(ls ([^)]*)\)', r'\1', line)
            words = shlex.split(re.sub(r'[][]', '', line), comments=True)
            while words and (found := ASSIGNMENT.fullmatch(words[0])):
                variables[found[1]] = found[2]
                words = words[1:]
            if words and not words[0].startswith('--'):  # an option to add to another command
                yield words


COMMANDS = [
    pytest.param(words, id=f'{document.stem}: {" ".join(words)[:70]}')
    for document in DOCUMENTS
    for words in commands_of(document)
]


def parse(monkeypatch, tool: Path, arguments: list[str]) -> argparse.Namespace:
    """Read a command line as the tool does; its own main runs up to there."""
    original = argparse.ArgumentParser.parse_args

    def parse_args(self, args=None, namespace=None):
        raise Parsed(original(self, args, namespace))

    main = runpy.run_path(str(tool))['main']
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
    monkeypatch.setattr(sys, 'argv', [tool.name, *arguments])
    with pytest.raises(Parsed) as caught:
        main()
    return caught.value.args[0]


@pytest.mark.parametrize('words', COMMANDS)
def test_command(words, monkeypatch):
    if words[0] in OTHERS or ' '.join(words[:3]) in OTHERS:
        return
    if words[0] == 'make':
        done = subprocess.run(
            ['make', '-n', *words[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return
    assert words[0] in ('python', 'bash'), f'{words[0]}: say in OTHERS why it is not tried'
    if words[1].startswith('mine/'):  # written by the reader of the page
        return
    tool, arguments = ROOT / words[1], words[2:]
    assert tool.is_file()
    if tool.suffix == '.sh':
        number, place = SCRIPTS[tool.name]
        assert len(arguments) >= number
        name = 'test' if 'test' in tool.name else 'train'
        tool, arguments = ROOT / f'tools/{name}.py', [arguments[place], *arguments[number:]]
        if name == 'test':
            arguments.insert(1, 'CHECKPOINT')
    arguments = ['KEY=VALUE' if word == '...' else word for word in arguments]
    args = parse(monkeypatch, tool, arguments)
    for word in words:
        if word.startswith('configs/'):
            assert (ROOT / word).exists(), word
    options = vars(args).get('cfg_options')
    if options and (ROOT / arguments[0]).is_file():
        read_config(str(ROOT / arguments[0]), options)


def test_there_are_commands_of_every_kind():
    first = {param.values[0][0] for param in COMMANDS}
    assert {'python', 'bash', 'make'} <= first
    assert len(COMMANDS) > 80
    assert first - {'python', 'bash', 'make'} <= set(OTHERS)


def test_a_wrong_option_would_be_noticed(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(monkeypatch, ROOT / 'tools/train.py', ['CONFIG', '--workdir', 'x'])
    assert caught.value.code == 2
    assert '--workdir' in capsys.readouterr().err


def test_the_python_of_the_readme_prints_what_it_says(tmp_path, capsys):
    (code, *_) = re.findall(r'```python\n(.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
    fragment = Config.fromfile(ROOT / 'configs/_base_/backbones/patch-resnet.py')
    encoder = MODELS.build(fragment.backbone)
    state = {f'backbone.{key}': value for key, value in encoder.state_dict().items()}
    file = export_backbone(
        {'state_dict': state, 'meta': {'architecture': encoder.architecture()}}, tmp_path
    )
    exec(code.replace('BACKBONE.pth', str(file)), {})
    *_, last = code.strip().splitlines()
    shapes = re.sub(r'torch.Size\(\[([^]]*)\]\)', r'(\1)', capsys.readouterr().out)
    assert re.findall(r'\([\d, ]+\)', shapes) == re.findall(
        r'\([\d, ]+\)', last.partition('#')[2]
    )
