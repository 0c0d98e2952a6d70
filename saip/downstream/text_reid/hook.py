"""The tokenizer of a run: read, learned or taken from the checkpoint, and kept in it."""

from __future__ import annotations

from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.downstream.text_reid.model import TextReID
from saip.downstream.text_reid.tokenizer import (
    CaptionTokenizer,
    learn_vocabulary,
    read_clip_vocabulary,
)
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS

META_KEY = 'tokenizer'
"""Entry of a checkpoint's meta."""


@HOOKS.register_module()
class TokenizerHook(Hook):
    """Gives a ``saip.TextReID`` its tokenizer.

    A run that begins takes CLIP's vocabulary, or learns one from the training captions of the data
    set where none is named. Checkpoints hold it, so that a test and a resumed run need neither the
    file nor the captions and cannot take another.

    Args:
        vocabulary: path of ``bpe_simple_vocab_16e6.txt.gz``; None learns one.
    """

    def __init__(self, vocabulary: str | None = None) -> None:
        self.vocabulary = vocabulary

    def before_train(self, runner: Runner) -> None:
        """Provide the tokenizer."""
        self._provide(runner, runner.train_dataloader)

    def before_val(self, runner: Runner) -> None:
        """Provide the tokenizer of a validation without a training."""
        self._provide(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Provide the tokenizer of a test without a checkpoint."""
        self._provide(runner, runner.test_dataloader)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Keep the tokenizer."""
        tokenizer = _model(runner).tokenizer
        if tokenizer is not None:
            checkpoint['meta'][META_KEY] = tokenizer.state()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take over the checkpoint's tokenizer, whatever the configuration names.

        Raises:
            InputError: it has none.
        """
        state = (checkpoint.get('meta') or {}).get(META_KEY)
        if state is None:
            raise InputError(
                f'{runner.cfg.get("load_from")}: its meta holds no {META_KEY}, so what its text '
                'transformer reads is not known; take a checkpoint of a training of this task'
            )
        model = _model(runner)
        model.tokenizer = _fitting(CaptionTokenizer.from_state(state), model)
        runner.logger.info(f"the checkpoint's tokenizer has {model.tokenizer.size} ids")
        if self.vocabulary is not None and (
            read_clip_vocabulary(self.vocabulary).merges != model.tokenizer.merges
        ):
            runner.logger.warning(
                f"the checkpoint's tokenizer is used: it is not that of {self.vocabulary}"
            )

    def _provide(self, runner: Runner, loader: Any) -> None:
        model = _model(runner)
        if model.tokenizer is not None:
            return
        if self.vocabulary is not None:
            model.tokenizer = _fitting(read_clip_vocabulary(self.vocabulary), model)
            runner.logger.info(
                f'tokenizer: {self.vocabulary}, {model.tokenizer.size} ids, the last merge '
                'replaced by <|mask|>'
            )
            return
        if model.text.init_cfg is not None:
            raise InputError(
                f'the weights of the text, {model.text.init_cfg.get("checkpoint")}, know the ids '
                "of CLIP's vocabulary: SAIP_BPE names bpe_simple_vocab_16e6.txt.gz"
            )
        captions = loader.dataset.training_captions()
        # One process learns, so that all have the same.
        found: list[Any] = [None]
        if is_main_process():
            found = [learn_vocabulary(captions, model.text.vocab_size).state()]
        broadcast_object_list(found)
        model.tokenizer = CaptionTokenizer.from_state(found[0])
        runner.logger.info(
            f'tokenizer: no vocabulary file named (SAIP_BPE), so {model.tokenizer.size} ids were '
            f'learned from {len(captions)} training captions of {loader.dataset.data_root}'
        )


def _model(runner: Runner) -> TextReID:
    return unwrap(runner.model)


def _fitting(tokenizer: CaptionTokenizer, model: TextReID) -> CaptionTokenizer:
    if tokenizer.size > model.text.vocab_size:
        raise InputError(
            f'the tokenizer has {tokenizer.size} ids, model.text.vocab_size='
            f'{model.text.vocab_size} and model.head.vocab_size are too small for it'
        )
    return tokenizer
