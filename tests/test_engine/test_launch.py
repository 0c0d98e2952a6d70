import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from saip.checkpoint import CheckpointError
from saip.engine import launch, processes
from saip.engine.preflight import ConfigKeyError, check_config, check_options
from saip.engine.resume import newest_checkpoint

pytestmark = pytest.mark.usefixtures('fresh_mmengine')
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'configs').glob('**/*.py'))


def work_of(config: str) -> Path:
    return Path(config).parent / 'work'


@pytest.mark.parametrize(
    ('typo', 'meant'),
    [
        ('trian_cfg', 'train_cfg'),
        ('optim_wraper', 'optim_wrapper'),
        ('load_form', 'load_from'),
        ('resum', 'resume'),
        ('custom_hook', 'custom_hooks'),
        ('param_schedulers', 'param_scheduler'),
        ('vis_backend', 'vis_backends'),
        ('auto_scale_lr.enabel', 'enable'),
        ('env_cfg.cudnn_benchmarc', 'cudnn_benchmark'),
        ('randomness.sed', 'seed'),
    ],
)
def test_a_misspelt_key_of_the_config_is_named_with_what_was_meant(toy_config, typo, meant):
    path = toy_config(**{typo: 1})
    with pytest.raises(ConfigKeyError, match=f'did you mean {meant!r}'):
        launch.read_config(path)


def test_variables_of_a_config_are_no_typos(tmp_path):
    path = tmp_path / 'variables.py'
    path.write_text(
        'train_cfgs = dict(by_epoch=True, max_epochs=3)\n'
        'train_cfg = train_cfgs\n'
        "embed_dims = 192\nbackbone = dict(type='X')\n"
    )
    check_config(Config.fromfile(path))


@pytest.mark.sampled(3)
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_no_false_alarm_on_shipped_configs(path):
    check_config(Config.fromfile(path))


@pytest.mark.parametrize(
    'option',
    [
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.optimizer.weight_decay',
        'default_hooks.checkpoint.save_best',
        'train_dataloader.persistent_workers',
        'train_dataloader.dataset.length',
        'randomness.deterministic',
        'model.width',
        'find_unused_parameters',
        'param_scheduler',
    ],
)
def test_an_option_that_a_class_takes_is_accepted(toy_config, option):
    check_options(Config.fromfile(toy_config()), [option])


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('modle.width', "no key 'modle' at the top level; did you mean 'model'"),
        ('model.widht', "no key 'widht' in model; did you mean 'width'"),
        ('model.objectives.ccs', "'ccs' in model.objectives; did you mean 'css'"),
        ('default_hooks.loger', "did you mean 'logger'"),
        ('default_hooks.logger.intervall', "did you mean 'interval'"),
        ('model.type.name', "model.type is 'mmengine.ToyLine', it has no key 'name'"),
        ('visualizer.vis_backends.3.type', "a list of 1, it has no '3'"),
    ],
)
def test_an_option_that_names_nothing_is_refused(toy_config, option, message):
    cfg = Config.fromfile(toy_config(**{'model.objectives': dict(csm={}, csr={}, css={})}))
    with pytest.raises(ConfigKeyError, match=message):
        check_options(cfg, [option])


def pretrainer(**objectives: dict) -> dict:
    """A model with objectives, which is read, not built."""
    return dict(type='saip.SAIP', _delete_=True, objectives=objectives)


def test_an_objective_is_added_with_its_type(toy_config):
    path = toy_config(model=pretrainer(csm=dict(type='A')))
    options = {'model.objectives.mine.type': 'B', 'model.objectives.mine.head.type': 'C'}
    cfg = launch.read_config(path, options)
    assert cfg.model.objectives.mine == {'type': 'B', 'head': {'type': 'C'}}
    with pytest.raises(ConfigKeyError, match=r"no key 'mine' in model.objectives"):
        launch.read_config(path, {'model.objectives.mine.loss_weight': 2})


def test_none_takes_an_objective_away(toy_config):
    path = toy_config(model=pretrainer(csm=dict(type='A'), css=dict(type='B')))
    cfg = launch.read_config(path, {'model.objectives.css': None})
    assert cfg.model.objectives == {'csm': {'type': 'A'}, 'css': None}


