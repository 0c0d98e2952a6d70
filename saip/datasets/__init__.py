"""Data sets: unlabeled person images, their manifests, and retrieval sets.

Importing this registers them.
"""

from saip.datasets import canvas, labeled, person_images, retrieval

__all__ = ['canvas', 'labeled', 'person_images', 'retrieval']
