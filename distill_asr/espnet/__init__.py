"""The only room that imports ESPnet's tasks: the plug-in, the task, the trainer, learning rates."""

from distill_asr.models.espnet_imports import without_side_imports

with without_side_imports():  # here, so that it comes before any other import of a task
    import espnet2.tasks.asr
    import espnet2.tasks.lm  # noqa: F401
