"""The parts of ``make benchmark`` and of the measurements on a GPU."""
