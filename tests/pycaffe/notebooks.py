"""Run the code cells of BVLC's notebooks: python -m tests.pycaffe.notebooks --bvlc DIR --data DIR [NAME ...]

--bvlc: a checkout of BVLC/caffe, which stays as it is: each notebook runs in a copy of it. Commit 9b89154, but b8cc297
for hdf5_classification, as brewing-logreg was called then. --data: a folder with `mnist` (idx files), `googlenet`
(deploy.prototxt, bvlc_googlenet.caffemodel) and `imagenet-sample` (images, labels.txt). What is changed in a notebook
stands in CHANGES and BEFORE, and in README.md beside this file with what came out. Cells are of Python 2: lib2to3 makes
them of Python 3; lines of the shell and of IPython are left out. Needs the extra pycaffe, matplotlib, pandas, tables
and scikit-learn, and a Python that has lib2to3 (up to 3.12).
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

# name -> (text in the cells, what takes its place); a cell that holds SKIP of its name is left out
NO_GPU = [("caffe.set_device(0)", "pass"), ("caffe.set_mode_gpu()", "caffe.set_mode_cpu()")]
CAFFENET = "models/bvlc_reference_caffenet/"
RANDOM = (
    "[np.copyto(b[0].data, np.random.default_rng(1).standard_normal(b[0].data.shape, np.float32) "
    "/ 3 / b[0].data[0].size ** 0.5) for b in made.params.values()]"
)
WITHOUT_WEIGHTS = (
    "import numpy as np; caffe.set_mode_cpu(); "
    f"made = caffe.Net('../{CAFFENET}deploy.prototxt', caffe.TEST); {RANDOM}; made.save(weights)"
)
CHANGES = {
    "00-classification": [
        *NO_GPU,
        (f"caffe_root + '{CAFFENET}deploy.prototxt'", "caffe_root + 'data/given/googlenet/deploy.prototxt'"),
        (
            f"caffe_root + '{CAFFENET}bvlc_reference_caffenet.caffemodel'",
            "caffe_root + 'data/given/googlenet/bvlc_googlenet.caffemodel'",
        ),
        (
            "mu = np.load(caffe_root + 'python/caffe/imagenet/ilsvrc_2012_mean.npy')",
            "mu = np.array([104., 117., 123.])",
        ),
        ("mu = mu.mean(1).mean(1)", "pass"),
        ("reshape(50,", "reshape(2,"),
        ("227, 227)", "224, 224)"),
        ("labels = np.loadtxt(labels_file, str, delimiter='\\t')", "labels = np.arange(1000)"),
        ("['conv1']", "['conv1/7x7_s2']"),
        ("['pool5'].data[0]", "['inception_5b/pool'].data[0]"),
        ("['fc6']", "['pool5/7x7_s1']"),
        (".iteritems()", ".items()"),
    ],
    "01-learning-lenet": [
        *NO_GPU,
        ("niter = 200", "niter = 100"),
        ("niter = 250", "niter = 50"),
        ("niter / 10", "niter // 10"),
    ],
    "net_surgery": [
        (
            "net = caffe.Net('../models",
            f"made = caffe.Net('../{CAFFENET}deploy.prototxt', caffe.TEST); {RANDOM}; "
            f"made.save('../{CAFFENET}bvlc_reference_caffenet.caffemodel')\nnet = caffe.Net('../models",
        ),
        (
            "np.load('../python/caffe/imagenet/ilsvrc_2012_mean.npy').mean(1).mean(1)",
            "np.array([104., 117., 123.])",
        ),
    ],
    "brewing-logreg": [
        ("loss='log', n_iter=1000", "loss='log_loss', max_iter=1000"),
        ("import sklearn\n", "import sklearn, sklearn.model_selection, sklearn.metrics\n"),
        ("_ = pd.plotting", "0 and pd.plotting"),
        ("s.max_iter = 10000 ", "s.max_iter = 2000 "),
        (
            "solver = caffe.get_solver(solver_path)\nsolver.solve()",
            "trained = caffe.get_solver(solver_path)\ntrained.solve()",
        ),
        ("solver.test_nets", "trained.test_nets"),  # %%timeit keeps the names of its cell to itself
    ],
    "02-fine-tuning": [
        *NO_GPU,
        ("mean_file=caffe_root + 'data/ilsvrc12/imagenet_mean.binaryproto'", "mean_value=[104.0, 117.0, 123.0]"),
        ("batch_size=50", "batch_size=4"),
        ("batch_index = 8", "batch_index = 2"),
        ("NamedTemporaryFile(delete=False)", "NamedTemporaryFile('w', delete=False)"),
        ("list(np.loadtxt(imagenet_label_file, str, delimiter='\\t'))", "[str(i) for i in range(1000)]"),
        ("list(np.loadtxt(style_label_file, str, delimiter='\\n'))", "open(style_label_file).read().splitlines()"),
        ("assert os.path.exists(weights)", WITHOUT_WEIGHTS),
        ("niter = 200", "niter = 2"),
        ("test_iters=10", "test_iters=1"),
    ],
    "pascal-multilabel-with-datalayer": [
        (
            "caffe.set_mode_gpu()\ncaffe.set_device(0)",
            f"weights = '../{CAFFENET}bvlc_reference_caffenet.caffemodel'\n" + WITHOUT_WEIGHTS,
        ),
        ("batch_size = 128", "batch_size = 4"),
        ("range(6)", "range(1)"),
        ("solver.step(100)", "solver.step(2)"),
        ("solver.test_nets[0], 50)", "solver.test_nets[0], 2)"),
        ("5823/128", "2"),
        ("np.int)", "int)"),
        ("range(5)", "range(2)"),
    ],
    "detection": [
        ("labels_df.sort('synset_id')", "labels_df.sort_values('synset_id')"),
        ("max_s.sort(ascending", "max_s = max_s.sort_values(ascending"),
        (".order(", ".sort_values("),
        ("scores[:, np.newaxis]", "scores.values[:, np.newaxis]"),
    ],
    "hdf5_classification": [
        ("loss='log', n_iter=1000", "loss='log_loss', max_iter=1000"),
        ("class_weight='auto'", "class_weight='balanced'"),
        ("sklearn.cross_validation", "sklearn.model_selection"),
        ("import sklearn\n", "import sklearn, sklearn.model_selection, sklearn.metrics\n"),
        ("_ = pd.scatter_matrix", "0 and pd.scatter_matrix"),
    ],
    "siamese/mnist_siamese": [
        (
            "net = caffe.Net(MODEL_FILE, PRETRAINED_FILE",
            "caffe.Net(MODEL_FILE, caffe.TEST).save(PRETRAINED_FILE)\nnet = caffe.Net(MODEL_FILE, PRETRAINED_FILE",
        ),
        ("np.fromstring(", "np.frombuffer("),
    ],
}
SKIP = {"00-classification": ("my_image_url",), "brewing-logreg": ("shutil.rmtree(dirname)",)}
BEFORE = {
    "01-learning-lenet": "import caffe_compat as cc, os\nfrom pathlib import Path\n"
    "cc.make_mnist(Path('../data/given/mnist'), Path('mnist'))\n",
    "02-fine-tuning": """
