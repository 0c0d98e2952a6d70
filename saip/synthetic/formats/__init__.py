"""Synthetic persons in the layouts and annotation formats of public data sets.

Every ``write_*`` takes ``(out, size='tiny', seed=0, workers=1)``, makes the folder ``out`` and
returns whether it had to.
"""

from .ade20k import write_ade20k
from .ap10k import write_ap10k
from .base import SIZES
from .captions import write_cuhk_pedes, write_icfg_pedes
from .chimpact import write_chimpact
from .cihp import write_cihp, write_cihp_raw
from .coco import write_coco, write_wholebody
from .crowdhuman import write_crowdhuman
from .fashionpedia import write_fashionpedia
from .humanart import write_humanart
from .imagenet import write_imagenet
from .lip import write_lip
from .market1501 import write_market1501
from .msmt17 import write_msmt17
from .pa100k import write_pa100k
from .peta import write_peta

# Name on the command line -> (folder that configs expect below the data root, writer).
DATASETS = {
    'market1501': ('Market1501', write_market1501),
    'msmt17': ('MSMT17', write_msmt17),
    'pa100k': ('PA100K', write_pa100k),
    'peta': ('PETA', write_peta),
    'coco': ('coco', write_coco),
    'wholebody': ('coco', write_wholebody),
    'lip': ('LIP', write_lip),
    'crowdhuman': ('CrowdHuman', write_crowdhuman),
    'humanart': ('HumanArt', write_humanart),
    'ap10k': ('ap10k', write_ap10k),
    'chimpact': ('ChimpACT', write_chimpact),
    'cuhk_pedes': ('CUHK-PEDES', write_cuhk_pedes),
    'icfg_pedes': ('ICFG-PEDES', write_icfg_pedes),
    'cihp': ('CIHP', write_cihp),
    'cihp_raw': ('instance-level_human_parsing', write_cihp_raw),
    'fashionpedia': ('fashionpedia', write_fashionpedia),
    'ade20k': ('ADEChallengeData2016', write_ade20k),
    'imagenet': ('imagenet', write_imagenet),
}

__all__ = ['DATASETS', 'SIZES', *(f'write_{name}' for name in DATASETS)]
