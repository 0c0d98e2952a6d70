"""What the loss needs to know of the training set."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS


@HOOKS.register_module()
class PositiveRatioHook(Hook):
    """Tells :class:`saip.RatioWeightedBCE` how common each attribute is in the training set."""

    def before_train(self, runner: Runner) -> None:
        """Set the ratios.

        Raises:
            ValueError: the training set does not state them, or the head has another number of
                attributes.
        """
        dataset = runner.train_dataloader.dataset
        info = dataset.metainfo
        name = type(dataset).__name__
        if 'positive_ratio' not in info:
            raise InputError(
                f'train_dataloader.dataset: {name} does not state how common its attributes '
                'are (metainfo positive_ratio); saip.PA100K and saip.PETAZeroShot do'
            )
        ratio, head = info['positive_ratio'], unwrap(runner.model).head
        if len(ratio) != head.num_classes:
            raise InputError(
                f'model.head.num_classes={head.num_classes}, but {name} has {len(ratio)} '
                'attributes'
            )
        head.loss_module.set_ratio(ratio)
