"""python -m caffe_compat VERB: the same as the command `caffe-compat VERB`."""

import sys

from caffe_compat.commands import main

if __name__ == "__main__":
    sys.exit(main())
