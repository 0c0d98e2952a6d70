"""Where the configs of this installation lie."""

from pathlib import Path

from saip.errors import MissingFileError

PACKAGE = Path(__file__).resolve().parent
PLACES = (PACKAGE.parent / 'configs', PACKAGE / '.mim' / 'configs')
"""In the repository (an editable installation), or inside an installed wheel."""


def backbone_folder() -> Path:
    """Folder of the configs' encoders, one file each.

    Raises:
        MissingFileError: the installation has no configs.
    """
    for place in PLACES:
        folder = place / '_base_' / 'backbones'
        if folder.is_dir():
            return folder
    raise MissingFileError(
        f'this installation of saip has no configs: neither {PLACES[0]} nor {PLACES[1]} exists; '
        'install it with pip from the repository'
    )
