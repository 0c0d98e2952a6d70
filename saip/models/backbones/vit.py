"""The plain vision transformer as an encoder.

Legend: b images, L patches and K kept patches of one request, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn

from saip.checkpoint.relative_position import TABLE, tables_in
from saip.compiling import Compilable
from saip.errors import InputError
from saip.models.backbones.base import BaseEncoder, check_strides
from saip.models.backbones.token_blocks import run_block, run_last_block
from saip.models.backbones.token_outputs import output_of, reaches_the_end, read_at_the_end
from saip.models.backbones.token_pack import Modulations, TokenPack
from saip.models.backbones.vit_options import PosInit, check_options
from saip.models.ops.attention import Biases
from saip.models.ops.controller import Stage
from saip.models.ops.patchify import embed_patches
from saip.models.ops.pos_embed import PosInterp, resample, resample_grid, sincos_positions
from saip.models.ops.precision import widen
from saip.models.ops.relative_position import (
    read_table,
    resample_table,
    table_rows,
    table_size,
)
from saip.registry import MODELS
from saip.structures import EncodeRequest, EncoderOutput, Grid, Outputs, ViewFeatures


@MODELS.register_module()
class ViTEncoder(Compilable, BaseEncoder, VisionTransformer):
    """mmpretrain's VisionTransformer with the encoder contract; its state-dict keys are stock.

    Args:
        arch: name in mmpretrain's zoo, or a dict of embed_dims, num_layers, num_heads and
            feedforward_channels.
        img_size: (height, width) whose grid the position embeddings are learned on.
        patch_size: side of a patch in pixels.
        feature_level: index of the block whose tokens, before any norm, feed the pixel
            objectives; None takes the last block after the final norm.
        pos_interp: how position embeddings reach other grids; ``grid2d`` interpolates on the
            grid, ``flat1d`` along the raster sequence as the method's first release does.
        pos_init: ``trunc_normal`` (0.02) or ``uniform`` on [0, 1); ``sincos`` is MAE's fixed
            table, which is not trained: 0 for the image token, see ``sincos_positions``.
        drop_path_rate: stochastic depth, growing linearly to this rate in the last block.
        layer_scale: initial gain of both residual branches of every block, one learned number per
            channel (LayerScale; CAE takes 0.1, and 1e-5 for large models); 0 for none.
        relative_position: add a learned bias to the scores of attention, per head and distance of
            two patches, in every block (BEiT, CAE's fine-tuning). It begins at zero, so that the
            weights of a pretraining without it load and compute the same.
        out_indices: blocks whose output :meth:`forward` returns.
        out_type: what :meth:`forward` returns, see mmpretrain; ``image_token`` is its
            ``cls_token``. ``avg_featmap`` is the mean of the patch tokens, (B, D), which the final
            norm norms after it instead of the tokens before it, as BEiT, MAE and CAE fine-tune.
        controller: ``dict(condition=λ)`` for SOLIDER's semantic controller, see
            :class:`saip.models.ops.controller.SemanticController`; None for none. It acts on both
            norms of the blocks after a quarter, a half and three quarters of the depth.
        init_cfg: None, or ``dict(type='Pretrained', checkpoint=..., prefix='backbone.')``.
    """

    has_relations = True
    drops_tokens = True
    in_float32 = ('ln1',)  # the final norm

    def __init__(
        self,
        arch: str | dict[str, int] = 'deit-tiny',
        img_size: tuple[int, int] = (256, 128),
        patch_size: int = 16,
        feature_level: int | None = 6,
        pos_interp: PosInterp = 'grid2d',
        pos_init: PosInit = 'trunc_normal',
        drop_path_rate: float = 0.0,
        layer_scale: float = 0.0,
        relative_position: bool = False,
        out_indices: int | list[int] = -1,
        out_type: str = 'featmap',
        controller: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        check_options(img_size, patch_size, pos_interp, pos_init, layer_scale)
        super().__init__(
            arch=dict(arch) if isinstance(arch, dict) else arch,
            img_size=tuple(img_size),
            patch_size=patch_size,
            drop_path_rate=drop_path_rate,
            layer_scale_init_value=float(layer_scale),
            out_indices=list(out_indices) if not isinstance(out_indices, int) else out_indices,
            # Of the mean mmpretrain's class would build another norm beside the final one.
            out_type={'image_token': 'cls_token', 'avg_featmap': 'raw'}.get(out_type, out_type),
            init_cfg=init_cfg,
        )
        if feature_level is not None and not 0 <= feature_level < self.num_layers:
            raise InputError(
                f'feature_level={feature_level}: choose a block from 0 to {self.num_layers - 1}, '
                f'or None for the last block after the final norm'
            )
        self.feature_level = feature_level
        self.pos_interp = pos_interp
        self.pos_init = pos_init
        self.layer_scale = float(layer_scale)
        self.relative_position = relative_position
        self.averages = out_type == 'avg_featmap'
        self.patch_stride = patch_size
        self.patch_dims = self.dense_dims = self.embed_dims
        self.map_channels = {patch_size: self.embed_dims}
        self.dense_is_final = feature_level is None
        self.num_heads = self.arch_settings['num_heads']
        if pos_init == 'sincos':
            self.pos_embed.requires_grad_(False)
        if relative_position:
            self._add_tables()
        for module in self.modules():
            if isinstance(module, DropPath):  # a number of numpy, on which no export can branch
                module.drop_prob = float(module.drop_prob)
        # A scale on the tokens themselves would reach all later blocks and no norm could absorb
        # it; the norms of the next block can.
        self._modulated_blocks = sorted({self.num_layers * i // 4 for i in (1, 2, 3)} - {0})
        self.stages = tuple(
            Stage((f'layers.{i}.ln1', f'layers.{i}.ln2'), self.embed_dims)
            for i in self._modulated_blocks
        )
        self.controller = self._build_controller(controller)

    def _add_tables(self) -> None:
        """Give every block a table of relative position bias."""
        table = torch.zeros(table_size(self.patch_resolution), self.num_heads)
        for layer in self.layers:
            layer.attn.register_parameter(TABLE.split('.')[1], nn.Parameter(table.clone()))

    def reset_parameters(self) -> None:
        """Xavier-uniform linear layers, the fused qkv as one matrix (paper, Appendix A)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.flatten(1))
        nn.init.normal_(self.cls_token, std=0.02)
        if self.pos_init == 'uniform':
            nn.init.uniform_(self.pos_embed)
        elif self.pos_init == 'trunc_normal':
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        else:
            extra = self.num_extra_tokens
            table = sincos_positions(self.patch_resolution, self.embed_dims)
            nn.init.zeros_(self.pos_embed)
            self.pos_embed.data[0, extra:].copy_(table)
        if self.layer_scale:
            for layer in self.layers:
                nn.init.constant_(layer.attn.gamma1.weight, self.layer_scale)
                nn.init.constant_(layer.ffn.gamma2.weight, self.layer_scale)
        for table in tables_in(dict(self.named_parameters())).values():
            nn.init.zeros_(table)
        if self.controller is not None:
            self.controller.reset_parameters()

    def train(self, mode: bool = True) -> ViTEncoder:
        """Set the mode; unlike the stock class, return the module as torch's modules do."""
        super().train(mode)
        return self

    def read_dense_from_last_block(self) -> None:
        """Take the dense features from the last block, after the final norm."""
        self.feature_level = None
        self.dense_is_final = True

    def feature_maps(self, images: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """Normed patch tokens of the last block as a map (B, D, h, w), once per stride."""
        return self.encode_with_maps(images, strides)[1]

    def encode_with_maps(
        self, images: Tensor, strides: Sequence[int]
    ) -> tuple[EncoderOutput, list[Tensor]]:
        """What :meth:`encode` and :meth:`feature_maps` return."""
        check_strides(self, strides)
        output = self.encode(images)
        tokens = output.require_patch_tokens()
        maps = tokens.transpose(1, 2).unflatten(-1, output.grid).contiguous()
        return output, [maps] * len(strides)

    def block_maps(
        self, images: Tensor, shares: Sequence[Fraction], normed: bool = True
    ) -> list[Tensor]:
        """Maps (B, D, h, w) after these shares of its blocks, see :class:`BaseEncoder`."""
        depth = self.num_layers
        if len(shares) > depth:
            raise InputError(f'{len(shares)} maps of an encoder with {depth} blocks: too few')
        read = [int(depth * share) - 1 for share in shares]
        found = {}
        for index, rows, grid in self._after_blocks(images):
            if index in read:
                rows = self.ln1(rows) if normed and index == depth - 1 else rows
                maps = rows[:, 1:].transpose(1, 2).unflatten(-1, grid)
                found[index] = maps.contiguous()
        return [found[index] for index in read]

    def _after_blocks(self, images: Tensor) -> Iterator[tuple[int, Tensor, Grid]]:
        """Yield the number of each block, (b, 1 + L, D) tokens after it, and the grid."""
        request = EncodeRequest(images, Outputs())
        modulation = self._modulation([request])
        tokens, grid = self._embed(images, None)
        biases = self._biases([request], [grid])
        pack = TokenPack([tokens])
        for index, layer in enumerate(self.layers):
            run_block(self, layer, pack, modulation(index, [0]), biases(layer, [0]))
            yield index, pack.split(pack.rows)[0], grid

    def forward(self, x: Tensor) -> tuple[Any, ...]:
        """(B, 3, h, w) -> what ``out_type`` says of each of ``out_indices``; contiguous maps."""
        if self.relative_position or self.averages:
            return tuple(
                self._give(index, rows, grid)
                for index, rows, grid in self._after_blocks(x)
                if index in self.out_indices
            )
        modulation = (
            nullcontext()
            if self.controller is None
            else self.controller.applied_to(self, None, x)
        )
        with modulation:
            outputs = super().forward(x)
        return tuple(y.contiguous() if torch.is_tensor(y) else y for y in outputs)

    def _give(self, index: int, rows: Tensor, grid: Grid) -> Tensor:
        """What :meth:`forward` returns of the tokens after a block."""
        last = index == self.num_layers - 1
        if self.averages:
            mean = widen(rows[:, 1:]).mean(1)
            return self.ln1(mean) if last else mean
        return self._format_output(self.ln1(rows) if last else rows, grid).contiguous()

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter (embeddings, blocks, final norm) and number of layers."""
        return VisionTransformer.get_layer_depth(self, param_name, prefix)

    def _prepare_pos_embed(
        self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the stock hook guesses a square grid; see :meth:`resample_pos_embed`."""

    def resample_pos_embed(
        self, state_dict: dict[str, Tensor], source: Grid
    ) -> dict[str, Tensor]:
        """Return ``state_dict`` with what belongs to grid ``source`` moved to this grid."""
        stored = state_dict['pos_embed']
        extra = self.num_extra_tokens
        rows = resample_grid(stored[0, extra:], source, self.patch_resolution)
        tables = {
            name: resample_table(table, source, self.patch_resolution)
            for name, table in tables_in(state_dict).items()
        }
        moved = torch.cat([stored[0, :extra], rows])[None]
        return {**state_dict, **tables, 'pos_embed': moved}

    def architecture(self) -> dict[str, Any]:
        """Plain values that build this encoder again, plus its patch grid."""
        keys = ('embed_dims', 'num_layers', 'num_heads', 'feedforward_channels')
        return {
            'type': 'saip.ViTEncoder',
            'arch': {key: int(self.arch_settings[key]) for key in keys},
            'img_size': [int(side) for side in self.img_size],
            'patch_size': int(self.patch_stride),
            'feature_level': self.feature_level,
            'pos_interp': self.pos_interp,
            **({'layer_scale': self.layer_scale} if self.layer_scale else {}),
            **({'relative_position': True} if self.relative_position else {}),
            **self._describe_controller(),
            'grid': [int(side) for side in self.patch_resolution],
        }

    def _embed(self, images: Tensor, keep: Tensor | None) -> tuple[Tensor, Grid]:
        """(b, 3, h, w) -> (b, 1 + L or 1 + K, D) tokens with positions, and the full grid."""
        patches, grid = self.patch_embed(images)
        return self._place(patches, grid, keep, self._positions(patches.dtype)), grid

    def _embed_all(self, requests: list[EncodeRequest]) -> list[tuple[Tensor, Grid]]:
        """As :meth:`_embed`: the patches of all in one product, not in a convolution for each."""
        batches, side = [r.images for r in requests], self.patch_stride
        # What is no whole number of patches is padded by the convolution's layer.
        if len(batches) == 1 or any(n % side for x in batches for n in x.shape[-2:]):
            return [self._embed(r.images, r.keep) for r in requests]
        layer = self.patch_embed.projection
        embedded = embed_patches(batches, layer.weight, layer.bias)
        positions = self._positions(embedded[0][0].dtype)
        return [
            (self._place(x, grid, request.keep, positions), grid)
            for (x, grid), request in zip(embedded, requests, strict=True)
        ]

    def _positions(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The image token with its position, (1, 1, D), and the (L, D) positions of the patches.

        The token in the type of the tokens, the positions as they are, to be resampled.
        """
        extra = self.num_extra_tokens
        of_token, of_patches = self.pos_embed.split([extra, self.pos_embed.shape[1] - extra], 1)
        return (self.cls_token + of_token).to(dtype), of_patches[0]

    def _place(
        self,
        patches: Tensor,
        grid: Grid,
        keep: Tensor | None,
        positions: tuple[Tensor, Tensor],
    ) -> Tensor:
        """(b, L, D) patches -> (b, 1 + L or 1 + K, D) tokens with positions."""
        token, rows = positions
        rows = resample(rows, self.patch_resolution, grid, self.pos_interp)
        # In half precision, where the patches are: all that a block reads and adds to.
        patches = patches + rows.to(patches.dtype)
        if keep is not None:
            patches = patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[-1]))
        # Not len(): an exported graph would keep the size of the batch that it is traced with.
        token = token.expand(patches.shape[0], -1, -1)
        return torch.cat([token, patches], dim=1)

    def _modulation(
        self, requests: list[EncodeRequest]
    ) -> Callable[[int, list[int]], Modulations]:
        """What the controller makes of the norms of a block, for some of the requests."""
        if self.controller is None:
            return lambda block, alive: None
        by_request = [self.controller(r.condition, r.images) for r in requests]
        stage_of = {block: stage for stage, block in enumerate(self._modulated_blocks)}

        def at(block: int, alive: list[int]) -> Modulations:
            stage = stage_of.get(block)
            return None if stage is None else [by_request[i][stage] for i in alive]

        return at

    def _biases(
        self, requests: list[EncodeRequest], grids: list[Grid]
    ) -> Callable[[Any, list[int]], Biases]:
        """What a block adds to the scores of attention, for some of the requests."""
        if not self.relative_position:
            return lambda layer, alive: [None] * len(alive)
        rows = [
            table_rows(grid, r.keep, r.images.device)
            for r, grid in zip(requests, grids, strict=True)
        ]

        def at(layer: Any, alive: list[int]) -> Biases:
            table, source = layer.attn.relative_position_bias_table, self.patch_resolution
            return [read_table(resample_table(table, source, grids[i]), rows[i]) for i in alive]

        return at

    def encode_requests(self, requests: list[EncodeRequest]) -> list[ViewFeatures]:
        """Encode several batches together; each stops at the block it is read from."""
        self._check_conditions(requests)
        last = self.num_layers - 1
        level = last if self.feature_level is None else self.feature_level
        if level == last:
            requests = [read_at_the_end(r) for r in requests]
        embedded = self._embed_all(requests)
        grids = [grid for _, grid in embedded]
        pack = TokenPack([tokens for tokens, _ in embedded])
        modulation = self._modulation(requests)
        biases = self._biases(requests, grids)
        dense: list[EncoderOutput | None] = [None] * len(requests)
        alive = list(range(len(requests)))
        for index, layer in enumerate(self.layers[:-1]):
            run_block(self, layer, pack, modulation(index, alive), biases(layer, alive))
            if index != level:
                continue
            parts = pack.split(pack.rows)
            for i, request in enumerate(requests):
                if request.outputs.dense:
                    dense[i] = output_of(parts[i], grids[i])
            alive = [i for i, r in enumerate(requests) if reaches_the_end(r)]
            if not alive:
                return [ViewFeatures(dense=p) for p in dense]
            if len(alive) < len(requests):
                pack = TokenPack([parts[i] for i in alive])
        answers = [ViewFeatures(dense=p) for p in dense]
        layer = self.layers[-1]
        asked = [requests[i] for i in alive]
        raw, relations = run_last_block(
            self, layer, pack, asked, modulation(last, alive), biases(layer, alive)
        )
        normed = raw.split(self.ln1(raw.rows))
        read = normed if self.dense_is_final else raw.split(raw.rows)
        for place, i in enumerate(alive):
            if level == last and requests[i].outputs.dense:
                dense[i] = output_of(read[place], grids[i])
            final = output_of(normed[place], grids[i])
            answers[i] = ViewFeatures(final, dense[i], relations[place])
        return answers

    def attention_map(self, images: Tensor) -> Tensor:
        """Last-block attention of the image token over the patches, (B, H, h, w).

        Args:
            images: (B, 3, h, w), normalized.
        """
        request = EncodeRequest(images, Outputs(image_token=True, relations=True))
        features = self.encode_requests([request])[0]
        grid = features.require_final().grid
        return features.require_relations().query_key[:, :, 0, 1:].unflatten(-1, grid)
