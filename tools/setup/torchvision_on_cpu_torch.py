"""Let a CPU build of torch import a CUDA build of torchvision.

Such a torchvision wants libraries of CUDA that a CPU build of torch does not bring, so its
operators stay undeclared and the import stops at their fake kernels. Just before the first
import of torchvision this module loads empty stand-ins for those libraries, after which its CPU
kernels work. Where no stand-ins could be made it declares the operators, enough for transforms.

The set-up of the project writes this file into a virtual environment in which that combination
was found, beside a ``.pth`` file that imports it.
"""

import ctypes
import sys
from pathlib import Path

STAND_INS = Path(__file__).with_name('torchvision_on_cpu_torch_libs')


class _JustBefore:
    """A finder that finds nothing: it only notices that torchvision is about to be imported."""

    declared = None

    def find_spec(self, name, path=None, target=None):
        if name == 'torchvision':
            sys.meta_path.remove(self)
            self.prepare()

    def prepare(self):
        import torch

        if torch.version.cuda is not None or torch.version.hip is not None:
            return
        libraries = sorted(STAND_INS.glob('lib*.so*'))
        for library in libraries:
            ctypes.CDLL(str(library))
        if not libraries:
            self.declared = torch.library.Library('torchvision', 'FRAGMENT')
            for name in ('nms', 'qnms'):
                self.declared.define(
                    f'{name}(Tensor dets, Tensor scores, float limit) -> Tensor'
                )
            sys.modules[__name__].declared = self.declared


sys.meta_path.insert(0, _JustBefore())
