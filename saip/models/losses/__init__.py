"""Loss functions: pure, one file per term."""
