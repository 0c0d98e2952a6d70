"""Write the text transformer of CLIP for text-to-image ReID (SAIP_TEXT_INIT).

    python tools/model_converters/clip_text_to_saip.py ViT-B-16.pt text.pth --activation quick_gelu

The source is OpenAI's archive, whose code is not run, or a state dict of open_clip: .safetensors or
a file that torch.load reads with weights_only=True. Nothing in a file tells the activation:
OpenAI's weights have quick_gelu; of open_clip's those whose entry in open_clip/pretrained.py says
quick_gelu=True, the others gelu. The image encoder is dropped; every other tensor has to match.
Nothing is downloaded.
"""

from __future__ import annotations

import saip.startup  # noqa: F401, before torch

import argparse
from pathlib import Path

from saip.downstream.text_reid.clip_weights import convert_clip_text
from saip.errors import one_line_errors


@one_line_errors()
def main() -> None:
    """Convert, and say what was done."""
    parser = argparse.ArgumentParser(description="Write CLIP's text transformer as ours")
    parser.add_argument('source', type=Path, help='weights of CLIP')
    parser.add_argument('target', type=Path, help='file to write, .safetensors or .pth')
    parser.add_argument(
        '--activation',
        required=True,
        choices=('quick_gelu', 'gelu'),
        help='with which the weights were trained; OpenAI: quick_gelu',
    )
    parser.add_argument('--heads', type=int, help='of each attention (default: width / 64)')
    args = parser.parse_args()
    print(convert_clip_text(args.source, args.target, args.activation, args.heads))


if __name__ == '__main__':
    main()
