"""What the jobs stand on: configuration, errors, digests, the lake and the engines. Knows no modality."""
