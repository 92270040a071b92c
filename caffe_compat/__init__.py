"""Read, run, train, shrink and write Caffe models in PyTorch, with Caffe's own numbers."""
