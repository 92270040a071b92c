#!/usr/bin/env bash
# torch 2.13.0 on an x86 CPU: a 1x1 convolution of fewer than 16 images goes through im2col and BLAS on one thread, and
# through oneDNN on two or more, and from 16 images on; 3x3 ones always take oneDNN. So the values of such a layer
# change in their last digits with the number of threads, and with images that are added to the batch.
# Whoever compares nets to the bit, on machines with other cores or at other batches, meets it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/pointwise.py" <<'PYTHON'
import torch
from torch.profiler import ProfilerActivity, profile

KINDS = {"aten::_slow_conv2d_forward": "im2col", "aten::mkldnn_convolution": "oneDNN"}
random = torch.Generator().manual_seed(0)


def way(batch, kernel, threads):
    torch.set_num_threads(threads)
    images = torch.randn(batch, 64, 28, 28, generator=random)
    filters = torch.randn(32, 64, kernel, kernel, generator=random)
    with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as profiled:
        torch.conv2d(images, filters, padding=kernel // 2)
    return next(KINDS[event.key] for event in profiled.key_averages() if event.key in KINDS)


print("torch", torch.__version__.split("+")[0])
for kernel in (1, 3):
    for batch in (1, 15, 16):
        print(f"{kernel}x{kernel}, batch {batch}: 1 thread {way(batch, kernel, 1)}, 2 threads {way(batch, kernel, 2)}")
images = torch.randn(1, 512, 28, 28, generator=random)
filters = torch.randn(64, 512, 1, 1, generator=random)
tops = []
for threads in (1, 2):
    torch.set_num_threads(threads)
    tops.append(torch.conv2d(images, filters))
print("1x1, batch 1: the two are equal to the bit:", torch.equal(*tops))
PYTHON
"$folder/env/bin/python" "$folder/pointwise.py" 2> /dev/null | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
torch 2.13.0
1x1, batch 1: 1 thread im2col, 2 threads oneDNN
1x1, batch 15: 1 thread im2col, 2 threads oneDNN
1x1, batch 16: 1 thread oneDNN, 2 threads oneDNN
3x3, batch 1: 1 thread oneDNN, 2 threads oneDNN
3x3, batch 15: 1 thread oneDNN, 2 threads oneDNN
3x3, batch 16: 1 thread oneDNN, 2 threads oneDNN
1x1, batch 1: the two are equal to the bit: False
SEEN
