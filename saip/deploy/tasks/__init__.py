"""Programs of fine-tuned models, one module per task."""
