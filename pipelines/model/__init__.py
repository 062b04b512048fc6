"""From records to vectors: augmentation, features, training, encoding, and what agrees with what."""
