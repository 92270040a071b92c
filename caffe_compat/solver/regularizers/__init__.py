"""What a solver adds to the gradient: one method a module, each registered by name."""

from caffe_compat.solver.regularizers import decay, force  # noqa: F401  (importing registers them)
