"""A comparison of methods that runs by itself: train, evaluate, write a table."""
