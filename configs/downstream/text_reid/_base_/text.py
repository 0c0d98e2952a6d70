# Where the text side begins: SAIP_TEXT_INIT is a file that tools/model_converters/clip_text_to_saip.py
# wrote, SAIP_BPE the vocabulary that its ids belong to. Without them the text transformer begins at random
# and a vocabulary is learned from the training captions.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

text_checkpoint = variable('SAIP_TEXT_INIT', 'none')
text_init = (
    None if text_checkpoint == 'none' else dict(type='Pretrained', checkpoint=text_checkpoint)
)
vocabulary_file = variable('SAIP_BPE', 'none')
vocabulary = None if vocabulary_file == 'none' else vocabulary_file
