"""The paper's CIFAR-10 runs and speedups on one CUDA device: `python -m reproductions.gpu --help`."""
