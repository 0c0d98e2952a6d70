"""Lengths of a fine-tuning whose schedule is shortened."""


def scaled(length: int, scale: float, least: int = 1) -> int:
    """Round a share of a number of epochs or iterations, half up.

    Args:
        length: of the full schedule.
        scale: the share, above 0 and at most 1.
        least: what is returned for shorter ones.
    """
    return max(least, int(length * scale + 0.5))
