"""SAIP: scale-aware pretraining of lightweight encoders on person images."""

from saip.version import __version__

__all__ = ['__version__']
