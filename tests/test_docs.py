"""The documents name files, keys and values that exist."""

import ast
import inspect
import re
import runpy
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from mmengine.config import Config, DictAction

from saip.engine.preflight import check_options
from saip.registry import MODELS
from saip.version import __version__

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])
METHOD = ROOT / 'docs/method.md'
LEAVES = {
    'saip': 'saip_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py',
    'saip-paper': 'saip-paper_vit-tiny-p16_8xb256-amp-coslr-300e_lup1m.py',
    'saip-official': 'saip-official_vit-tiny-p16_8xb64-accum4-amp-coslr-300e_lup1m.py',
}
ABSENT = object()


def leaf(preset: str) -> Config:
    return Config.fromfile(ROOT / 'configs/pretrain/saip' / LEAVES[preset])


@pytest.fixture(scope='module')
def resolved() -> dict[str, Config]:
    return {preset: leaf(preset) for preset in LEAVES}


def without_code(text: str) -> str:
    return re.sub(r'```.*?```|`[^`\n]*`', '', text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """The headings' anchors as a forge makes them."""
    titles = re.findall(r'^#+ (.+)$', re.sub(r'```.*?```', '', text, flags=re.DOTALL), re.M)
    return {
        re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-') for title in titles
    }


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    text = document.read_text()
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', without_code(text)):
        if re.match(r'[a-z]+:', link):
            continue
        path, _, anchor = unquote(link).partition('#')
        target = document.parent / path if path else document
        found = target.exists()
        if found and anchor:
            found = anchor in anchors(target.read_text())
        if not found:
            broken.append(link)
    assert not broken


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document):
    """Configs, tools and sources, also in code; names with a gap to fill in are left out."""
    pattern = r'(?<![\w./-])((?:configs|tools|saip|tests|requirements|benchmarks)/[\w./+-]+)'
    names = {name.rstrip('./') for name in re.findall(pattern, document.read_text())}
    missing = sorted(name for name in names if not (ROOT / name).exists())
    assert not missing


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: path.name)
def test_no_config_is_named_that_does_not_exist(document):
    """File names of leaves that stand without their folder."""
    names = set(re.findall(r'\bsaip(?:-\w+)?_vit[\w-]*\.py', document.read_text()))
    assert not {n for n in names if not (ROOT / 'configs/pretrain/saip' / n).is_file()}


def preset_rows() -> list[tuple[str, list[str]]]:
    """(option, cells of the three presets) of each line of the table."""
    text = METHOD.read_text()
    section = text[text.index('## The three presets') : text.index('### How close')]
    rows = []
    for line in re.findall(r'^\| \d+ \|.*$', section, flags=re.MULTILINE):
        cells = [cell.strip() for cell in line.strip('|').split(' | ')]
        rows.append((cells[1].strip('`'), cells[2:5]))
    return rows


def stated(cell: str) -> Any:
    """The value a cell states; ``present`` stays a word."""
    if cell in ('absent', 'present'):
        return ABSENT if cell == 'absent' else cell
    assert re.fullmatch(r'`[^`]+`', cell), f'{cell}: neither a value in code nor absent/present'
    code = ast.parse(cell.strip('`'), mode='eval').body
    if isinstance(code, ast.Call):
        return {word.arg: ast.literal_eval(word.value) for word in code.keywords}
    return ast.literal_eval(code)


def configured(cfg: Config, option: str) -> Any:
    """The value a run would use: from the config, or the default of the class it names."""
    first, *rest = option.split('.')
    if first.endswith('Hook'):
        hooks = [hook for hook in cfg.custom_hooks if hook['type'] == f'saip.{first}']
        node: Any = hooks[0] if hooks else ABSENT
    else:
        node, rest = cfg._cfg_dict, [first, *rest]
    for part in rest:
        if node is ABSENT or node is None:
            return ABSENT
        if isinstance(node, list):
            node = node[int(part)]
        elif part in node:
            node = node[part]
        else:
            node = default(node, part)
    return ABSENT if node is ABSENT else plain(node)


def default(node: dict, key: str) -> Any:
    """The default of an argument that a config leaves out."""
    if 'optimizer' in node and key == 'accumulative_counts':
        return 1
    cls = MODELS.get(node['type']) if 'type' in node else None
    if cls is None or key not in inspect.signature(cls).parameters:
        return ABSENT
    return inspect.signature(cls).parameters[key].default


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return tuple(plain(item) for item in value) if isinstance(value, list | tuple) else value


def test_the_table_covers_the_rows():
    numbers = {
        int(n) for n in re.findall(r'^\| (\d+) \|', METHOD.read_text(), flags=re.MULTILINE)
    }
    without_option = {12, 14, 26, 28, 29, 30}
    assert numbers | without_option == set(range(1, 32))


@pytest.mark.parametrize(('option', 'cells'), preset_rows(), ids=lambda value: str(value)[:60])
def test_preset_table_states_what_the_configs_say(option, cells, resolved):
    for preset, cell in zip(LEAVES, cells, strict=True):
        wanted, found = stated(cell), configured(resolved[preset], option)
        if wanted == 'present':
            assert found is not ABSENT, f'{preset}: {option}'
        else:
            assert found == wanted, f'{preset}: {option}'


