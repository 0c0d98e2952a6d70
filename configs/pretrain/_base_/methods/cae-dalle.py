# Preset `cae-dalle`: CAE as published, with the 8,192 codes of DALL-E's tokenizer, on square images of
# ImageNet: crops, mask and statistics of the release. SAIP_TOKENIZER names the tokenizer's weights,
# which tools/model_converters/dalle_to_saip.py makes of the published file.
_base_ = './cae.py'
from saip.configs import variable

preset = 'cae-dalle'
model = dict(
    data_preprocessor=dict(
        size=(224, 224),
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        views=dict(
            clean=dict(area=(0.08, 1.0), aspect=(0.75, 1.3333)),
            masked=dict(mask=dict(_delete_=True, type='BlockMask', hidden=98, min_patches=16)),
            tokenized=dict(type='Recut', of='clean', size=(112, 112)),
        ),
    ),
    objectives=dict(
        cae=dict(
            target=dict(
                _delete_=True,
                type='saip.TokenTarget',
                tokenizer=dict(type='saip.DALLETokenizer'),
                checkpoint=variable('SAIP_TOKENIZER', 'data/tokenizers/tokenizer.pth'),
            )
        )
    ),
)
