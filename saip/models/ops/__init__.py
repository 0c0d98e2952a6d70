"""Pure functions on ``(h, w)`` patch grids."""
