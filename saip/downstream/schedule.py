"""Lengths of a fine-tuning whose schedule is shortened."""


def scaled(length: int, scale: float, least: int = 1) -> int:
    """Round a share of a number of epochs or iterations, half up.

    Args:
        length: of the full schedule.
        scale: the share, above 0 and at most 1.
        least: what is returned for shorter ones.
    """
    return max(least, int(length * scale + 0.5))


def scaled_warmup(length: int, scale: float) -> int:
    """Round the share of a warm-up in the same way; 0 where one step of it would be left.

    A warm-up of one step is none: mmengine's ``LinearLR`` of length 1 sets its first factor and
    never leads to the full rate.
    """
    steps = scaled(length, scale, least=0)
    return steps if steps > 1 else 0
