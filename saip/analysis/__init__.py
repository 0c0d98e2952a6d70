"""Counting and comparing: operations of encoders and steps, parity with the release."""
