import pytest
import torch
import torch.nn.functional as F

from saip.errors import InputError
from saip.models.necks import CrossScaleDecoder, DINOProjector, InstanceSearchDecoder
from saip.structures import EncoderOutput, PatchMask


def features(b, grid, dims, count=None):
    length = count or grid[0] * grid[1]
    return EncoderOutput(torch.randn(b, dims), torch.randn(b, length, dims), grid)


def half_mask(b, grid):
    length = grid[0] * grid[1]
    order = torch.stack([torch.randperm(length) for _ in range(b)])
    visible = length // 4
    return PatchMask(order[:, :visible], order.argsort(1), order[:, visible:])


def test_scores_are_cosines_with_the_prototypes():
    projector = DINOProjector(8, 16, 6, 32).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    rows = projector.mlp(x).detach()
    cosines = F.cosine_similarity(rows[:, None], projector.prototypes.detach(), dim=-1)
    torch.testing.assert_close(projector(x), cosines)
    mixed = torch.randn(5, 32, dtype=torch.float64)
    unit = F.normalize(projector.mlp(x), dim=-1) @ F.normalize(projector.prototypes, dim=-1).T
    found, wanted = (
        torch.autograd.grad(scores, list(projector.parameters()), mixed)
        for scores in (projector(x), unit)
    )
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_reconstruction_reads_the_anchors_patches():
    decoder = CrossScaleDecoder(12, (8, 4), dims=32, depth=2, num_heads=4).eval()
    masked, mask = features(2, (10, 5), 12, 12), half_mask(2, (10, 5))
    anchor = features(2, (8, 4), 12)
    out = decoder(masked, anchor, mask, mask.scored)
    assert out.shape == (2, 38, 768)
    changed = EncoderOutput(anchor.image_token, anchor.patch_tokens.flip(0), anchor.grid)
    assert not torch.allclose(decoder(masked, changed, mask, mask.scored), out)
    token = EncoderOutput(anchor.image_token + 1, anchor.patch_tokens, anchor.grid)
    torch.testing.assert_close(decoder(masked, token, mask, mask.scored), out)


def plain_block(block, x):
    """A pre-norm transformer block, attention by torch's own multi-head function."""
    h = F.layer_norm(x, x.shape[-1:], block.norm1.weight, block.norm1.bias, 1e-6)
    h = h.transpose(0, 1)
    attn = block.attn
    attended, _ = F.multi_head_attention_forward(
        *(h, h, h, attn.dims, attn.num_heads, attn.qkv.weight, attn.qkv.bias, None, None),
        *(False, 0.0, attn.proj.weight, attn.proj.bias),
    )
    x = x + attended.transpose(0, 1)
    h = F.layer_norm(x, x.shape[-1:], block.norm2.weight, block.norm2.bias, 1e-6)
    return x + block.mlp.fc2(F.gelu(block.mlp.fc1(h)))


@pytest.mark.parametrize(('grid', 'depth'), [((8, 4), 1), ((8, 4), 3), ((10, 5), 2)])
def test_one_sequence_of_both_images(grid, depth):
    """Against a loop over images that puts every token in its place by hand."""
    decoder = CrossScaleDecoder(
        12, (8, 4), dims=32, depth=depth, num_heads=4, condition='sequence'
    ).double()
    mask, length = half_mask(2, grid), grid[0] * grid[1]
    visible, anchor = (
        EncoderOutput(x.image_token.double(), x.patch_tokens.double(), x.grid)
        for x in (features(2, grid, 12, length // 4), features(2, (8, 4), 12))
    )
    positions = decoder.pos_embed[0, 1:]
    maps = positions.T.reshape(1, 32, 8, 4)
    resized = F.interpolate(maps, size=grid, mode='bicubic').reshape(32, length).T
    found = decoder(visible, anchor, mask, mask.scored)
    for b in range(2):
        own = decoder.mask_token[0].expand(length, -1).clone()
        for token, place in zip(visible.patch_tokens[b], mask.keep[b], strict=True):
            own[place] = decoder.embed(token)
        other = decoder.embed(anchor.patch_tokens[b]) + positions + decoder.segment_embed[0]
        x = torch.cat([other, own + resized])[None]
        for block in decoder.blocks:
            x = plain_block(block, x)
        wanted = decoder.predict(decoder.norm(x[0, 32:][mask.scored[b]]))
        torch.testing.assert_close(found[b], wanted)


def test_a_sequence_of_both_images_trains_every_weight():
    decoder = CrossScaleDecoder(12, (8, 4), dims=32, depth=2, num_heads=4, condition='sequence')
    mask = half_mask(2, (10, 5))
    masked, anchor = features(2, (10, 5), 12, 12), features(2, (8, 4), 12)
    decoder(masked, anchor, mask, mask.scored).square().sum().backward()
    # The class row of the positions has no token here, nor with patch_tokens.
    assert [n for n, p in decoder.named_parameters() if p.grad is None] == []
    assert decoder.segment_embed.grad.abs().min() > 0
    assert not decoder.pos_embed.grad[0, 0].any()


def test_an_unknown_condition_names_the_known_ones():
    with pytest.raises(InputError, match='patch_tokens, sequence, image_token'):
        CrossScaleDecoder(12, (8, 4), dims=32, depth=1, num_heads=4, condition='tokens')


def test_with_an_image_token_only_that_is_read():
    decoder = CrossScaleDecoder(
        12, (8, 4), dims=32, depth=2, num_heads=4, condition='image_token'
    ).eval()
    masked, mask = features(2, (10, 5), 12, 12), half_mask(2, (10, 5))
    anchor = features(2, (8, 4), 12)
    out = decoder(masked, anchor, mask, mask.scored)
    patches = EncoderOutput(anchor.image_token, anchor.patch_tokens + 1, anchor.grid)
    torch.testing.assert_close(decoder(masked, patches, mask, mask.scored), out)
    token = EncoderOutput(anchor.image_token + 1, anchor.patch_tokens, anchor.grid)
    assert not torch.allclose(decoder(masked, token, mask, mask.scored), out)


def test_visible_tokens_return_to_their_places():
    decoder = CrossScaleDecoder(12, (8, 4), dims=32, depth=1, num_heads=4)
    mask = half_mask(3, (8, 4))
    visible = torch.randn(3, 8, 32)
    full = decoder._restore(visible, mask)
    for b in range(3):
        torch.testing.assert_close(full[b, mask.keep[b]], visible[b])
        hidden = full[b, mask.scored[b]]
        torch.testing.assert_close(hidden, decoder.mask_token[0].expand_as(hidden))


def test_each_query_is_searched_alone():
    decoder = InstanceSearchDecoder(12, dims=32, num_heads=4).eval()
    scene = features(2, (14, 14), 12)
    queries = [features(2, (8, 4), 12), features(2, (6, 3), 12)]
    both = decoder(queries, scene)
    assert both.shape == (2, 2, 14, 14)
    for i, query in enumerate(queries):
        torch.testing.assert_close(decoder([query], scene)[:, 0], both[:, i])


def test_search_uses_every_token_of_the_query():
    decoder = InstanceSearchDecoder(12, dims=32, num_heads=4).eval()
    scene, query = features(1, (14, 14), 12), features(1, (8, 4), 12)
    query.patch_tokens.requires_grad_()
    decoder([query], scene).sum().backward()
    assert query.patch_tokens.grad.abs().sum(-1).min() > 0
