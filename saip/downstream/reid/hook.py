"""Check that `num_classes` matches the training set."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS


@HOOKS.register_module()
class IdentityCountHook(Hook):
    """Compares the classes of the head with the identities of the training set.

    Too few classes are an error of the device that names nothing, too many are silent.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare them.

        Raises:
            ValueError: the numbers differ.
        """
        dataset = runner.train_dataloader.dataset
        found, stated = len(dataset.metainfo['classes']), unwrap(runner.model).head.num_classes
        if found != stated:
            raise InputError(
                f'model.head.num_classes={stated}, but {dataset.data_root} has {found} training '
                f'identities: add --cfg-options model.head.num_classes={found} if the set is '
                'complete'
            )
