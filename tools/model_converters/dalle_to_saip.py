"""Write DALL-E's published tokenizer as plain weights, without running its pickle.

    python tools/model_converters/dalle_to_saip.py encoder.pkl data/tokenizers/dalle.pth

The source is the file that OpenAI publishes (cdn.openai.com/dall-e/encoder.pkl), or a state dict
with its names. Name the result by SAIP_TOKENIZER; docs/cae.md says what it is for.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.engine.converters.dalle import dalle_to_saip
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description="Write DALL-E's tokenizer as plain weights")
    parser.add_argument('source', type=Path, help='encoder.pkl as it is published')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    args = parser.parse_args()
    print(dalle_to_saip(args.source, args.target))


if __name__ == '__main__':
    main()
