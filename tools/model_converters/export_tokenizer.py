"""Write the tokenizer of a training checkpoint as a file of its own.

    python tools/model_converters/export_tokenizer.py work_dirs/RUN/epoch_20.pth tokenizer.pth

Name the result by SAIP_TOKENIZER for the cae-dvae configs; docs/cae.md says how to train one.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.tokenizer import export_tokenizer
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Export, and say what was done."""
    parser = argparse.ArgumentParser(description='Write the tokenizer of a training')
    parser.add_argument('source', type=Path, help='checkpoint of a config of configs/tokenizer')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    args = parser.parse_args()
    print(export_tokenizer(args.source, args.target))


if __name__ == '__main__':
    main()
