"""What the tables leave open, in words for their readers."""

RECIPE = (
    'The paper does not say whether a compared method kept its own recipe. The rows take the '
    "common one (Section IV-B); configs named orig-recipe have the methods' own."
)
STRIDE = (
    'Whether StarNet-S3 and TinyViT-5M have stride 32, as published, or 16, as the authors '
    'fine-tune them, is not written. The rows have 32; see docs/downstream.md#stride-32-or-16.'
)
SEEDS = 'The paper states no seeds and no number of runs.'
BOXES = (
    "COCO is tested with a detector's boxes; the authors' code has annotated ones. "
    'configs/downstream/pose/vitpose_coco-annotated-boxes.py tests the same weights with them.'
)
SCALES = 'LIP is tested at one scale; the record of a test has flip and five scales beside it.'
PARSING_AP = (
    'Which AP^p the paper means is not written. Its figures lie near its mIoU, as AP^p_vol does, '
    'and not above it, as AP^p_50; the former is shown.'
)
SINGLE = (
    'The ticks of the table are lost in its text. Rows of one objective are read in the order of '
    'the columns, CSM, CSR, CSS: the first of them is best at ReID, as matching is (DINO), the '
    'second worst, as reconstruction is (MAE, HAP).'
)
PAIRS = (
    'Two of the three pairs are printed, and their ticks are lost. They are read as CSM with CSR, '
    'then CSM with CSS, since the text adds objectives "progressively"; the second may as well be '
    'CSR with CSS, which --cfg-options model.objectives.csm=None of the same config trains.'
)
ALL_THREE = 'All three: the figures are those of SAIP in Tables I and II.'
DRAW = "The authors' draw from LUPerson is not published; make_luperson.py has one of its own."
COUNTS = (
    'The table prints 1,284,228 images for IN1K, as for LUP1M; its last row adds up with '
    "ImageNet's 1,281,167."
)
ROUNDED = (
    'Epochs, warm-up and milestones are scaled, then rounded: '
    'docs/downstream.md#shorter-fine-tuning.'
)
DOMAINS = (
    'The caption names three domains, the third of them common objects, for which neither the '
    'table nor the text has a data set: the columns are HumanArt (people in art), ChimpACT and '
    'AP-10K (animals).'
)
HUMANART = (
    'HumanArt is trained alone; configs/downstream/pose/vitpose_humanart-coco.py adds COCO, as the '
    "authors' code does."
)
CAE_PROBES = (
    'Linear and attentive probing by tools/eval_frozen.py, the best of its learning rates; a row '
    'shows them once they have been run by --run with this --out.'
)
CAE_DENSE = (
    "ADE20K and COCO in the settings of CAE's code, which takes another rate on ADE20K after 300, "
    '800 and 1600 epochs: docs/downstream.md#settings-of-scenes.'
)
CAE_MAE = (
    "Figures that the README takes from the CAE paper. The row's fine-tunings have the settings of "
    'CAE after 1600 epochs, without LayerScale.'
)
DRAWN = "Figures on data drawn by code say that a task learns, and nothing about the paper's."
