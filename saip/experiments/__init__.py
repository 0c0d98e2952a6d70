"""Comparisons of pretrained encoders: frozen evaluations, curves over epochs, fine-tuning jobs."""
