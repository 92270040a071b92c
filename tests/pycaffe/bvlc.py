"""Run BVLC's own tests of pycaffe against the drop-in: python -m tests.pycaffe.bvlc --bvlc DIR

DIR is a checkout of BVLC/caffe (commit 9b89154: python/caffe/test, and models and examples for one of the tests), which
stays as it is. The exit status is pytest's. Needs the extra pycaffe, Graphviz's `dot`, pytest and six.
"""

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bvlc", type=Path, required=True, metavar="DIR", help="a checkout of BVLC/caffe")
    folder = parser.parse_args().bvlc / "python" / "caffe" / "test"
    if not folder.is_dir():
        parser.error(f"{folder}: not there; give the root of a checkout of BVLC/caffe")
    quiet = ["-q", "-p", "no:cacheprovider", "-W", "ignore"]
    command = [sys.executable, "-m", "caffe_compat", "python", "-m", "pytest", *quiet, str(folder)]
    return subprocess.run(command, cwd=folder).returncode


if __name__ == "__main__":
    sys.exit(main())
