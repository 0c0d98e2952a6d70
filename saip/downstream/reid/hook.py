"""Check that `num_classes` matches the training set."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.downstream.class_count import compare_class_count
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
        stated = {'model.head.num_classes': unwrap(runner.model).head.num_classes}
        fault = compare_class_count(
            stated, runner.train_dataloader.dataset, 'training identities'
        )
        if fault is not None:
            raise InputError(
                f'{fault.text}: add --cfg-options {fault.options} if the set is complete'
            )