import os
lines = [line.split() for line in open('../data/given/imagenet-sample/labels.txt')]
os.makedirs('../data/flickr_style')
for part, chosen in (('train', lines[:-50]), ('test', lines[-50:])):
    with open(f'../data/flickr_style/{part}.txt', 'w') as file:
        file.writelines(f'../data/given/imagenet-sample/{name} {int(number) % 5}\\n' for name, number in chosen)
""",
    "pascal-multilabel-with-datalayer": """
import os, shutil, subprocess, sys, types, numpy as np, skimage.transform
lines = [line.split()[0][:-4] for line in open('../data/given/imagenet-sample/labels.txt')][:24]
root = '../data/pascal/VOC2012/'
for part in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
    os.makedirs(root + part)
box = '<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>90</xmax><ymax>80</ymax></bndbox>'
for number, name in enumerate(lines):
    shutil.copy(f'../data/given/imagenet-sample/{name}.jpg', root + 'JPEGImages')
    kind = ('cat', 'dog', 'person')[number % 3]
    with open(root + f'Annotations/{name}.xml', 'w') as file:
        file.write(f'<annotation><object><name>{kind}</name><difficult>0</difficult>{box}</object></annotation>')
for part in ('train', 'val'):
    with open(root + f'ImageSets/Main/{part}.txt', 'w') as file:
        file.writelines(f'{name}\\n' for name in lines)
misc = types.ModuleType('scipy.misc')  # gone from SciPy
misc.imresize = lambda im, size: np.uint8(255 * skimage.transform.resize(im, size))
import scipy, scipy.sparse
scipy.misc = sys.modules['scipy.misc'] = misc
for file in ('pycaffe/tools.py', 'pycaffe/layers/pascal_multilabel_datalayers.py'):  # Python 2
    subprocess.run([sys.executable, '-W', 'ignore', '-m', 'lib2to3', '-w', '-n', file], check=True, capture_output=True)
""",
    "detection": f"""
import os, subprocess, sys, caffe, numpy as np
made = caffe.Net('../models/bvlc_reference_rcnn_ilsvrc13/deploy.prototxt', caffe.TEST); {RANDOM}
"""
    """
