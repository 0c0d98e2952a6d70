"""How every pretraining runs: hooks, logs, checkpoints, processes.

``custom_hooks`` are left to the methods: two bases may not define the same key.
"""

default_scope = 'mmpretrain'
# So that types written without the scope are found under mmpretrain's own tools, too.
custom_imports = dict(imports=['saip.models'], allow_failed_imports=False)

default_hooks = dict(
    runtime_info=dict(type='saip.AsyncRuntimeInfoHook'),
    progress=dict(type='saip.ProgressHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='saip.AtomicCheckpointHook',
        interval=1,
        max_keep_ckpts=3,
        save_best='auto',  # student's mAP, or its two-view recall: the metric's first figure
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)

vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='UniversalVisualizer', vis_backends=vis_backends)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'

randomness = dict(seed=0)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl', timeout=600),  # seconds that processes wait
)

load_from = None
resume = False
