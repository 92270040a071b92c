"""python -m caffe_compat.pycaffe SCRIPT ARGS: run a script that imports caffe."""

import sys

from caffe_compat.errors import CaffeCompatError
from caffe_compat.pycaffe.door import run_as_caffe

if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("caffe_compat.pycaffe: name a script; see caffe-compat python --help")
    try:
        sys.exit(run_as_caffe(sys.argv[1:]))
    except CaffeCompatError as error:
        print(f"caffe_compat.pycaffe: {error}", file=sys.stderr)
        sys.exit(2)
