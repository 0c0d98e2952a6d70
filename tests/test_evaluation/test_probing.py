"""Linear and attentive probes: what they compute, what moves, and that they learn."""

import math
from dataclasses import replace

import pytest
import torch

from saip.errors import InputError
from saip.evaluation.probing import (
    RECIPES,
    AttentiveProbe,
    LinearHead,
    ParallelProbes,
    cached_batches,
    check_rates,
    train_probes,
)

CPU = torch.device('cpu')


def separable(images=60, dims=8, classes=3):
    torch.manual_seed(0)
    targets = torch.arange(classes).repeat(images // classes)
    return 4 * torch.eye(dims)[targets] + 0.3 * torch.randn(images, dims), targets


def build(name, dims=8, classes=3, heads=2, batch=20, **changes):
    recipe = replace(RECIPES[name], **changes)
    return ParallelProbes(recipe, dims, classes, heads, batch, CPU)


@pytest.mark.parametrize('name', ['linear', 'linear-dino'])
def test_a_linear_probe_reaches_100_percent_on_separable_features(name):
    features, targets = separable()
    # LARS moves matrices by a thousandth of their norm times the rate.
    rates = (20.0, 60.0) if name == 'linear' else (0.3, 1.0)
    epochs = 400 if name == 'linear' else 20
    probes = build(name, epochs=epochs, warm_up=2, rates=rates)
    train_probes(probes, lambda epoch: cached_batches(features, targets, 20, epoch), 3)
    for scores in probes.scores(features):
        assert (scores.argmax(1) == targets).all()


def test_an_attentive_probe_finds_the_token_that_tells_the_class():
    """One token of six, at a place that differs from image to image."""
    torch.manual_seed(0)
    hints, targets = separable(90)
    tokens = 0.3 * torch.randn(90, 6, 8)
    tokens[torch.arange(90), torch.randint(6, (90,))] += hints
    probes = build('attentive', epochs=25, warm_up=2, rates=(0.5, 1.5), batch=30)
    train_probes(probes, lambda epoch: cached_batches(tokens, targets, 30, epoch), 3)
    best = max(float((s.argmax(1) == targets).double().mean()) for s in probes.scores(tokens))
    assert best > 0.95


def test_an_attentive_probe_is_cross_attention_without_residual():
    torch.manual_seed(0)
    probe = AttentiveProbe(8, 3, num_heads=2).double().eval()
    probe.query_token.data.normal_()
    tokens = torch.randn(2, 5, 8, dtype=torch.float64)

    def norm(x):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    found = probe(tokens)
    for image, scores in zip(tokens, found, strict=True):
        q = probe.query(norm(probe.query_token[0]))[0]
        k, v = norm(image) @ probe.key.weight.T, probe.value(norm(image))
        parts = []
        for head in range(2):
            of = slice(4 * head, 4 * head + 4)
            weights = torch.tensor(
                [math.exp(float((q[of] @ row[of]).detach()) / 2) for row in k]
            )
            parts.append((weights.double() / weights.sum()) @ v[:, of])
        read = probe.proj(torch.cat(parts)) / (1 + 1e-5) ** 0.5
        torch.testing.assert_close(scores, probe.classifier.head(read), atol=1e-6, rtol=1e-6)


def test_what_an_attentive_probe_trains():
    """Query, block and head; the norm before the head has statistics and nothing to learn."""
    names = {name.split('.')[0] for name, _ in AttentiveProbe(8, 3, 2).named_parameters()}
    assert names == {
        *('query_token', 'norm_query', 'norm_key', 'norm_value'),
        *('query', 'key', 'value', 'proj', 'classifier'),
    }
    probes = build('attentive', rates=(5.0,), warm_up=0)
    (probe,) = probes.probes
    tokens = torch.randn(20, 6, 8, requires_grad=True)
    targets = torch.randint(3, (20,))
    before = {name: x.clone() for name, x in probe.state_dict().items()}
    for _ in range(30):  # the query is 0 at first, and so are some gradients
        probes.step(tokens, targets, 0.0)
    moved = {n for n, x in probe.state_dict().items() if not torch.equal(before[n], x)}
    assert moved == set(before)
    assert {'classifier.norm.running_mean', 'classifier.norm.running_var'} <= moved
    assert tokens.grad is None


def test_rates_are_trained_side_by_side_as_each_alone():
    features, targets = separable()
    rates = (0.1, 0.3)
    together = build('linear-dino', epochs=3, rates=rates)
    train_probes(together, lambda epoch: cached_batches(features, targets, 20, epoch), 3)
    for place, rate in enumerate(rates):
        alone = build('linear-dino', epochs=3, rates=(rate,))
        train_probes(alone, lambda epoch: cached_batches(features, targets, 20, epoch), 3)
        torch.testing.assert_close(together.scores(features)[place], alone.scores(features)[0])


def test_the_course_of_the_rate():
    probes = build('linear', rates=(0.1,), epochs=90, warm_up=10, batch=512)
    assert [probes.factor(e) for e in (0, 5, 10, 50, 90)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    probes.step(torch.randn(4, 8), torch.randint(3, (4,)), 5.0)
    assert {group['lr'] for group in probes.optimizer.param_groups} == {0.1 * 2 * 0.5}


def test_published_recipes():
    """MAE and CAE: 6.4 for 16,384 images; CAE's attentive probing: 0.4 for 8,192."""
    assert 6.4 * 256 / 16384 in RECIPES['linear'].rates
    assert 0.4 * 256 / 8192 in RECIPES['attentive'].rates
    assert 0.001 in RECIPES['linear-dino'].rates
    assert [RECIPES[name].epochs for name in RECIPES] == [90, 100, 90]
    assert isinstance(LinearHead(4, 2, None).norm, torch.nn.Identity)


def test_every_image_is_in_an_epoch_once():
    features = torch.arange(50.0)[:, None]
    seen = torch.cat([f for f, _ in cached_batches(features, torch.arange(50), 10, 0)])
    assert sorted(seen[:, 0].tolist()) == list(range(50))
    other = torch.cat([f for f, _ in cached_batches(features, torch.arange(50), 10, 1)])
    assert not torch.equal(seen, other)
    assert len(list(cached_batches(features, torch.arange(50), 64, 0))) == 1


def test_wrong_options_are_refused():
    for rates in ([0.1, 0], [float('nan')], [0.1, float('inf')], [0.1, 0.1], []):
        with pytest.raises(InputError, match=r'--rates .*: different, finite numbers above 0'):
            check_rates(rates)
    assert check_rates([1, 0.5]) == (1.0, 0.5)
    with pytest.raises(InputError, match='3 heads cannot share tokens of 8'):
        AttentiveProbe(8, 3, 3)
