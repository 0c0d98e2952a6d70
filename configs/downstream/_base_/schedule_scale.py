# Length of a fine-tuning: SAIP_SCHEDULE scales its epochs, warm-up and every milestone. Table VI of
# the paper has 0.25, 0.5, 0.75 and 1.
scale = float(
    '{{$SAIP_SCHEDULE:1}}' if '{{$SAIP_SCHEDULE:1}}'.replace('.', '', 1).isdigit() else 0
)
if not 0 < scale <= 1:
    raise ValueError(
        'SAIP_SCHEDULE={{$SAIP_SCHEDULE:1}}: a share of the full schedule, above 0 and at most 1, '
        'such as 0.25'
    )