def option_commands() -> list[tuple[str, dict[str, Any]]]:
    """(line, options) of every command of method.md that takes options."""
    commands = []
    for block in re.findall(r'```bash\n(.*?)```', METHOD.read_text(), flags=re.DOTALL):
        for line in block.splitlines():
            if line.startswith('train ') or ('--cfg-options' in line and '()' not in line):
                words = shlex.split(line)
                pairs = dict(word.split('=', 1) for word in words if re.match(r'[\w.]+=', word))
                options = {k: DictAction._parse_iterable(v) for k, v in pairs.items()}
                commands.append((line, options))
    return commands


COMMANDS = option_commands()


def build(cfg: Config) -> Any:
    """The algorithm with few prototypes; widths do not matter here."""
    if cfg.model.objectives.get('csm'):
        cfg.model.objectives.csm.neck.update(out_channels=16, hidden_channels=16)
    return MODELS.build(cfg.model)


@pytest.mark.parametrize(('line', 'options'), COMMANDS, ids=[c[0][-60:] for c in COMMANDS])
def test_commands_have_options_that_exist_and_build(line, options):
    cfg = leaf('saip')
    check_options(cfg, options)
    cfg.merge_from_dict(options)
    model = build(cfg)
    left = {name for name, part in cfg.model.objectives.items() if part is not None}
    assert set(model.objectives) == left


def test_ablations_are_the_seven_subsets():
    subsets = set()
    for line, options in COMMANDS:
        if line.startswith('train '):
            removed = {key.rsplit('.', 1)[1] for key, value in options.items() if value is None}
            kept = frozenset({'csm', 'csr', 'css'} - removed)
            assert line.split()[1] == '-'.join(n for n in ('csm', 'csr', 'css') if n in kept)
            subsets.add(kept)
    assert len(subsets) == 7


def test_release_flags_name_options_with_their_values(resolved):
    text = METHOD.read_text()
    section = text[text.index('## From the release') : text.index('## Ablations')]
    pairs = [
        pair
        for cell in re.findall(r'`([^`\n]+)`', section)
        for pair in re.findall(r'^([a-z_]+(?:\.\w+)+)=(.+)$', cell)
    ]
    assert len(pairs) > 20
    for key, value in pairs:
        check_options(resolved['saip-official'], [key])
        assert configured(resolved['saip-official'], key) == plain(
            DictAction._parse_iterable(value)
        ), key


def test_relation_matching_joins_by_the_config_shown():
    (code,) = re.findall(r'```python\n(# row 3.*?)```', METHOD.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert (ROOT / 'configs/pretrain/saip' / names['_base_']).is_file()
    cfg = leaf('saip')
    cfg.merge_from_dict({'model': names['model']})
    assert set(build(cfg).objectives) == {'csm', 'csr', 'css', 'relation'}


def test_sizes_table_states_what_each_preset_makes_of_a_size(resolved):
    rows = re.findall(r'^\| (\d+)×(\d+) \| (.+) \| (.+) \| (.+) \|$', METHOD.read_text(), re.M)
    assert len(rows) == 4
    for height, width, *cells in rows:
        for preset, cell in zip(LEAVES, cells, strict=True):
            settings = {**resolved[preset].model.data_preprocessor}
            settings['size'] = (int(height), int(width))
            if cell.startswith('refused'):
                with pytest.raises(ValueError, match='280x280'):
                    MODELS.build(settings)
                continue
            recipe = MODELS.build(settings).recipe
            if preset != 'saip-official':
                assert cell == f'pastes at {recipe["scene"].paste_scale}'


def test_the_image_is_the_one_its_script_draws():
    draw = runpy.run_path(str(ROOT / 'docs/draw_architecture.py'))['image']
    assert (ROOT / 'docs/architecture.svg').read_text(encoding='utf-8') == draw()


def test_documented_variables_are_read():
    """Every SAIP_ variable of the documents is read by a config or a source file, and back."""
    sources = [
        *ROOT.glob('configs/**/*.py'),
        *ROOT.glob('saip/**/*.py'),
        *ROOT.glob('tools/*.py'),
    ]
    read = set(
        re.findall(
            r"(?:\{\{\$|(?:environ|variable|number)[^\n]{0,8}['\"])(SAIP_\w+)", _joined(sources)
        )
    )
    stated_in_training = set(
        re.findall(r'`(SAIP_\w+)', (ROOT / 'docs/training.md').read_text())
    )
    assert stated_in_training == read


def test_the_citation_names_this_version_and_the_paper_of_the_readme():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == __version__
    paper = citation['preferred-citation']
    readme = (ROOT / 'README.md').read_text()
    assert paper['title'] in readme
    names = ' and '.join(f'{a["family-names"]}, {a["given-names"]}' for a in paper['authors'])
    assert names in readme
    assert f'## {__version__}' in (ROOT / 'CHANGELOG.md').read_text()


def _joined(paths: list[Path]) -> str:
    return '\n'.join(path.read_text() for path in paths)


def test_every_documented_variable_is_set_by_a_test():
    documented = {
        name
        for document in DOCUMENTS
        for name in re.findall(r'\bSAIP_[A-Z]+\b', document.read_text())
    }
    set_anywhere = {
        name
        for path in (ROOT / 'tests').rglob('*.py')
        for name in re.findall(
            r"""(?:setenv\(|environ\[|\benv\b.*?|[{\n]\s*)f?['"](SAIP_[A-Z]+)['"]""",
            path.read_text(),
        )
    }
    assert documented
    assert not documented - set_anywhere
