# Preset `cae-dvae`: CAE with the codes of a discrete VAE that you have trained on your own images by
# configs/tokenizer. SAIP_TOKENIZER names its weights.
_base_ = './cae.py'
from saip.configs import variable

preset = 'cae-dvae'
model = dict(
    data_preprocessor=dict(views=dict(tokenized=dict(type='Recut', of='clean'))),
    objectives=dict(
        cae=dict(
            target=dict(
                _delete_=True,
                type='saip.TokenTarget',
                tokenizer=dict(type='saip.DiscreteVAE', num_codes=2048),
                checkpoint=variable('SAIP_TOKENIZER', 'data/tokenizers/tokenizer.pth'),
            )
        )
    ),
)
