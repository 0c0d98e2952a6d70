"""Tokenizers: images as grids of discrete codes."""

from saip.models.tokenizers.base import BaseTokenizer
from saip.models.tokenizers.dalle import DALLETokenizer
from saip.models.tokenizers.discrete_vae import DiscreteVAE
from saip.models.tokenizers.trainer import TokenizerTrainer

__all__ = ['BaseTokenizer', 'DALLETokenizer', 'DiscreteVAE', 'TokenizerTrainer']
