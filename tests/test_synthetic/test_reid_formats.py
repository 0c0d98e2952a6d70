"""Layouts of the ReID sets, read as readers of the public sets read them."""

import re


def test_msmt17(drawn):
    root = drawn('msmt17')
    lists = {}
    for name, folder in (
        ('train', 'train'),
        ('val', 'train'),
        ('query', 'test'),
        ('gallery', 'test'),
    ):
        lists[name] = []
        for line in (root / f'list_{name}.txt').read_text().splitlines():
            path, pid = line.split(' ')
            assert (root / folder / path).is_file()
            words = path.split('_')
            assert words[0] == f'{int(pid):04d}/{int(pid):04d}'
            lists[name].append((int(pid), int(words[2])))
    assert (
        {pid for pid, _ in lists['train']} == {pid for pid, _ in lists['val']} == set(range(6))
    )
    assert {camera for _, camera in lists['gallery']} == {1, 2, 3}
    for pid, camera in lists['query']:
        others = [found for found in lists['gallery'] if found[0] == pid and found[1] != camera]
        assert others, 'no other camera shows this person'
    count = sum(map(len, lists.values()))
    assert count == len(list(root.rglob('*.jpg')))


def test_market1501(drawn):
    root = drawn('market1501')
    names = [path.name for path in root.rglob('*.jpg')]
    assert all(re.fullmatch(r'(-1|\d{4})_c\ds1_\d{6}_00\.jpg', name) for name in names)
    assert len(list((root / 'query').iterdir())) == 12
