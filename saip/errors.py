"""Errors that their reader can remove."""


class InputError(ValueError):
    """The input, the configuration, a file or a flag is wrong.

    The message names it and says what would be right, so that tools show it without a traceback.
    """
