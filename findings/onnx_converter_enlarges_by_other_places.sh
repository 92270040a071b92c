#!/usr/bin/env bash
# onnx 1.23.2: its version_converter takes an Upsample or Resize of operator set 7 to 10 up to 11 or later and leaves out
# how places are counted. Up to 10 a pixel of the top lies at its number divided by the scale (Resize-11 calls that
# "asymmetric"); from 11 on the default is "half_pixel", and that is what the converted node has. Mode linear gives other
# values at nearly every place, nearest that shrinks to a third the pixel beside; nearest that enlarges by a whole number
# shows nothing. Nothing is said, and the shape is right. PyTorch's exporter wrote such nodes for years, and they carry
# what Caffe's forks call Upsample. With coordinate_transformation_mode "asymmetric" and nearest_mode "floor" set by hand
# the values are the old ones. `export` writes operator set 17 and says how places are counted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.31.1
cat > "$folder/look.py" <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, version_converter

DATA = np.float32([0, 10, 20, 40, 80, 0]).reshape(1, 1, 1, 6)


def run(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": DATA})[0]


def by_plain_loops(mode, scale, half):
    """One row of other size; `half`: pixels are counted by their centres."""
    row, top = DATA[0, 0, 0], []
    for number in range(round(6 * scale)):
        place = (number + 0.5) / scale - 0.5 if half else number / scale
        place = min(max(place, 0), 5)
        first = int(place + 1e-6)
        if mode == "nearest":
            top.append(row[int(np.ceil(place - 0.5 - 1e-6)) if half else first])
        else:
            top.append(row[first] + (place - first) * (row[min(first + 1, 5)] - row[first]))
    return np.float32(top)


def one(operator, source, mode, scale):
    shapes = {"x": DATA.shape, "y": (1, 1, 1, round(6 * scale))}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    fields = {"scales": [1.0, 1.0, 1.0, float(scale)]} if source < 9 else {}
    kept = [] if fields else [numpy_helper.from_array(np.float32([1, 1, 1, scale]), "scales")]
    node = helper.make_node(operator, ["x", *(each.name for each in kept)], ["y"], mode=mode, **fields)
    graph = helper.make_graph([node], "one", ends[:1], ends[1:], kept)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", source)], ir_version=7)


SET = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
for operator, source in (("Upsample", 7), ("Upsample", 9), ("Resize", 10)):
    for mode, scale in (("linear", 2), ("nearest", 2), ("nearest", 1 / 3)):
        if operator == "Upsample" and scale < 1:
            continue  # which only enlarges
        model = one(operator, source, mode, scale)
        rules = {"as before": by_plain_loops(mode, scale, False), "by centres": by_plain_loops(mode, scale, True)}
        assert np.allclose(run(model), rules["as before"])
        for target in (11, 17):
            after = version_converter.convert_version(model, target)
            node = next(each for each in after.graph.node if each.op_type == "Resize")
            assert not SET.keys() & {field.name for field in node.attribute}
            top = run(after)[0, 0, 0]
            told = [rule for rule, right in rules.items() if np.allclose(top, right)]
            print(operator, source, "to", target, mode, f"{scale:.2f}", " and ".join(told), *top[:3])
            node.attribute.extend(helper.make_attribute(*field) for field in SET.items())
            assert np.allclose(run(after), rules["as before"])
PYTHON
"$folder/env/bin/python" "$folder/look.py" | tee "$folder/out"
diff "$folder/out" - <<'SEEN'
Upsample 7 to 11 linear 2.00 by centres 0.0 2.5 7.5
Upsample 7 to 17 linear 2.00 by centres 0.0 2.5 7.5
Upsample 7 to 11 nearest 2.00 as before and by centres 0.0 0.0 10.0
Upsample 7 to 17 nearest 2.00 as before and by centres 0.0 0.0 10.0
Upsample 9 to 11 linear 2.00 by centres 0.0 2.5 7.5
Upsample 9 to 17 linear 2.00 by centres 0.0 2.5 7.5
Upsample 9 to 11 nearest 2.00 as before and by centres 0.0 0.0 10.0
Upsample 9 to 17 nearest 2.00 as before and by centres 0.0 0.0 10.0
Resize 10 to 11 linear 2.00 by centres 0.0 2.5 7.5
Resize 10 to 17 linear 2.00 by centres 0.0 2.5 7.5
Resize 10 to 11 nearest 2.00 as before and by centres 0.0 0.0 10.0
Resize 10 to 17 nearest 2.00 as before and by centres 0.0 0.0 10.0
Resize 10 to 11 nearest 0.33 by centres 10.0 80.0
Resize 10 to 17 nearest 0.33 by centres 10.0 80.0
SEEN
