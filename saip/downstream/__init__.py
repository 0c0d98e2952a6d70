"""What the OpenMMLab libraries lack for the downstream tasks, one package per task.

Nothing is imported here: configurations name a task's package in ``custom_imports``.
"""
