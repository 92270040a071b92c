"""The main job in about two minutes: train a small ConvNet, pull its filters together, see its ranks fall."""
