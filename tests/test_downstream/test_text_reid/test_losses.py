"""SDM, identities and hidden words by hand, and in two processes against one."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from saip.downstream.text_reid import IRRAHead
from saip.downstream.text_reid.head import mean_over_processes
from saip.downstream.text_reid.loss import similarity_distribution_matching
from saip.downstream.text_reid.masking import MaskedWords, mask_words
from saip.errors import InputError
from tests.processes import in_processes


def test_sdm_of_two_people_by_hand():
    """Images and texts in the plane, two of one person; cosines are 1, 0.8, 0.6 and 0."""
    images = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    tau = 0.5
    cosines = [[1.0, 0.6], [0.0, 0.8]]  # images against texts

    def row(logits: list[float], target: list[float]) -> float:
        total = sum(math.exp(x / tau) for x in logits)
        share = [math.exp(x / tau) / total for x in logits]
        return sum(
            p * (math.log(p) - math.log(q + 1e-8)) for p, q in zip(share, target, strict=True)
        )

    apart = [[1.0, 0.0], [0.0, 1.0]]
    columns = [list(x) for x in zip(*cosines, strict=True)]
    for identities, target in (([4, 9], apart), ([4, 4], [[0.5, 0.5], [0.5, 0.5]])):
        expected = sum(
            row(logits, q) / 2
            for rows in (cosines, columns)
            for logits, q in zip(rows, target, strict=True)
        )
        found = similarity_distribution_matching(images, texts, torch.tensor(identities), tau)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def restated_sdm(images: np.ndarray, texts: np.ndarray, identities: np.ndarray) -> float:
    """Equations 4 to 6 of IRRA in float64, entry by entry."""
    number = len(identities)
    total = 0.0
    for rows, columns in ((images, texts), (texts, images)):
        for i in range(number):
            cosine = [
                rows[i] @ columns[j] / np.linalg.norm(rows[i]) / np.linalg.norm(columns[j])
                for j in range(number)
            ]
            scaled = np.array(cosine) / 0.02
            share = np.exp(scaled - scaled.max())
            share /= share.sum()
            right = identities == identities[i]
            target = right / right.sum()
            used = share > 0
            total += (
                share[used] * (np.log(share[used]) - np.log(target[used] + 1e-8))
            ).sum() / number
    return total


def test_sdm_in_float64_and_whatever_the_precision_around():
    rng = np.random.default_rng(0)
    images, texts = rng.normal(size=(2, 9, 16))
    identities = np.array([3, 1, 3, 0, 5, 1, 3, 2, 0])
    as_tensors = [torch.from_numpy(x) for x in (images, texts, identities)]
    exact = similarity_distribution_matching(*as_tensors)
    assert exact.item() == pytest.approx(restated_sdm(images, texts, identities), rel=1e-10)
    single = [as_tensors[0].float(), as_tensors[1].float(), as_tensors[2]]
    found = similarity_distribution_matching(*single)
    assert found.item() == pytest.approx(exact.item(), rel=1e-4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(similarity_distribution_matching(*single), found)


def test_sdm_of_equal_features_has_finite_gradients():
    rows = torch.ones(4, 3, requires_grad=True)
    similarity_distribution_matching(rows, rows, torch.tensor([0, 0, 1, 2])).backward()
    assert rows.grad.isfinite().all()


class TwoSides(nn.Module):
    """A matrix for images and one for texts, and the losses that see other processes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.image, self.text = nn.Linear(5, 6), nn.Linear(5, 6)
        self.words = nn.Linear(6, 7)
        self.double()

    def forward(self, x, y, identities, rows, hidden):
        images, texts = self.image(x), self.text(y)
        words = mean_over_processes(self.words(texts[rows]), hidden)
        return similarity_distribution_matching(images, texts, identities), words


def batch() -> list[torch.Tensor]:
    """Eight pairs of five people; two of a person are in different halves."""
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(2, 8, 5, generator=generator).double()
    return [x, y, torch.tensor([0, 1, 2, 2, 3, 0, 1, 4])]


