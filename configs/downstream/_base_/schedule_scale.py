# Length of a fine-tuning: SAIP_SCHEDULE scales its epochs, warm-up and every milestone. Table VI of
# the paper has 0.25, 0.5, 0.75 and 1.
_base_ = []  # only with it mmengine lets a configuration of this style import
from saip.configs import variable

share = variable('SAIP_SCHEDULE', '1')
scale = float(share if share.replace('.', '', 1).isdigit() else 0)
if not 0 < scale <= 1:
    raise ValueError(
        f'SAIP_SCHEDULE={share}: a share of the full schedule, above 0 and at most 1, such as 0.25'
    )
