"""From a checkpoint to a file that runs without this project: ONNX, OpenVINO, timm.

A :class:`Program` is a network with its preprocessing in the graph, and plain values that say how
it is fed and what it returns. It is made from a checkpoint, exported, and compared with the network
that it came from before a file is written. The libraries of the formats (extra ``deploy``) are
imported only where they are used.
"""

from saip.deploy.comparison import Comparison, compare_outputs, refuse_difference
from saip.deploy.export import (
    Exported,
    convert_openvino,
    export_onnx,
    quantize_onnx,
    quantize_openvino,
)
from saip.deploy.images import embedded_images, folder_images
from saip.deploy.onnx_file import OnnxFile, OnnxFileError
from saip.deploy.openvino_file import OpenVinoFile, OpenVinoFileError
from saip.deploy.program import Output, Program
from saip.deploy.retrieval import RetrievalSet, read_retrieval_set
from saip.deploy.running import FEATURES
from saip.deploy.source import read_programs
from saip.deploy.timm_folder import write_timm_folder

__all__ = [
    'FEATURES',
    'Comparison',
    'Exported',
    'OnnxFile',
    'OnnxFileError',
    'OpenVinoFile',
    'OpenVinoFileError',
    'Output',
    'Program',
    'RetrievalSet',
    'compare_outputs',
    'convert_openvino',
    'embedded_images',
    'export_onnx',
    'folder_images',
    'quantize_onnx',
    'quantize_openvino',
    'read_programs',
    'read_retrieval_set',
    'refuse_difference',
    'write_timm_folder',
]
