"""What the OpenMMLab libraries lack for the downstream tasks, one package per task.

No task is imported here: configurations name a task's package in ``custom_imports``.
"""

import saip.checkpoint  # noqa: F401 (files of weights run no code from here on)
