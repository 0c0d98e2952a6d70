import numpy as np

from saip.views import uniforms


def splitmix64(state: int, count: int) -> list[float]:
    """Plain SplitMix64 in Python integers."""
    mask, numbers = 2**64 - 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append((z ^ (z >> 31)) & mask)
    return numbers


def test_numbers_are_those_of_splitmix64():
    from hashlib import blake2b

    stream = int.from_bytes(blake2b(b'crop', digest_size=8).digest(), 'little')
    state = splitmix64(77, 1)[0]
    gamma, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    for word in (stream, 5, -1 & mask):
        # The finaliser alone is SplitMix64 started one step earlier.
        state = splitmix64((((state + gamma) & mask) ^ word) - gamma & mask, 1)[0]
    expected = [(x >> 11) / 2**53 for x in splitmix64(state, 4)]
    assert uniforms(5, 'crop', np.array([77]), -1, 4)[0].tolist() == expected


def test_uniform_moments():
    drawn = uniforms(0, 'a', np.arange(20000), 0, 10)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    for power in (1, 2, 3, 4):
        assert np.abs((drawn**power).mean(0) - 1 / (power + 1)).max() < 0.01
    counts = np.bincount((drawn.ravel() * 64).astype(int), minlength=64)
    chi2 = ((counts - drawn.size / 64) ** 2 / (drawn.size / 64)).sum()
    assert 63 - 5 * 126**0.5 < chi2 < 63 + 5 * 126**0.5


def test_neighbors_are_uncorrelated():
    keys = np.arange(20000)
    base = uniforms(0, 'a', keys, 0, 2)
    others = {
        'key': uniforms(0, 'a', keys + 1, 0, 2),
        'epoch': uniforms(0, 'a', keys, 1, 2),
        'seed': uniforms(1, 'a', keys, 0, 2),
        'stream': uniforms(0, 'b', keys, 0, 2),
        'slot': base[:, ::-1],
    }
    for name, other in others.items():
        correlation = np.corrcoef(base[:, 0], other[:, 0])[0, 1]
        assert abs(correlation) < 0.03, name


def test_a_prefix_and_a_permutation_give_the_same_numbers():
    keys = np.array([3, -1, 2**62])
    drawn = uniforms(1, 'a', keys, 7, 8)
    assert (uniforms(1, 'a', keys, 7, 3) == drawn[:, :3]).all()
    assert (uniforms(1, 'a', keys[::-1], 7, 8) == drawn[::-1]).all()
