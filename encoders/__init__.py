"""Torch lives here: encoders of one modality, their fusion into one space, losses and training."""