os.makedirs('_temp')
with open('_temp/det_input.csv', 'w') as file:
    file.write('filename,xmin,ymin,xmax,ymax\\n')
    for x, y in ((0, 0), (20, 40), (100, 30), (140, 60), (150, 5), (60, 90)):
        file.write(f'images/fish-bike.jpg,{x},{y},{x + 180},{y + 150}\\n')
with open('../data/ilsvrc12/det_synset_words.txt', 'w') as file:
    names = ['person', 'bicycle'] + [f'thing {number}, object' for number in range(198)]
    file.writelines(f'n{number:08d} {name}\\n' for number, name in enumerate(names))
model = '../models/bvlc_reference_rcnn_ilsvrc13/'
weights = model + 'bvlc_reference_rcnn_ilsvrc13.caffemodel'
made.save(weights)
with open('../python/detect.py') as file:
    script = file.read().replace("to_hdf(args.output_file, 'df'", "to_hdf(args.output_file, key='df'")  # pandas 3
with open('../python/detect.py', 'w') as file:
    file.write(script)
subprocess.run(
    [sys.executable, '-m', 'caffe_compat', 'python', '../python/detect.py', '--crop_mode=list', '--raw_scale=255',
     f'--pretrained_model={weights}', f'--model_def={model}deploy.prototxt', '--mean_file=', '_temp/det_input.csv',
     '_temp/det_output.h5'], check=True)
""",
    "hdf5_classification": """
import pathlib
for path in pathlib.Path('hdf5_classification').glob('solver*.prototxt'):
    path.write_text(path.read_text().replace('max_iter: 10000', 'max_iter: 2000'))
""",
    "siamese/mnist_siamese": """
import shutil
shutil.copytree('../../data/given/mnist', '../../data/mnist', dirs_exist_ok=True)
""",
}


def code(path: Path, name: str) -> str:
    """The cells of a notebook as one script of Python 3."""
    book = json.loads(path.read_text())
    cells = book.get("cells") or book["worksheets"][0]["cells"]
    texts = ["".join(cell.get("source", cell.get("input"))) for cell in cells if cell["cell_type"] == "code"]
    kept = [text for text in texts if not any(word in text for word in SKIP.get(name, ()))]
    script = "\n\n".join(
        re.sub(r"^(\s*)(%%?timeit|%%?time|%)\s?(matplotlib.*)?", r"\1", text, flags=re.M) for text in kept
    )
    script = re.sub(r"^(\s*)!(?:.*\\\n)*.*$", r"\1pass", script, flags=re.M)
    for old, new in CHANGES[name]:
        if old not in script:
            raise SystemExit(f"{name}: '{old}' is not in the notebook")
        script = script.replace(old, new)
    return BEFORE.get(name, "") + _of_python_3(script, name)


def _of_python_3(script: str, name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lib2to3.refactor import RefactoringTool, get_fixers_from_package
    tool = RefactoringTool([fix for fix in get_fixers_from_package("lib2to3.fixes") if not fix.endswith("fix_dict")])
    try:
        return str(tool.refactor_string(script + "\n", name))
    except Exception:  # already Python 3, where `print` is a function
        return script


def run(name: str, bvlc: Path, data: Path) -> tuple[int, float, str]:
    """Exit status, seconds, and the last lines of one notebook."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "caffe")
        for part in ("examples", "models", "data"):
            shutil.copytree(bvlc / part, root / part)
        if (bvlc / "python").is_dir():
            (root / "python").mkdir()
            shutil.copy(bvlc / "python" / "detect.py", root / "python")
        (root / "data" / "given").symlink_to(data.resolve())
        script = root / "examples" / f"{name}.py"
        script.write_text(code(bvlc / "examples" / f"{name}.ipynb", name))
        began = time.monotonic()
        found = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "caffe_compat", "python", script.name],
            cwd=script.parent,
            capture_output=True,
            text=True,
            env={"MPLBACKEND": "Agg", "PATH": "/usr/bin:/bin", "HOME": folder, "OMP_NUM_THREADS": "2"}
            | ({"PYTHONPATH": str(Path(__file__).parents[2])}),
        )
        told = found.stdout if found.returncode == 0 else found.stderr
        return found.returncode, time.monotonic() - began, "\n".join(told.strip().splitlines()[-6:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bvlc", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CHANGES)}; default: all there are")
    arguments = parser.parse_args()
    failed = 0
    here = [name for name in CHANGES if (arguments.bvlc / "examples" / f"{name}.ipynb").is_file()]
    for name in arguments.names or here:
        status, seconds, told = run(name, arguments.bvlc, arguments.data)
        failed += status != 0
        print(f"{name}: {'ran' if status == 0 else 'FAILED'} in {seconds:.0f} s\n{told}\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
