"""python -m caffe_compat.solve SOLVER: the same as `caffe-compat solve SOLVER`."""

import sys

from caffe_compat.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["solve", *sys.argv[1:]]))
