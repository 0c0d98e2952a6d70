"""Check that `num_classes` matches the training set."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

from saip.downstream.class_count import compare_class_count
from saip.engine.unwrap import unwrap
from saip.errors import InputError
from saip.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Compares the classes of head and mixed labels with those of the training set."""

    def before_train(self, runner: Runner) -> None:
        """Compare them.

        Raises:
            ValueError: the numbers differ.
        """
        model = unwrap(runner.model)
        stated = {
            'model.head.num_classes': model.head.num_classes,
            'model.data_preprocessor.num_classes': model.data_preprocessor.num_classes,
        }
        fault = compare_class_count(stated, runner.train_dataloader.dataset)
        if fault is not None:
            raise InputError(
                f'{fault.text}: add --cfg-options {fault.options} if the set is complete'
            )
