"""KE-RCNN's head: shapes, gradients, what is known, and where boxes are."""

import math

import pytest
import torch

from saip.datasets.fashionpedia import NUM_ATTRIBUTES
from saip.downstream.part_attributes import KEHead
from saip.downstream.part_attributes.head import Regions, box_offsets
from saip.downstream.part_attributes.layers import AttentionLayer
from saip.downstream.part_attributes.outlines import human_box
from saip.errors import InputError

SLIM = dict(in_channels=16, class_channels=12, channels=16, heads=4, part_hidden=8, hidden=16)


def head(**changes) -> KEHead:
    torch.manual_seed(0)
    made = KEHead(**{**SLIM, **changes})
    made.init_weights()
    made.knowledge[1, :5] = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])
    made.knowledge[2, 4:6] = 0.5
    return made.eval()


def regions(number: int = 3, seed: int = 1) -> Regions:
    generator = torch.Generator().manual_seed(seed)
    return Regions(
        torch.randn(number, 16, 7, 7, generator=generator),
        torch.randn(number, 16, 14, 14, generator=generator),
        torch.randn(number, 4, generator=generator),
        torch.randn(number, 46, generator=generator).softmax(dim=1),
        torch.arange(number) % 3,
    )


def weights() -> torch.Tensor:
    return torch.randn(46, 12, generator=torch.Generator().manual_seed(2))


def test_shapes_and_a_new_head_says_little():
    model = head()
    logits = model(regions(), weights())
    assert logits.shape == (3, NUM_ATTRIBUTES)
    assert logits.std() < 0.2
    targets = torch.rand(3, NUM_ATTRIBUTES) < 0.1
    # Five times the cross-entropy of what is as probable as not.
    assert model.loss(logits, targets).item() == pytest.approx(5 * math.log(2), rel=0.02)


def test_the_loss_by_hand():
    logits, targets = torch.tensor([[0.0, 2.0], [-1.0, 0.0]]), torch.tensor([[1, 0], [0, 0]])
    terms = [math.log(2), math.log(1 + math.exp(2)), math.log(1 + math.exp(-1)), math.log(2)]
    found = head(loss_weight=3.0).loss(logits, targets.bool())
    assert found.item() == pytest.approx(3 * sum(terms) / 4)


def test_garments_are_independent():
    model, several = head(), regions(5)
    logits = model(several, weights())
    alone = model(Regions(*(part[3:4] for part in several)), weights())
    assert torch.allclose(alone[0], logits[3], atol=1e-5)


def test_everything_learns_but_the_classifier_of_boxes():
    model, several, classes = head().train(), regions(), weights().requires_grad_()
    several.parts.requires_grad_(), several.humans.requires_grad_()
    model.loss(model(several, classes), torch.rand(3, NUM_ATTRIBUTES) < 0.5).backward()
    assert classes.grad is None
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []
    assert all(p.grad.any() for p in model.parameters())
    assert several.parts.grad.any()
    assert several.humans.grad.any()


def test_queries_of_attributes_that_a_category_never_has_are_zero():
    model = head()
    queries = model._queries(torch.tensor([1, 2, 0]))
    asked = [row.any(dim=-1).nonzero()[:, 0].tolist() for row in queries]
    assert asked == [[0, 1, 2, 3, 4], [4, 5], []]
    # The same attribute is the same query, whoever is asked.
    assert torch.equal(queries[0, 4], queries[1, 4])


def test_the_label_changes_the_answer():
    model, several = head(), regions()
    torch.nn.init.normal_(model.classifier)
    other = several._replace(labels=torch.tensor([1, 1, 1]))
    one, two = model(several, weights()), model(other, weights())
    assert not torch.allclose(one[0], two[0], atol=1e-3)
    assert torch.allclose(one[1], two[1], atol=1e-5)


def test_tokens_of_what_is_known_by_the_formula():
    """Add up the classifier's weights first, as it is written, then go through the layers."""
    model, several, classes = head(), regions(), weights()
    added = torch.einsum('ca,rc,cd->rad', model.knowledge, several.probabilities, classes)
    expected = model.known(model.from_classes(added))
    found = model._knowledge_tokens(several.probabilities, classes)
    assert torch.allclose(found, expected, atol=1e-5)


def test_what_is_known_is_in_the_weights():
    model, other = head(), KEHead(**SLIM)
    assert not model.has_knowledge
    model.attribute_ids.copy_(torch.arange(NUM_ATTRIBUTES))
    assert model.has_knowledge
    other.load_state_dict(model.state_dict())
    assert other.has_knowledge
    assert torch.equal(other.knowledge, model.knowledge)


def test_the_layers_at_full_size():
    """Queries of half the width over 196 cells; 638 tokens; each a norm and a bias."""
    model = KEHead()

    def layer(dims: int, hidden: int) -> int:
        return 4 * dims * (dims + 1) + 2 * dims * hidden + hidden + dims + 4 * dims

    parts = {
        'own': 9 * 128 * 128 + 2 * 128,
        'human': 128 * 257,
        'in human': 2 * layer(128, 128),
        'cells, place': 256 * 257 + 256 * 5,
        'known': 256 * 1025 + 256 * 257,
        'queries': 294 * 256 + 256 * 257,
        'attention': 4 * layer(256, 512),
        'classifier': 294 * 256,
    }
    assert sum(p.numel() for p in model.parameters()) == sum(parts.values())


def test_a_layer_looks_at_its_memory_alone():
    layer = AttentionLayer(8, 2, 16, 0.5).eval()
    queries, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    found = layer(queries, memory)
    assert found.shape == queries.shape
    assert torch.allclose(layer(queries[:, :1], memory), found[:, :1], atol=1e-6)
    assert torch.allclose(layer(queries, memory.flip(1)), found, atol=1e-6)
    # A norm comes last: of a new layer its weights are one, its biases zero.
    assert torch.allclose(found.mean(dim=-1), torch.zeros(2, 3), atol=1e-6)


def test_places_by_hand():
    human = torch.tensor([[10.0, 20, 50, 100]])  # 40 x 80 around (30, 60)
    box = torch.tensor([[30.0, 20, 50, 40]])  # 20 x 20 around (40, 30)
    found = box_offsets(box, human)[0].tolist()
    assert found == pytest.approx([10 / 40, -30 / 80, math.log(20 / 40), math.log(20 / 80)])
    assert box_offsets(human, human)[0].tolist() == [0, 0, 0, 0]
    # A box without an area counts as a pixel.
    empty = torch.tensor([[30.0, 60, 30, 60]])
    assert box_offsets(empty, human)[0].tolist() == pytest.approx(
        [0, 0, -math.log(40), -math.log(80)]
    )


def test_the_box_of_a_person_by_hand():
    boxes = torch.tensor([[12.0, 30, 20, 50], [40, 25, 60, 70]])
    assert human_box(boxes, (100, 75), (10, 10)).tolist() == [2, 15, 70, 75]
    assert human_box(boxes, (100, 75), (20, 5)).tolist() == [0, 20, 80, 75]


@pytest.mark.parametrize(
    'change', [dict(in_channels=15), dict(heads=3), dict(groups=3), dict(channels=18)]
)
def test_channels_that_do_not_divide_are_refused(change):
    with pytest.raises(InputError, match=r'saip\.KEHead: in_channels=.* multiples of heads='):
        KEHead(**{**SLIM, **change})
