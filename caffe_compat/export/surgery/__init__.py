"""Exact rewrites of a whole model: what it takes in, what it gives out, and in which form its dense layers stand.

operation    Operation: a rewritten model, and what the original must be fed to compute the same
dense        fully connected layers as convolutions, and back
inputs       channels swapped or joined, mean and scale in the first layers, another size
classifier   a last layer of another size
certify      the original and the rewritten model run on corresponding inputs
repeating    what a written certificate names, done again and held against the written files
"""