def test_train_runs_and_the_default_folder_is_named_after_the_config(
    toy_config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = toy_config('my_experiment', work_dir=None)
    launch.train(path, amp=True, validate=False, auto_scale_lr=True)
    folder = tmp_path / 'work_dirs' / 'my_experiment'
    dumped = Config.fromfile(folder / 'my_experiment.py')
    assert dumped.optim_wrapper.type == 'saip.AutocastOptimWrapper'
    assert dumped.val_cfg is None
    checkpoint = torch.load(folder / 'epoch_3.pth', weights_only=True)
    # batch size 4 where the rate of 0.1 is meant for 8
    assert checkpoint['optimizer']['param_groups'][0]['lr'] == pytest.approx(0.05)


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_resume_auto_takes_the_newest_valid_checkpoint(toy_config, capsys):
    path = toy_config()
    launch.train(path)
    work = work_of(path)
    damage(work / 'epoch_3.pth')
    found, _ = newest_checkpoint(work)
    assert found == work / 'epoch_2.pth'
    assert 'skipping' in capsys.readouterr().err
    launch.train(path, resume='auto', options={'train_cfg.max_epochs': 4})
    assert torch.load(work / 'epoch_4.pth', weights_only=True)['meta']['iter'] == 8


def test_resume_auto_prefers_the_run_that_wrote_last(toy_config):
    """A run of one epoch in the folder of a longer one: that is the one to continue."""
    path = toy_config()
    launch.train(path)
    work = work_of(path)
    for checkpoint in work.glob('epoch_*.pth'):
        os.utime(checkpoint, (1, 1))
    other = work.with_name('other')
    # Runs that begin in the same second share mmengine's instances of the same name.
    options = {'train_cfg.max_epochs': 1, 'experiment_name': 'other'}
    launch.train(path, work_dir=str(other), options=options)
    for name in ('epoch_1.pth', 'last_checkpoint'):  # an older version wrote both into one
        shutil.copy(other / name, work / name)
    assert newest_checkpoint(work)[0] == work / 'epoch_1.pth'
    damage(work / 'epoch_1.pth')
    assert newest_checkpoint(work)[0] == work / 'epoch_3.pth'


@pytest.mark.parametrize('changed', [True, False])
def test_a_resumed_run_says_when_its_schedule_is_another(toy_config, capsys, changed):
    step = dict(type='StepLR', step_size=1, gamma=0.5, by_epoch=True)
    path = toy_config(param_scheduler=[step])
    launch.train(path, options={'train_cfg.max_epochs': 1})
    gamma = 0.1 if changed else 0.5
    path = toy_config(param_scheduler=[{**step, 'gamma': gamma}])
    launch.train(path, options={'train_cfg.max_epochs': 2}, resume='auto')
    said = 'trained with another param_scheduler' in ''.join(capsys.readouterr())
    assert said is changed
    state = torch.load(work_of(path) / 'epoch_2.pth', weights_only=True)
    assert state['param_schedulers'][0]['gamma'] == 0.5  # the stored one goes on


@pytest.mark.parametrize('resume', ['auto', 'epoch_1.pth'])
def test_a_resumed_checkpoint_is_read_once_by_the_checks_and_once_by_mmengine(
    toy_config, tmp_path, monkeypatch, resume
):
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    read, original = [], torch.load

    def load(file, *args, **kwargs):
        if not kwargs.get('mmap'):  # of the meta alone, not of the tensors
            read.append(Path(file).name)
        return original(file, *args, **kwargs)

    monkeypatch.setattr(torch, 'load', load)
    resume = resume if resume == 'auto' else str(tmp_path / 'work' / resume)
    launch.train(toy_config(), options={'train_cfg.max_epochs': 2}, resume=resume)
    assert read == ['epoch_1.pth'] * 2


def test_resume_auto_notices_a_flipped_bit(toy_config):
    path = toy_config()
    launch.train(path)
    newest = work_of(path) / 'epoch_3.pth'
    content = bytearray(newest.read_bytes())
    weight = torch.load(newest, weights_only=True)['state_dict']['layer.weight']
    content[content.index(weight.numpy().tobytes())] ^= 1
    newest.write_bytes(content)
    found, _ = newest_checkpoint(work_of(path))
    assert found.name == 'epoch_2.pth'


def test_resume_auto_with_nothing_to_resume(toy_config, tmp_path, capsys):
    launch.train(toy_config(), resume='auto')
    assert 'begins anew' in capsys.readouterr().out
    for checkpoint in (tmp_path / 'work').glob('*.pth'):
        damage(checkpoint)
    with pytest.raises(CheckpointError, match='all 2 checkpoints are damaged'):
        launch.train(toy_config(), resume='auto')


def test_a_vanished_pretraining_file_does_not_stop_a_resume(toy_config, tmp_path):
    pretrained = tmp_path / 'pretrained.pth'
    torch.save({'layer.weight': torch.ones(1, 1), 'layer.bias': torch.ones(1)}, pretrained)
    path = toy_config(**{'model.init_cfg': dict(type='Pretrained', checkpoint=str(pretrained))})
    launch.train(path, options={'train_cfg.max_epochs': 1})
    pretrained.unlink()
    launch.train(path, resume='auto')
    assert (tmp_path / 'work' / 'epoch_3.pth').exists()
    shutil.rmtree(tmp_path / 'work')
    # Of another name: mmengine takes two runs of one second and name for the same.
    with pytest.raises(launch.StartError, match=r'pretrained\.pth'):
        launch.train(path, resume='auto', options={'experiment_name': 'anew'})


def test_a_finished_run_says_that_nothing_was_trained(toy_config, tmp_path, capsys):
    work = str(tmp_path / 'single')
    launch.train(toy_config())
    capsys.readouterr()
    launch.train(toy_config(), resume='auto')
    assert 'epoch_3.pth: all 3 epochs are done; nothing was trained' in capsys.readouterr().out
    single = {'train_cfg.max_epochs': 1}
    launch.train(toy_config('single', work_dir=work), options=single)
    launch.train(toy_config('single', work_dir=work), options=single, resume='auto')
    assert 'epoch_1.pth: the only epoch is done; nothing was trained' in capsys.readouterr().out


def test_a_config_that_ignores_the_chosen_backbone_says_so(monkeypatch, capsys):
    monkeypatch.setenv('SAIP_BACKBONE', 'starnet-s3')
    for leaf, warned in (('vit-tiny-p16', True), ('any-backbone', False)):
        name = f'configs/pretrain/saip/saip_{leaf}_1xb256-amp-coslr_folder.py'
        launch.read_config(str(ROOT / name))
        assert ('does not read SAIP_BACKBONE=starnet-s3' in capsys.readouterr().err) is warned


def test_a_file_in_the_place_of_the_work_dir_is_named(toy_config, tmp_path):
    (tmp_path / 'taken').write_text('')
    with pytest.raises(launch.StartError, match='taken: this is a file'):
        launch.train(toy_config(), work_dir=str(tmp_path / 'taken'))


@pytest.mark.parametrize('epochs', ['ten', '0'])
def test_the_variable_of_a_wrong_length_is_named(monkeypatch, epochs):
    monkeypatch.setenv('SAIP_EPOCHS', epochs)
    name = 'configs/pretrain/saip/saip_vit-tiny-p16_1xb256-amp-coslr_folder.py'
    with pytest.raises(launch.StartError, match=f'SAIP_EPOCHS={epochs}: a whole number'):
        launch.read_config(str(ROOT / name))


def test_an_empty_load_from_is_named(toy_config):
    with pytest.raises(launch.StartError, match='load_from is empty'):
        launch.train(toy_config(), options={'load_from': ''})


@pytest.mark.parametrize('load', ['resume', 'load_from'])
def test_a_checkpoint_of_another_model_is_refused(toy_config, tmp_path, load):
    launch.train(toy_config(), options={'train_cfg.max_epochs': 1})
    checkpoint = str(tmp_path / 'work/epoch_1.pth')
    options = {'model.width': 2} | ({'load_from': checkpoint} if load == 'load_from' else {})
    with pytest.raises(launch.StartError, match=r'of another shape .layer.bias, layer.weight'):
        launch.train(
            toy_config(),
            work_dir=str(tmp_path / 'other'),
            options=options,
            resume=checkpoint if load == 'resume' else None,
        )


def test_resume_refuses_a_file_without_a_training_state(toy_config, tmp_path):
    bare = tmp_path / 'bare.pth'
    torch.save({'state_dict': {}}, bare)
    with pytest.raises(CheckpointError, match='holds no optimizer'):
        launch.train(toy_config(), resume=str(bare))


def test_test_returns_the_metrics(toy_config, tmp_path):
    launch.train(toy_config())
    metrics = launch.evaluate(toy_config(), str(tmp_path / 'work' / 'epoch_3.pth'))
    assert metrics == {'score': 8.0}


@pytest.mark.parametrize(
    ('state_dict', 'message'),
    [
        ({'layer.weight': torch.ones(1, 1)}, r'1 missing \(layer\.bias\)'),
        (
            {'layer.weight': torch.ones(1, 1), 'layer.bias': torch.ones(1), 'x': torch.ones(1)},
            r'1 unexpected \(x\)',
        ),
        (
            {'layer.weight': torch.ones(2, 1), 'layer.bias': torch.ones(1)},
            r'1 of another shape \(layer\.weight\)',
        ),
    ],
)
def test_test_refuses_the_weights_of_another_model(toy_config, tmp_path, state_dict, message):
    path = tmp_path / 'other.pth'
    torch.save({'state_dict': state_dict, 'meta': {}}, path)
    with pytest.raises((CheckpointError, launch.StartError), match=message):
        launch.evaluate(toy_config(), str(path))


def test_wrong_input_is_a_start_error_and_a_bug_keeps_its_traceback(toy_config, monkeypatch):
    with pytest.raises(launch.StartError, match='ToyLin is not in the'):
        launch.train(toy_config(**{'model.type': 'ToyLin'}))
    with pytest.raises(launch.StartError, match='no such configuration file'):
        launch.train('absent.py')

    from tests import toy_run

    calls = []

    def fails_late(self, index):
        calls.append(index)
        if len(calls) > 6:
            raise ValueError('a bug in the middle of the run')
        return dict(inputs=self.x[index], data_samples=self.x[index])

    monkeypatch.setattr(toy_run.ToyPoints, '__getitem__', fails_late)
    with pytest.raises(ValueError, match='a bug in the middle') as caught:
        launch.train(toy_config())
    assert not isinstance(caught.value, launch.StartError)


def test_other_launchers_need_cuda(toy_config, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(launch.StartError, match='slurm needs CUDA'):
        launch.train(toy_config(), launcher='slurm')


def test_processes_with_cuda_are_joined_before_a_checkpoint_is_chosen(toy_config, monkeypatch):
    """All of them choose together; mmengine's runner, built later, finds them joined."""
    calls = []
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(
        processes, 'init_dist', lambda *args, **rest: calls.append((args, rest))
    )

    def chosen(*args: object) -> None:
        calls.append('chosen')
        raise CheckpointError('none')

    monkeypatch.setattr(launch, 'agreed_checkpoint', chosen)
    path = toy_config(**{'env_cfg.dist_cfg': dict(backend='nccl')})
    with pytest.raises(CheckpointError):
        launch.train(path, launcher='slurm', resume='auto')
    assert calls == [(('slurm',), dict(backend='nccl', timeout=600)), 'chosen']


@pytest.mark.slow
@pytest.mark.dist
def test_two_processes_log_the_losses_of_one(toy_config, tmp_path):
    """Two processes of batch 2, and one of batch 4 that sees the same images."""

    def losses(folder: Path) -> list[float]:
        logged = torch.load(folder / 'epoch_3.pth', weights_only=True)['message_hub']
        return logged['log_scalars']['train/loss_square']['history_buffer'][0].tolist()

    options = ['--work-dir', str(tmp_path / 'two'), '--no-validate']
    options += ['--cfg-options', 'train_dataloader.batch_size=2']
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHON': sys.executable, 'PORT': '29617'}
    path = toy_config()
    subprocess.run(
        ['bash', str(ROOT / 'tools/dist_train.sh'), path, '2', *options],
        check=True,
        env=env,
        capture_output=True,
    )
    Runner.from_cfg(Config.fromfile(path)).train()
    assert losses(tmp_path / 'two') == pytest.approx(losses(tmp_path / 'work'), rel=1e-5)
