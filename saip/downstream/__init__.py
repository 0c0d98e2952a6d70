"""What the OpenMMLab libraries lack for the downstream tasks, one package per task.

Nothing is imported here: a task's package is imported when a configuration names its types.
"""
