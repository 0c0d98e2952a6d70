"""BadFilesHook in real runs: it counts, names, reports and stops."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from saip.datasets.person_images import PersonImages
from saip.engine.hooks.bad_files import BadFilesHook, TooManyBadFilesError
from saip.engine.sample_names import sample_name
from tests.test_datasets.image_files import encode, pixels


class Mean(BaseModel):
    """The smallest model that trains on canvases."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, canvas, mode, **rest):
        return {'loss': self.scale * canvas.float().mean()}


def make_set(folder, count, bad):
    folder.mkdir()
    for number in range(count):
        content = b'bad' if number in bad else encode(pixels(20, 16, number))
        (folder / f'{number:04d}.jpg').write_bytes(content)
    return dict(type='saip.PersonImages', data_root=str(folder), canvas=(8, 4))


def train(tmp_path, dataset, hook, epochs=1, done=0):
    runner = Runner(
        model=Mean(),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=dict(
            batch_size=10,
            num_workers=1,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            dataset=dataset,
        ),
        train_cfg=dict(type='saip.ResumableEpochLoop', max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        custom_hooks=[hook],
        default_hooks=dict(checkpoint=None),
        experiment_name=tmp_path.name,
    )
    runner.train_loop._iter = done
    runner.train()
    return runner


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, BadFilesHook))


def test_few_bad_files_are_counted_per_epoch(tmp_path):
    dataset = make_set(tmp_path / 'set', 200, {7, 110})
    runner = train(tmp_path, dataset, dict(type='saip.BadFilesHook'), epochs=2)
    hook = hook_of(runner)
    assert (hook.training.seen, hook.training.bad) == (200, 2)
    assert hook.training.names == {'0007.jpg', '0110.jpg'}
    log = next((tmp_path / 'work').rglob('*.log')).read_text()
    for epoch in (1, 2):
        assert f'epoch {epoch}: 2 of 200 images could not be read: 0007.jpg, 0110.jpg' in log


def test_many_bad_files_stop_the_run_within_the_epoch(tmp_path):
    dataset = make_set(tmp_path / 'set', 150, {3, *range(90, 110)})
    hook = BadFilesHook(min_seen=100)
    with pytest.raises(
        TooManyBadFilesError, match=r'11 of 100 .*0003.jpg, 0090.jpg.*; more than 1.0%'
    ):
        train(tmp_path, dataset, hook)


def epochs_of(hook, bad, seen=1000, first=0):
    """The end of an epoch whose first images, and no others, are bad."""
    runner = SimpleNamespace(epoch=0, train_dataloader=SimpleNamespace(dataset=[]))
    hook.before_train_epoch(runner)
    for number in range(seen // 100):
        replaced = torch.full((100,), -1)
        replaced[: max(0, bad - 100 * number)] = 0
        rows = torch.arange(100)
        batch = dict(replaced=replaced, index=rows, key=rows)
        hook.after_train_iter(runner, first + number, batch)
    hook.after_train_epoch(runner)


@pytest.mark.parametrize(
    ('bad', 'seen', 'first', 'stops'),
    [
        (4, 1000, 0, None),  # chance: 2 % of the first 200
        (14, 1000, 0, 200),  # no chance
        (11, 1000, 0, 1000),  # a whole epoch is judged by the limit itself
        (11, 1000, 3, None),  # the rest of an epoch that was resumed is not
        (4, 100, 7, None),
        (12, 100, 7, 100),
    ],
)
def test_a_part_of_an_epoch_is_judged_with_care(bad, seen, first, stops):
    hook = BadFilesHook()
    if stops is None:
        epochs_of(hook, bad, seen, first)
        assert hook.training.bad == bad
        return
    with pytest.raises(TooManyBadFilesError, match=f'{bad} of {stops} images'):
        epochs_of(hook, bad, seen, first)


def test_a_resumed_epoch_is_a_part(tmp_path):
    """The hook is told the number of the batch within its epoch."""
    dataset = make_set(tmp_path / 'set', 60, {55})
    hook = BadFilesHook()
    train(tmp_path, dataset, hook, done=4)
    assert hook.training.is_rest
    assert (hook.training.seen, hook.training.bad) == (20, 1)


def test_small_sets_are_judged_at_the_end_of_the_epoch(tmp_path):
    dataset = make_set(tmp_path / 'set', 20, set(range(5, 17)))
    hook = BadFilesHook()
    with pytest.raises(TooManyBadFilesError, match=r'12 of 20 .*0005.jpg, .* and 2 more; more'):
        train(tmp_path, dataset, hook)
    assert hook.training.seen == 20


def test_names_in_a_mixture(tmp_path):
    parts = [make_set(tmp_path / 'a', 30, {4}), make_set(tmp_path / 'b', 40, {4, 35})]
    (tmp_path / 'b').rename(tmp_path / 'c')
    for part, folder in zip(parts, ('a', 'c'), strict=True):
        part.pop('type')
        part['data_root'] = str(tmp_path)
        part['ann_file'] = f'{folder}.txt'
        names = [f'{folder}/{path.name}' for path in sorted((tmp_path / folder).iterdir())]
        (tmp_path / f'{folder}.txt').write_text('\n'.join(names))
    mixture = ConcatDataset([PersonImages(**part) for part in parts])
    found = []
    for position in (4, 34, 65):
        sample = mixture[position]
        values = [int(sample[name]) for name in ('index', 'key', 'replaced')]
        found.append(sample_name(mixture, *values))
    assert found == ['a/0004.jpg', 'c/0004.jpg', 'c/0035.jpg']
    assert sample_name([], 4, 5, 3) == 'sample 3'


def test_totals_over_processes(monkeypatch):
    hook = BadFilesHook()
    hook.training.seen, hook.training.bad, hook.training.names = 1000, 1, {'a.jpg'}
    others = [(1000, 1, {'a.jpg'}), (1000, 30, {'b.jpg'})]
    monkeypatch.setattr('mmengine.dist.all_gather_object', lambda value: others)
    with pytest.raises(TooManyBadFilesError, match=r'31 of 2000 .*: a.jpg, b.jpg; more'):
        hook.after_train_epoch(SimpleNamespace(epoch=0))


def test_held_back_images_are_counted_in_the_validation(tmp_path):
    """They are left out of two-view recall, which must not lose many in silence."""
    options = make_set(tmp_path / 'set', 60, {7})
    del options['type']
    dataset = PersonImages(**options)
    loader = torch.utils.data.DataLoader(dataset, 30)
    runner = SimpleNamespace(val_dataloader=SimpleNamespace(dataset=dataset), iter=5)
    hook = BadFilesHook(limit=0.02)
    for _ in range(2):
        hook.before_val_epoch(runner)
        for number, batch in enumerate(loader):
            hook.after_val_iter(runner, number, batch)
        assert (hook.validation.seen, hook.validation.bad) == (60, 1)
        hook.after_val_epoch(runner)
    hook.limit = 0.01
    with pytest.raises(TooManyBadFilesError, match=r'1 of 60 images .*: 0007.jpg; more than'):
        hook.after_val_epoch(runner)
    assert (hook.training.seen, hook.training.bad) == (0, 0)
