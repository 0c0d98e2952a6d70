"""Put configs and tools where mim looks for them; the rest is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithConfigs(build_py):
    """Copy ``configs`` and ``tools`` into ``.mim`` folders of a wheel.

    Upstream's mim looks beside the module; the fork's mim looks beside the first line of the
    wheel's list of files, which is sorted: ``_saip_mim`` comes before ``saip`` and its
    dist-info folder. An editable installation needs neither: there mim looks in this folder.
    """

    def run(self):
        """Build the package, then add the copies."""
        super().run()
        if self.editable_mode:
            return
        for package in ('saip', '_saip_mim'):
            for name in ('configs', 'tools'):
                target = Path(self.build_lib, package, '.mim', name)
                shutil.rmtree(target, ignore_errors=True)
                skipped = shutil.ignore_patterns('__pycache__', '*.pyc', 'setup')
                shutil.copytree(ROOT / name, target, ignore=skipped)


setup(cmdclass={'build_py': BuildWithConfigs})
