"""How every training with mmsegmentation runs: hooks, logs, checkpoints, processes.

mmsegmentation's own runtime cannot be inherited: mmengine knows its configurations by the name of the
distribution ``mmsegmentation``, which onedl-mmsegmentation does not have.
"""

default_scope = 'mmseg'

default_hooks = dict(
    runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
    bad_files=dict(type='saip.BadFilesHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='saip.AtomicCheckpointHook',
        interval=10,
        max_keep_ckpts=3,
        save_best='mIoU',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='mmseg.SegVisualizationHook'),
)

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='mmseg.SegLocalVisualizer', vis_backends=vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'

randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=600),
)

load_from = None
resume = False
