"""The work of DINO that both sides of the comparison with lightly-train do."""

SIZE = (256, 128)
AREA = (0.8, 1.0)
LOCAL_SIZE = (128, 64)
LOCAL_AREA = (0.05, 0.8)
LOCAL_CROPS = 6
PROTOTYPES = 65536
