"""ImageNet's configuration for a small encoder, small images and a CPU."""

from tests.tiny import ROOT

CONFIG = str(ROOT / 'configs/downstream/classification/finetune_imagenet.py')
SIZE = 32
CLASSES = 8
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Of any encoder.
SHORT = {
    'model.head.num_classes': CLASSES,
    'model.data_preprocessor.num_classes': CLASSES,
    'model.backbone.img_size': (SIZE, SIZE),
    'train_dataloader.batch_size': 16,
    'train_dataloader.dataset.pipeline.1.scale': SIZE,
    'optim_wrapper.accumulative_counts': 1,
    'optim_wrapper.dtype': 'float32',
    'default_hooks.logger.interval': 1,
    'visualizer.vis_backends': [{'type': 'LocalVisBackend'}],
    **{
        f'{loader}.{key}': value
        for loader in LOADERS
        for key, value in (
            ('num_workers', 0),
            ('persistent_workers', False),
            ('pin_memory', False),
        )
    },
    **{
        f'{loader}.dataset.pipeline.{place}': value
        for loader in LOADERS[1:]
        for place, value in (('1.scale', SIZE * 8 // 7), ('2.crop_size', (SIZE, SIZE)))
    },
}
# Of plain encoders, with eight pixels per patch.
ARCH = dict(embed_dims=48, num_layers=3, num_heads=3, feedforward_channels=96)
SMALL = SHORT | {
    'model.backbone.arch': dict(_delete_=True, **ARCH),
    'model.backbone.feature_level': None,
    'model.backbone.patch_size': 8,
    'model.head.in_channels': 48,
}
