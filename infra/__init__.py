"""What the jobs are built on: configuration, errors, digests, the lake and the engines. Knows no modality."""
