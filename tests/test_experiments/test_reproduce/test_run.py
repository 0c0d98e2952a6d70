"""Commands are those of the tools; a row that is run goes on where it stopped."""

import json
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from saip.checkpoint import file_sha256
from saip.errors import InputError, MissingFileError
from saip.experiments.reproduce import run
from saip.experiments.reproduce.counted_classes import check_class_counts
from saip.experiments.reproduce.needs import row_needs
from saip.experiments.reproduce.plan import row_steps, weights_file
from saip.experiments.reproduce.scripts import shell_script, slurm_script
from saip.experiments.reproduce.tables import TABLES
from saip.synthetic.formats import DATASETS
from tests.tiny import ROOT
from tests.tools import call_tool

from .reproduce_files import ROWS, settings, there

ROW = TABLES['table6'].find('0.5')
TRIAL = dict(
    schedule=0.02,
    gpus=1,
    options=('train_dataloader.batch_size=4',),
    pretrain_options=('train_dataloader.batch_size=8',),
)


def parsed(monkeypatch, words):
    """Arguments of a command, by the tool's own parser."""
    tool = next(word for word in words if '/tools/' in word or word.startswith('tools/'))
    rest = words[words.index(tool) + 1 :]
    if tool.endswith('dist_train.sh'):
        config, gpus, *rest = rest
        assert int(gpus) > 1
        tool, rest = str(ROOT / 'tools/train.py'), [config, *rest]
    assert (ROOT / tool).is_file()
    monkeypatch.setattr(sys, 'argv', [tool, *rest])
    return runpy.run_path(str(ROOT / tool))['parse_args']()


@pytest.mark.parametrize('options', [{}, TRIAL], ids=['full', 'trial'])
def test_all_commands_are_understood_by_the_tools(tmp_path, monkeypatch, options):
    one = settings(tmp_path, **options)
    seen = set()
    for _, row in ROWS:
        for cell in row.cells:
            if (row.weights.name, cell.task.name) in seen or not there(one, cell):
                continue
            # Commands of a table's rows differ in weights and data; one encoder is enough for each.
            if (
                cell.task.name in {task for _, task in seen}
                and row.weights.encoder != 'resnet18'
            ):
                continue
            seen.add((row.weights.name, cell.task.name))
            steps = row_steps(row, one, cell.task.name)
            for step in steps:
                args = parsed(monkeypatch, shlex.split(step.shell())[len(step.variables) :])
                assert (ROOT / args.config).is_file()
                assert step.work_dir.is_relative_to(one.out)
                assert args.work_dir == str(step.work_dir)
            kinds = [step.kind for step in steps]
            assert kinds[-2:] == ['finetune', 'test']
            assert kinds[:-2] == (['pretrain'] if row.weights.pretraining else [])
            assert steps[-2].variables['SAIP_INIT'] == weights_file(row.weights, one)
            assert steps[-2].variables['SAIP_BACKBONE'] == row.weights.encoder
            share = one.share_of(cell)
            assert steps[-2].variables.get('SAIP_SCHEDULE', '1') == f'{share:g}'
    assert len(seen) >= 10


def test_rows_share_a_pretraining_and_not_a_fine_tuning(tmp_path):
    one = settings(tmp_path)
    half, full = (row_steps(TABLES['table6'].find(n), one, 'market1501') for n in ('0.5', '1'))
    assert half[0] == full[0]
    assert half[1].work_dir != full[1].work_dir
    (table1,) = [
        row_steps(row, one, 'market1501')
        for row in TABLES['table1'].rows
        if row.name == 'saip_vit-tiny-p16'
    ]
    assert [step.command for step in table1] == [step.command for step in full]


def test_other_numbers_of_gpus_keep_the_batch(tmp_path):
    def words(gpus):
        return row_steps(ROW, settings(tmp_path, gpus=gpus), 'lip')[1].command

    assert 'train_dataloader.batch_size=96' in words(1)
    assert 'train_dataloader.batch_size=24' in words(4)
    assert not any('batch_size' in word for word in words(8))
    with pytest.raises(InputError, match=r'--gpus 5: a batch of 2048 .* cannot be divided'):
        words(5)


@pytest.mark.parametrize(
    ('task', 'stated', 'option'),
    [('market1501', 751, 'market1501'), ('cuhk-pedes', 11003, 'cuhk_pedes')],
)
def test_another_number_of_identities_is_found_before_the_pretraining(
    tmp_path, task, stated, option
):
    (row,) = (row for row in TABLES['table1'].rows if row.name == 'saip_vit-tiny-p16')
    folder, write = DATASETS[option]
    write(tmp_path / 'data' / folder)
    if task == 'market1501':
        crops = (tmp_path / 'data' / folder / 'bounding_box_train').glob('*.jpg')
        people = {path.name[:4] for path in crops}
    else:
        rows = json.loads((tmp_path / 'data' / folder / 'reid_raw.json').read_text())
        people = {entry['id'] for entry in rows if entry['split'] == 'train'}
    message = (
        f'{task}: model.head.num_classes={stated}, .* {len(people)} training identities; .*'
    )
    with pytest.raises(InputError, match=message + f'--run {row.name}:{task} --cfg-options'):
        check_class_counts(row, settings(tmp_path), task)
    right = (f'model.head.num_classes={len(people)}',)
    check_class_counts(row, settings(tmp_path, options=right), task)


