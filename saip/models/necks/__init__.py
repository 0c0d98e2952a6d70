"""Decoders between an encoder and a loss."""

from saip.models.necks.cross_scale_decoder import CrossScaleDecoder
from saip.models.necks.feature_projector import FeatureProjector
from saip.models.necks.instance_search_decoder import InstanceSearchDecoder
from saip.models.necks.latent_regressor import LatentRegressor, MaskedLatentDecoder
from saip.models.necks.masked_patch_decoder import MaskedPatchDecoder
from saip.models.necks.projector import DINOProjector
from saip.models.necks.random_projection import RandomProjection

__all__ = [
    'CrossScaleDecoder',
    'DINOProjector',
    'FeatureProjector',
    'InstanceSearchDecoder',
    'LatentRegressor',
    'MaskedLatentDecoder',
    'MaskedPatchDecoder',
    'RandomProjection',
]