def losses_and_gradients(rank: int, world: int) -> dict:
    """Of one process of one or two; the first half hides one word, the second three."""
    inner = TwoSides()
    model = DistributedDataParallel(inner) if world > 1 else inner
    size = 8 // world
    own = [part[rank * size : (rank + 1) * size] for part in batch()]
    hidden = {0: 4, 4: 1, 5: 6, 6: 0}  # row -> word
    mine = {row - rank * size: word for row, word in hidden.items() if row // size == rank}
    rows, words = (torch.tensor(list(part)) for part in (mine, mine.values()))
    sdm, mlm = model(*own, rows, words)
    (sdm + mlm).backward()
    gradients = {name: p.grad.tolist() for name, p in inner.named_parameters()}
    return {'sdm': sdm.item(), 'mlm': mlm.item(), 'gradients': gradients}


def in_a_process() -> dict:
    import torch.distributed as dist

    dist.init_process_group('gloo')
    try:
        return losses_and_gradients(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


@pytest.mark.dist
def test_two_processes_have_the_loss_and_gradients_of_one_with_the_whole_batch(tmp_path):
    first, second = in_processes(2, tmp_path, in_a_process)
    whole = losses_and_gradients(0, 1)
    for name in ('sdm', 'mlm'):
        assert (first[name] + second[name]) / 2 == pytest.approx(whole[name], rel=1e-6)
        assert first[name] != pytest.approx(second[name], rel=1e-3)
    for name, expected in whole['gradients'].items():
        for process in (first, second):
            assert np.array(process['gradients'][name]) == pytest.approx(
                np.array(expected), rel=1e-6
            )


def head(**options) -> IRRAHead:
    torch.manual_seed(0)
    small = dict(num_classes=5, vocab_size=30, dims=16, heads=4, layers=2)
    return IRRAHead(**{**small, **options})


def inputs() -> dict:
    """Three pairs; five image tokens, captions of six ids, four hidden words."""
    generator = torch.Generator().manual_seed(4)
    image_tokens = torch.randn(3, 5, 16, generator=generator)
    texts = torch.randn(3, 16, generator=generator)
    masked_texts = torch.randn(3, 6, 16, generator=generator)
    places, words = torch.tensor([1, 7, 9, 15]), torch.tensor([4, 29, 11, 2])
    masked = MaskedWords(torch.zeros(3, 6).long(), places, words)
    labels = torch.tensor([4, 0, 4])
    return dict(
        image_tokens=image_tokens,
        texts=texts,
        masked_texts=masked_texts,
        masked=masked,
        labels=labels,
    )


def test_one_classifier_names_people_in_images_and_captions():
    model, given = head(), inputs()
    nn.init.normal_(model.classifier.weight)
    nn.init.normal_(model.classifier.bias)
    weight, bias = model.classifier.weight.double(), model.classifier.bias.double()
    total = 0.0
    for features in (given['image_tokens'][:, 0].double(), given['texts'].double()):
        for row, label in zip(features, given['labels'], strict=True):
            logits = weight @ row + bias
            total -= (logits[label] - logits.exp().sum().log()).item() / 6
    losses = model.loss(**given)
    assert losses['loss_id'].item() == pytest.approx(total, rel=1e-5)
    assert list(losses) == ['loss_sdm', 'loss_id', 'loss_mlm']
    expected = similarity_distribution_matching(
        given['image_tokens'][:, 0], given['texts'], given['labels']
    )
    assert torch.equal(losses['loss_sdm'], expected)


def test_hidden_words_in_float64_step_by_step():
    """The decoder restated with explicit softmaxes, one caption and one word at a time."""
    model, given = head().double(), inputs()
    mlm = model.mlm
    for parameter in mlm.parameters():
        nn.init.normal_(parameter, std=0.3)

    def norm(x: torch.Tensor, layer: nn.LayerNorm) -> torch.Tensor:
        centered = x - x.mean(-1, keepdim=True)
        deviation = (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centered / deviation * layer.weight + layer.bias

    def attention(q, k, v, heads: int) -> torch.Tensor:
        parts = []
        for one, other, value in zip(*(x.chunk(heads, -1) for x in (q, k, v)), strict=True):
            scores = one @ other.T / one.shape[-1] ** 0.5
            weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
            parts.append(weights @ value)
        return torch.cat(parts, -1)

    def linear(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
        return x @ layer.weight.T + layer.bias

    def quick(x: torch.Tensor) -> torch.Tensor:
        return x / (1 + (-1.702 * x).exp())

    rows = []
    for text, image in zip(given['masked_texts'].double(), given['image_tokens'], strict=True):
        weights = mlm.attention.in_proj_weight.chunk(3)
        biases = mlm.attention.in_proj_bias.chunk(3)
        sides = norm(text, mlm.text_norm), *[norm(image.double(), mlm.image_norm)] * 2
        q, k, v = (x @ w.T + b for x, w, b in zip(sides, weights, biases, strict=True))
        x = linear(attention(q, k, v, 4), mlm.attention.out_proj)
        for block in mlm.blocks:
            q, k, v = linear(norm(x, block.norm1), block.qkv).chunk(3, -1)
            x = x + linear(attention(q, k, v, 4), block.proj)
            x = x + linear(quick(linear(norm(x, block.norm2), block.fc1)), block.fc2)
        rows.append(norm(x, mlm.norm))
    flat = torch.cat(rows)
    total = 0.0
    for place, word in zip(given['masked'].places, given['masked'].words, strict=True):
        hidden = norm(quick(linear(flat[place], mlm.head.dense)), mlm.head.norm)
        logits = linear(hidden, mlm.head.words)
        total -= (logits[word] - logits.exp().sum().log()).item() / 4
    as_double = {
        key: value.double() if key != 'labels' and key != 'masked' else value
        for key, value in given.items()
    }
    assert model.loss(**as_double)['loss_mlm'].item() == pytest.approx(total, rel=1e-5)


def test_initial_weights_of_the_head():
    model = head(num_classes=2000, dims=128, vocab_size=500)
    assert model.classifier.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert not model.classifier.bias.any()
    into_sum = 128**-0.5 * 4**-0.5
    deviations = {
        model.mlm.attention.in_proj_weight: 128**-0.5,
        model.mlm.attention.out_proj.weight: into_sum,
        model.mlm.head.dense.weight: 256**-0.5,
        model.mlm.head.words.weight: into_sum,
    }
    for weight, deviation in deviations.items():
        assert weight.std().item() == pytest.approx(deviation, rel=0.03)
    with pytest.raises(InputError, match=r'head\.dims=16 is no multiple of its 3 heads'):
        head(heads=3)


def captions() -> tuple[torch.Tensor, torch.Tensor]:
    """4,000 captions of 20 words, 50 of one word, and one of none; word i has id 5 + i."""
    ids = torch.zeros(4051, 25, dtype=torch.int64)
    lengths = torch.tensor([22] * 4000 + [3] * 50 + [2])
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.tensor([98, *range(5, 3 + length), 99])
    return ids, lengths


def test_words_are_hidden_as_stated():
    ids, lengths = captions()
    before = ids.clone()
    found = mask_words(ids, lengths, mask=97)
    assert torch.equal(ids, before)  # what SDM and the classifier read
    assert found.ids.data_ptr() != ids.data_ptr()
    chosen = torch.zeros(ids.shape, dtype=torch.bool)
    chosen.flatten()[found.places] = True
    assert torch.equal(found.words, ids[chosen])
    # Never the start, the end or the padding, and at least one word of each caption.
    assert not (chosen & ((ids == 98) | (ids == 99) | (ids == 0))).any()
    assert chosen[:4050].any(1).all()
    assert not chosen[4050].any()
    # Nothing else changes.
    assert torch.equal(found.ids[~chosen], ids[~chosen])
    # Of 20 words 15 %, and one in any case: 0.15 + 0.85^20 / 20.
    assert chosen[:4000].float().sum().item() / 80_000 == pytest.approx(0.15194, abs=0.005)
    words, instead = ids[chosen], found.ids[chosen]
    share = (instead == 97).float().mean().item()
    assert share == pytest.approx(0.8, abs=0.02)
    # A random one of 96 words is the same word now and then.
    assert (instead == words).float().mean().item() == pytest.approx(0.1 + 0.1 / 96, abs=0.015)
    others = instead[(instead != 97) & (instead != words)]
    assert others.min() == 1
    assert others.max() == 96