def test_another_number_of_classes_is_found_before_the_pretraining(tmp_path):
    row = TABLES['cae'].rows[0]
    folder, write = DATASETS['imagenet']
    write(tmp_path / 'data' / folder)
    right = ('model.head.num_classes=8', 'model.data_preprocessor.num_classes=8')
    message = (
        r'imagenet: model\.head\.num_classes=1000, model\.data_preprocessor.* 8 classes; .*'
    )
    with pytest.raises(InputError, match=message + ' '.join(right)):
        check_class_counts(row, settings(tmp_path), 'imagenet')
    check_class_counts(row, settings(tmp_path, options=right), 'imagenet')


def test_a_shortened_pretraining_ends_with_its_schedules(tmp_path):
    cfg = settings(tmp_path, schedule=0.1).read_pretraining(ROW.weights)
    assert cfg.train_cfg.max_epochs == 30
    warmup, cosine = cfg.param_scheduler
    assert (warmup.begin, warmup.end) == (0, 1)
    assert (cosine.begin, cosine.end, cosine.T_max) == (1, 30, 29)


def test_a_shell_finds_the_exported_file(tmp_path):
    one = settings(tmp_path)
    steps = row_steps(ROW, one, 'market1501')
    name = weights_file(ROW.weights, one)
    file = tmp_path / name.replace('*', '1a2b3c4d')
    file.parent.mkdir(parents=True)
    file.touch()
    words = steps[1].shell().split(' bash ')[0].split(' python ')[0]
    done = subprocess.run(
        ['bash', '-c', f'{words} bash -c \'echo "$SAIP_INIT $SAIP_SCHEDULE"\''],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(file), '0.5']


