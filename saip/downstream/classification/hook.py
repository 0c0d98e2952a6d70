"""Check that `num_classes` matches the training set."""

from mmengine.hooks import Hook
from mmengine.runner import Runner

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
        dataset, model = runner.train_dataloader.dataset, unwrap(runner.model)
        found = len(dataset.metainfo['classes'])
        options = {
            'model.head.num_classes': model.head.num_classes,
            'model.data_preprocessor.num_classes': model.data_preprocessor.num_classes,
        }
        wrong = {option: stated for option, stated in options.items() if stated != found}
        if wrong:
            stated = ', '.join(f'{option}={value}' for option, value in wrong.items())
            hint = ' '.join(f'{option}={found}' for option in wrong)
            raise InputError(
                f'{stated}, but {dataset.data_root} has {found} classes: add --cfg-options {hint} '
                'if the set is complete'
            )
