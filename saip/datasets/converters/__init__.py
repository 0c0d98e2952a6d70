"""Making the pretraining sets of the paper out of public data sets."""