def test_scripts_are_of_a_shell_and_hold_every_command_once(tmp_path):
    one = settings(tmp_path)
    jobs = [(row.name, row_steps(row, one)) for row in TABLES['table6'].rows]
    for text in (shell_script(jobs, one), slurm_script(jobs, one, 8)):
        subprocess.run(['bash', '-n'], input=text, text=True, check=True)
        lines = text.splitlines()
        for _, steps in jobs:
            for step in steps:
                assert lines.count(step.shell()) == 1
    # One pretraining for all four rows, and so one job.
    assert '#SBATCH --array=0-0' in slurm_script(jobs, one, 8)
    apart = [(row.name, row_steps(row, one)) for row in TABLES['table5'].rows]
    assert f'#SBATCH --array=0-{len(apart) - 1}' in slurm_script(apart, one, 8)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A stand-in for processes: writes what a step makes, unless it is told to stop."""
    ran, stop = [], []

    def process(command, work_dir, variables, what):
        ran.append((what.split()[0], variables))
        if stop and stop[0] == what.split()[0]:
            raise run.InputError('stopped')
        for step in steps:
            if step.what == what:
                path = type(step.makes)(str(step.makes).replace('*', '1a2b'))
                path.parent.mkdir(parents=True, exist_ok=True)
                trained = {'configs': [step.digest], 'weights': []}
                if init := variables.get('SAIP_INIT'):
                    file = {'key': 'model.backbone.init_cfg.checkpoint'}
                    trained['weights'] = [file | {'sha256': file_sha256(init)}]
                torch.save({'meta': {'trained': trained}}, path)
                if step.digest:
                    name = str(path.relative_to(step.work_dir))
                    (step.work_dir / 'last_checkpoint').write_text(name)

    monkeypatch.setattr(run, 'run_training', process)
    one = settings(tmp_path)
    steps = row_steps(ROW, one, 'market1501')
    return one, steps, ran, stop


def test_what_is_finished_is_passed_over_and_what_stopped_goes_on(fake):
    one, steps, ran, stop = fake
    stop.append('fine-tuning')
    with pytest.raises(InputError, match='stopped'):
        run.run_steps(steps, [], one)
    assert [what for what, _ in ran] == ['pretraining', 'fine-tuning']
    stop.clear()
    ran.clear()
    run.run_steps(steps, [], one)
    assert [what for what, _ in ran] == ['fine-tuning', 'test']
    variables = ran[0][1]
    assert variables['SAIP_INIT'].endswith('backbone_epoch_300-1a2b.pth')
    assert variables['SAIP_SCHEDULE'] == '0.5'
    assert variables['SAIP_DATA'] == one.data
    ran.clear()
    run.run_steps(steps, [], one)
    assert ran == []


def test_a_folder_of_another_configuration_is_refused(fake):
    one, steps, _, _ = fake
    run.run_steps(steps, [], one)
    last = steps[1].work_dir / 'epoch_60.pth'
    torch.save({'meta': {'trained': {'configs': ['another']}}}, last)
    with pytest.raises(InputError, match=r'holds a training of another configuration'):
        run.run_steps(steps, [], one)


def test_a_training_from_a_file_that_was_replaced_is_refused(fake):
    one, steps, ran, _ = fake
    run.run_steps(steps, [], one)
    (weights,) = steps[0].makes.parent.glob('*.pth')
    torch.save({'meta': {'trained': {'configs': [steps[0].digest]}}, 'other': 1}, weights)
    ran.clear()
    with pytest.raises(InputError, match=rf'did not begin with {weights} as it is now'):
        run.run_steps(steps, [], one)
    assert ran == []


@pytest.mark.parametrize('schedule', [0.02, 0.03, 0.1, 1 / 3])
def test_a_share_is_what_the_training_reads(tmp_path, schedule):
    one = settings(tmp_path, schedule=schedule)
    for table, row in ROWS:
        for cell in row.cells:
            told = one.variables(row.weights, one.share_of(cell)).get('SAIP_SCHEDULE', '1')
            assert float(told) == one.share_of(cell), (table.name, row.name)


def test_text_reid_needs_clip_or_says_that_it_goes_without(tmp_path, monkeypatch):
    one, row = settings(tmp_path), TABLES['table1'].find('saip_vit-tiny-p16')
    for name in ('SAIP_TEXT_INIT', 'SAIP_BPE'):
        monkeypatch.delenv(name, raising=False)

    def missing() -> list[str]:
        needs = row_needs(row, one, 'cuhk-pedes')
        return [need.what for need in needs if need.what.startswith('SAIP') and not need.there]

    assert missing() == ['SAIP_TEXT_INIT', 'SAIP_BPE']
    monkeypatch.setenv('SAIP_TEXT_INIT', 'none')
    (tmp_path / 'bpe.gz').touch()
    monkeypatch.setenv('SAIP_BPE', str(tmp_path / 'bpe.gz'))
    assert missing() == []
    monkeypatch.setenv('SAIP_BPE', 'gone.gz')
    assert missing() == ['SAIP_BPE=gone.gz']


def test_an_expert_where_the_configurations_look_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('SAIP_EXPERT', raising=False)
    star = TABLES['table1'].find('saip-star_vit-tiny-p16')
    cfg = settings(tmp_path).read_pretraining(star.weights)

    def expert():
        needs = row_needs(star, settings(tmp_path))
        (found,) = [need for need in needs if need.what.startswith('SAIP_EXPERT')]
        return found

    assert not expert().there
    file = Path(cfg.expert_checkpoint)
    file.parent.mkdir(parents=True)
    file.touch()
    assert expert().there


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path, fake):
    one, steps, ran, _ = fake
    needs = row_needs(ROW, one, 'market1501')
    with pytest.raises(MissingFileError) as caught:
        run.run_steps(steps, needs, one)
    assert ran == []
    text = str(caught.value)
    assert (
        f'{one.data}/LUP1M is missing. It is made by: python tools/dataset_converters/' in text
    )
    assert f'make_people.py {one.data} --datasets market1501' in text
    for name in ('LUP1M', 'Market1501'):
        (tmp_path / 'data' / name).mkdir(parents=True)
    assert all(need.there for need in row_needs(ROW, one, 'market1501'))
    assert not any('LIP' in need.what for need in row_needs(ROW, one, 'market1501'))


def test_weights_of_others_are_named_with_their_converter(tmp_path, monkeypatch):
    one = settings(tmp_path)
    row = TABLES['table2'].find('supervised_cspnext-s')
    need = row_needs(row, one, 'coco')[0]
    assert not need.there
    assert 'tools/model_converters/openmmlab_to_saip.py FILE' in need.how
    star = TABLES['table1'].find('saip-star_vit-tiny-p16')
    monkeypatch.setenv('SAIP_EXPERT', str(tmp_path / 'path.pth'))
    (expert,) = [need for need in row_needs(star, one) if need.what.startswith('SAIP_EXPERT')]
    assert not expert.there
    (tmp_path / 'path.pth').touch()
    (expert,) = [need for need in row_needs(star, one) if need.what.startswith('SAIP_EXPERT')]
    assert expert.there


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['table6', '--run', 'saip'], 'choose one of 0.25, 0.5, 0.75, 1'),
        (['table6', '--run', '1:coco'], '--run 1:coco: its tasks are market1501, pa100k, lip'),
        (['table6', '--schedule', '2'], '--schedule 2: above 0 and at most 1'),
        (['table6', '--gpus', '0'], '--gpus 0: at least 1'),
        (['table8', '--run', 'x'], '--run x: table8 has nothing to run'),
        (['table9', '--slurm', 'x.sh'], '--slurm: table9 has nothing to run'),
    ],
)
def test_wrong_flags_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert call_tool(monkeypatch, 'reproduce.py', *arguments) == 2
    assert message in capsys.readouterr().err
