"""Views, blobs, solvers, threads: what `views.json` has from real pycaffe; recorded by tests/pycaffe/neighbours.py."""

import gc
import os
import threading

import numpy as np
from kit import MINI, TRAINABLE, arr, exc, fill, put, shares, solver_text, wave

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
IP = DATA + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }\n'
SIX = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


def _solver(caffe, kind="SGD", **fields):
    put(TRAINABLE, "train.prototxt")
    solver = caffe.get_solver(put(solver_text("train.prototxt", type=kind, **fields), "solver.prototxt"))
    fill(solver.net)
    solver.net.blobs["data"].data[...] = wave(2, 3)
    solver.net.blobs["label"].data[...] = [0, 1]
    return solver


def case_casts_on_write(caffe, f):
    b = caffe.Net(put(IP), caffe.TEST).blobs["data"]
    for word, value in (
        ("int", 3),
        ("bool", True),
        ("float64", np.float64(1e-50)),
        ("huge", 1e39),
        ("int64", np.arange(6).reshape(2, 3)),
        ("uint8", np.full((2, 3), 255, np.uint8)),
        ("bools", np.eye(2, 3, dtype=bool)),
        ("list", [[1, 2, 3], [4, 5, 6]]),
        ("row", [7, 8, 9]),
        ("column", [[1], [2]]),
        ("half", np.float16(0.1)),
        ("nan", float("nan")),
    ):
        with np.errstate(all="ignore"):
            f[word] = exc(lambda: b.data.__setitem__(Ellipsis, value))
        f[word + " now"] = b.data
    for word, value in (
        ("complex", 1 + 2j),
        ("text", "a"),
        ("number text", "3"),
        ("shape", np.zeros((3, 2))),
        ("none", None),
        ("four axes", np.zeros((1, 1, 2, 3))),
    ):
        f[word] = exc(lambda: b.data.__setitem__(Ellipsis, value))


def case_indices(caffe, f):
    b = caffe.Net(put(IP), caffe.TEST).blobs["data"]
    b.data[...] = wave(2, 3)
    b.data[-1] = 5
    b.data[:, -2] = 6
    b.data[::-1, ::2] += 1
    f["basic"] = b.data
    b.data[[0, 0], [1, 2]] = [7, 8]
    b.data[b.data > 6.5] = 0
    f["fancy"] = b.data
    row = b.data[1]
    row[:] = [1, 2, 3]
    b.data.flat[0] = 9
    b.data.T[2, 0] = 4
    b.data.reshape(-1)[1] = 3
    f["through views"] = b.data
    np.add.at(b.data, ([0, 0], [0, 0]), 1)
    np.copyto(b.data[1:], 2)
    b.data.sort(axis=1)
    f["numpy"] = b.data
    f["behind"] = exc(lambda: b.data[2])
    f["take copies"] = shares(b.data[[0, 1]], b.data)
    f["array"] = [arr(b.data), arr(b.data[:, ::2]), arr(b.data.T)]


def case_in_place_operators(caffe, f):
    b = caffe.Net(put(IP), caffe.TEST).blobs["data"]
    b.data[...] = wave(2, 3)

    def add():
        b.data += 1

    def multiply():
        b.diff *= 2

    def assign():
        b.data = wave(2, 3)

    f["add"] = exc(add)
    f["multiply"] = exc(multiply)
    f["assign"] = exc(assign)
    f["after"] = b.data
    f["other"] = [
        exc(lambda: setattr(b, "count", 3)),
        exc(lambda: setattr(b, "shape", 3)),
        exc(lambda: setattr(b, "own", 3)),
        exc(lambda: b.own),
    ]
    d = b.data
    d -= 1
    d **= 2
    f["held"] = b.data


def case_blob_numbers(caffe, f):
    n = caffe.Net(put(MINI), caffe.TEST)
    for name in ("data", "pool", "prob"):
        b = n.blobs[name]
        f[name] = [b.num, b.channels, b.height, b.width, b.count, list(b.shape)]
    b = n.blobs["data"]
    for shape in ((2,), (0,), (0, 3), ()):
        f["reshape %s" % (shape,)] = [
            exc(lambda: b.reshape(*shape)),
            list(b.shape),
            b.count,
            list(b.data.shape),
            exc(lambda: b.num),
            exc(lambda: b.width),
        ]


def case_empty_batch(caffe, f):
    n = fill(caffe.Net(put(IP), caffe.TEST))
    n.blobs["data"].reshape(0, 3)
    f["forward"] = exc(lambda: n.forward()["ip"].shape)
    f["shapes"] = [list(n.blobs[k].data.shape) for k in n.blobs]
    n.blobs["data"].reshape(2, 3)
    n.blobs["data"].data[...] = 1
    f["again"] = n.forward()["ip"]


def case_views_outlive(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].data[...] = wave(2, 1, 6, 6)
    out = n.forward()["prob"]
    w, blob, vec, layer, names = n.params["conv"][0].data, n.blobs["conv"], n.params["ip"], n.layers[1], n._layer_names
    del n
    gc.collect()
    f["out"] = out
    f["w"] = w
    f["blob"] = [blob.data.sum(), blob.diff.sum()]
    f["vec"] = vec[1].data
    f["layer"] = [layer.type, len(layer.blobs), layer.blobs[1].data]
    f["names"] = list(names)
    w[...] = 1
    f["written"] = layer.blobs[0].data.sum()


def case_views_of_shrunken(caffe, f):
    n = caffe.Net(put(IP), caffe.TEST)
    b = n.blobs["data"]
    b.data[...] = wave(2, 3)
    old = b.data
    b.reshape(1, 3)
    b.data[...] = 7
    f["old"] = old
    b.reshape(3, 3)
    b.data[...] = 8
    f["now"] = b.data
    b.reshape(2, 2)
    f["small"] = b.data


def case_share_two_ways(caffe, f):
    a, b = (fill(caffe.Net(put(MINI), caffe.TEST), k) for k in (0, 1))
    b.share_with(a)
    f["data"] = [shares(a.params[k][0].data, b.params[k][0].data) for k in a.params]
    f["diff"] = shares(a.params["ip"][0].diff, b.params["ip"][0].diff)
    a.params["conv"][0].data[...] = 2
    f["seen"] = b.params["conv"][0].data.sum()
    c = fill(caffe.Net("net.prototxt", caffe.TEST), 2)
    c.share_with(b)
    del a, b
    gc.collect()
    f["third"] = c.params["conv"][0].data.sum()
    c.save("c.caffemodel")
    d = caffe.Net("net.prototxt", "c.caffemodel", caffe.TEST)
    f["saved"] = d.params["conv"][0].data.sum()
    f["wrong"] = exc(lambda: c.share_with(3))
    f["self"] = exc(lambda: c.share_with(c))


def case_hdf5_round(caffe, f):
    import h5py

    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.save_hdf5("w.h5")
    with h5py.File("w.h5", "r") as file:
        seen = []
        file.visititems(lambda name, item: seen.append([name, list(getattr(item, "shape", []))]))
        f["tree"] = sorted(seen)
        f["dtype"] = str(file["data/ip/0"].dtype)
    other = fill(caffe.Net("net.prototxt", caffe.TEST), 3)
    other.load_hdf5("w.h5")
    f["equal"] = [bool((n.params[k][0].data == other.params[k][0].data).all()) for k in n.params]
    third = caffe.Net("net.prototxt", caffe.TEST, weights="w.h5")
    f["third"] = third.params["ip"][1].data
    fourth = fill(caffe.Net(put(MINI.replace('name: "ip"', 'name: "fc"'), "other.prototxt"), caffe.TEST), 4)
    before = fourth.params["fc"][0].data.copy()
    fourth.load_hdf5("w.h5")
    f["renamed"] = [bool((before == fourth.params["fc"][0].data).all()), fourth.params["conv"][1].data]


def case_copy_from_parts(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.save("a.caffemodel")
    m = fill(caffe.Net("net.prototxt", caffe.TEST), 5)
    w = m.params["conv"][0].data
    m.copy_from("a.caffemodel")
    f["held view"] = bool((w == n.params["conv"][0].data).all())
    f["bytes"] = exc(lambda: m.copy_from(b"a.caffemodel"))
    f["number"] = exc(lambda: m.copy_from(3))
    f["none"] = exc(lambda: m.copy_from(None))
    f["keyword"] = exc(
        lambda: caffe.Net(network_file="net.prototxt", phase=caffe.TEST, weights="a.caffemodel").params["ip"][1].data
    )
    f["wrong keyword"] = exc(lambda: caffe.Net("net.prototxt", phase=caffe.TEST, weight="a.caffemodel"))
    f["no phase"] = exc(lambda: caffe.Net("net.prototxt"))
    f["phase text"] = exc(lambda: caffe.Net("net.prototxt", "TEST"))
    f["folder"] = exc(lambda: caffe.Net(".", caffe.TEST))


def case_arrays_of_memory_data(caffe, f):
    text = 'layer { name: "m" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }\nlayer { name: "s" type: "Power" bottom: "data" top: "s" power_param { scale: 2 } }\n'
    n = caffe.Net(put(text), caffe.TEST)
    data, labels = wave(6, 1, 2, 3), np.arange(6, dtype=np.float32)
    n.set_input_arrays(data, labels)
    f["first"] = [n.forward()["s"].sum(), n.blobs["label"].data]
    data[...] = 1
    f["seen"] = n.forward()["s"].sum()
    n.blobs["data"].data[...] = 3
    f["written"] = data[:, 0, 0, 0]
    n.forward(), n.forward()
    f["round"] = n.blobs["label"].data
    for word, (d, l) in {
        "odd": (wave(3, 1, 2, 3), np.zeros(3, np.float32)),
        "different": (wave(4, 1, 2, 3), np.zeros(2, np.float32)),
        "float64": (wave(2, 1, 2, 3).astype(float), np.zeros(2, np.float32)),
        "labels int": (wave(2, 1, 2, 3), np.zeros(2, int)),
        "strided": (wave(4, 1, 2, 3)[::2], np.zeros(2, np.float32)),
        "three axes": (wave(2, 2, 3), np.zeros(2, np.float32)),
        "channels": (wave(2, 2, 2, 3), np.zeros(2, np.float32)),
        "height": (wave(2, 1, 3, 3), np.zeros(2, np.float32)),
        "width": (wave(2, 1, 2, 2), np.zeros(2, np.float32)),
        "labels wide": (wave(2, 1, 2, 3), np.zeros((2, 2), np.float32)),
    }.items():
        f[word] = exc(
            lambda: n.set_input_arrays(d, l),
            "float32",
            "C contiguous",
            "4-d",
            "multiple of batch size",
            "channels",
            "height",
            "width",
            "same first",
        )
    f["other net"] = exc(
        lambda: caffe.Net(put(IP, "ip.prototxt"), caffe.TEST).set_input_arrays(data, labels), "MemoryDataLayer"
    )


def case_forward_all_with_blobs(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    for count in (1, 2, 5):
        out = n.forward_all(blobs=["pool", "conv"], data=wave(count, 1, 6, 6))
        f["%d" % count] = {k: [list(v.shape), str(v.dtype), v.sum()] for k, v in out.items()}
    f["same blob"] = sorted(n.forward_all(blobs=["prob"], data=wave(2, 1, 6, 6)))
    f["unknown"] = exc(lambda: n.forward_all(blobs=["nothing"], data=wave(2, 1, 6, 6)))
    f["no data"] = exc(lambda: n.forward_all())
    f["two"] = exc(lambda: n.forward_all(data=wave(2, 1, 6, 6), other=wave(2)))
    f["empty"] = exc(lambda: {k: v.shape for k, v in n.forward_all(data=wave(0, 1, 6, 6)).items()})


def case_forward_backward_all_parts(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + MINI), caffe.TRAIN))
    outputs, diffs = n.forward_backward_all(blobs=["pool"], diffs=["conv"], data=wave(3, 1, 6, 6), prob=wave(3, 4, k=1))
    f["outputs"] = {k: [list(np.shape(v)), np.sum(v)] for k, v in outputs.items()}
    f["diffs"] = {k: [list(np.shape(v)), np.sum(v)] for k, v in diffs.items()}
    f["less"] = exc(lambda: n.forward_backward_all(data=wave(3, 1, 6, 6)))


def case_backward_parts(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + MINI), caffe.TRAIN))
    n.blobs["data"].data[...] = wave(2, 1, 6, 6)
    n.forward()
    f["middle"] = {k: v.sum() for k, v in n.backward(start="ip", end="pool", diffs=["ip"]).items()}
    n.blobs["ip"].diff[...] = wave(2, 4)
    f["from ip"] = {k: v for k, v in n.backward(start="ip", end="ip").items()}
    f["prob"] = {k: v.sum() for k, v in n.backward(prob=wave(2, 4, k=3)).items()}
    f["unknown"] = exc(lambda: n.backward(start="nothing"))
    f["wrong names"] = exc(lambda: n.backward(ip=wave(2, 4)), "top diff arguments do not match net outputs")
    f["batch"] = exc(lambda: n.backward(prob=wave(1, 4)), "diff is not batch sized")
    n.backward(start="conv", end="ip")
    f["upside down"] = n.blobs["data"].diff.sum()


def case_six_kinds(caffe, f):
    for kind in SIX:
        s = _solver(caffe, kind, **({"delta": 0.1} if kind == "AdaDelta" else {}))
        f[kind] = [
            type(s).__name__,
            [c.__name__ for c in type(s).__mro__ if c.__module__ != "builtins"][:2],
            isinstance(s, caffe.SGDSolver),
        ]
        s.step(3)
        f[kind + " after"] = [s.net.params["ip"][0].data, s.net.params["ip"][0].diff, s.iter, s.lr]


def case_six_kinds_by_name(caffe, f):
    put(TRAINABLE, "train.prototxt")
    put(solver_text("train.prototxt"), "solver.prototxt")
    for kind in SIX:
        s = getattr(caffe, kind + "Solver")("solver.prototxt")
        fill(s.net)
        s.net.blobs["data"].data[...] = wave(2, 3)
        s.step(2)
        f[kind] = [type(s).__name__, s.net.params["ip"][1].data]
    f["none"] = exc(lambda: caffe.SGDSolver())
    f["number"] = exc(lambda: caffe.SGDSolver(3))
    f["two"] = exc(lambda: caffe.SGDSolver("solver.prototxt", "x"))


def case_what_stands_in_diffs(caffe, f):
    for kind in SIX:
        s = _solver(
            caffe,
            kind,
            momentum=0.9 if kind in ("SGD", "Nesterov", "Adam", "AdaDelta") else 0,
            weight_decay=0.01,
            iter_size=2,
        )
        s.step(4)
        n = s.net
        f[kind] = {k: b.diff for k, b in n.blobs.items()}
        f[kind + " params"] = [[b.data, b.diff] for b in n.params["ip"]]
        n.backward()
        f[kind + " more"] = [b.diff for b in n.params["ip"]]


def case_read_between_steps(caffe, f):
    s = _solver(caffe, momentum=0.5)
    seen = []
    for turn in range(6):
        s.step(1)
        seen.append([s.net.blobs["loss"].data, s.net.params["ip"][0].diff.sum()])
        if turn == 3:
            seen.append([s.net.blobs["ip"].data, s.net.blobs["ip"].diff])
        s.net.blobs["data"].data[...] = wave(2, 3, k=turn)
    f["seen"] = seen


def case_snapshot_and_restore_kinds(caffe, f):
    for kind in ("SGD", "Adam", "AdaDelta"):
        s = _solver(caffe, kind, momentum=0.9, snapshot_prefix=kind)
        s.step(3)
        s.snapshot()
        s.step(2)
        t = _solver(caffe, kind, momentum=0.9, snapshot_prefix=kind)
        t.restore("%s_iter_3.solverstate" % kind)
        f[kind] = [t.iter]
        t.step(2)
        f[kind + " equal"] = bool(np.allclose(s.net.params["ip"][0].data, t.net.params["ip"][0].data, rtol=1e-5))
    f["files"] = sorted(name for name in os.listdir(".") if "_iter_" in name)
    f["other kind"] = exc(lambda: _solver(caffe, "SGD").restore("SGD_iter_3.solverstate"))


def case_restore_hdf5(caffe, f):
    s = _solver(caffe, "Nesterov", momentum=0.9, snapshot_format="HDF5", snapshot=2, snapshot_prefix="h")
    s.step(4)
    f["files"] = sorted(name for name in os.listdir(".") if name[0] == "h")
    t = _solver(caffe, "Nesterov", momentum=0.9, snapshot_format="HDF5", snapshot_prefix="h")
    t.restore("h_iter_2.solverstate.h5")
    t.step(2)
    f["equal"] = [t.iter, bool(np.allclose(s.net.params["ip"][0].data, t.net.params["ip"][0].data, rtol=1e-5))]
    u = _solver(caffe, "Nesterov", momentum=0.9)
    u.solve("h_iter_4.solverstate.h5")
    f["solve"] = u.iter


def case_test_nets_follow(caffe, f):
    put(TRAINABLE, "train.prototxt")
    s = caffe.get_solver(
        put(solver_text("train.prototxt", test_iter=[1], test_interval=2, test_initialization=False), "solver.prototxt")
    )
    fill(s.net)
    t = s.test_nets[0]
    f["before"] = [len(s.test_nets), shares(t.params["ip"][0].data, s.net.params["ip"][0].data)]
    s.net.blobs["data"].data[...] = wave(2, 3)
    s.step(2)
    f["two"] = shares(t.params["ip"][0].data, s.net.params["ip"][0].data)
    s.step(1)
    f["three"] = shares(t.params["ip"][0].data, s.net.params["ip"][0].data)
    t.share_with(s.net)
    t.blobs["data"].data[...] = wave(2, 3, k=1)
    f["forward"] = t.forward()["loss"]


def case_callbacks_see(caffe, f):
    s = _solver(caffe, iter_size=2)
    seen = []
    s.add_callback(
        lambda: seen.append(["start", s.iter, s.net.params["ip"][0].diff.sum()]),
        lambda: seen.append(["ready", s.iter, s.net.params["ip"][0].diff]),
    )
    s.step(2)
    f["seen"] = seen
    s.add_callback(lambda: None, lambda: s.net.params["ip"][0].diff.fill(0))
    before = s.net.params["ip"][0].data.copy()
    s.step(1)
    f["still"] = bool((before == s.net.params["ip"][0].data).all())
    f["one"] = exc(lambda: s.add_callback(lambda: None))

    def stop():
        raise KeyError("stop")

    s.add_callback(stop, lambda: None)
    f["error"] = exc(lambda: s.step(1), "stop")
    f["iter"] = s.iter


def case_weights_written_in_callbacks(caffe, f):
    s = _solver(caffe)
    w = s.net.params["ip"][0].data

    def ready():
        w[0] = 1

    s.add_callback(lambda: w.__setitem__(1, 2), ready)
    s.step(3)
    f["w"] = w
    f["ip"] = [s.net.blobs["ip"].data, s.net.blobs["ip"].diff]


def case_threads_one_net_each(caffe, f):
    put(MINI)
    found, wrong = {}, []

    def work(k):
        try:
            caffe.set_mode_cpu()
            n = fill(caffe.Net("net.prototxt", caffe.TEST), k)
            n.blobs["data"].data[...] = wave(2, 1, 6, 6)
            for _ in range(5):
                out = n.forward()["prob"].copy()
            found[k] = out
        except Exception as error:
            wrong.append(repr(error))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    f["found"] = [found[k] for k in sorted(found)]
    f["wrong"] = wrong


def case_view_written_in_a_thread(caffe, f):
    n = fill(caffe.Net(put(IP), caffe.TEST))
    thread = threading.Thread(target=lambda: n.blobs["data"].data.fill(2))
    thread.start()
    thread.join(60)
    f["out"] = n.forward()["ip"]


def case_pickle_of_vectors(caffe, f):
    import copy
    import pickle

    n = caffe.Net(put(IP), caffe.TEST)
    for word, thing in (
        ("layers", n.layers),
        ("blob", n.blobs["ip"]),
        ("shape", n.blobs["ip"].shape),
        ("names", n._layer_names),
        ("vec", n.params["ip"]),
    ):
        f[word] = [exc(lambda: pickle.dumps(thing)), exc(lambda: copy.copy(thing)), exc(lambda: copy.deepcopy(thing))]
    f["data"] = exc(lambda: pickle.loads(pickle.dumps(n.blobs["ip"].data)).shape)
    f["blobs"] = exc(lambda: copy.copy(n.blobs).keys() == n.blobs.keys())


def case_vectors_edit(caffe, f):
    n = caffe.Net(put(IP), caffe.TEST)
    v = n.blobs["data"].shape
    f["repr"] = [
        type(v).__name__,
        len(v),
        v[0],
        v[-1],
        list(v[:1]),
        3 in v,
        exc(lambda: v.index(3)),
        exc(lambda: v + v),
        exc(lambda: v[5]),
        exc(lambda: v["a"]),
        exc(lambda: v[1.0]),
    ]
    v.append(4)
    v[0] = 9
    f["edited"] = [list(v), list(n.blobs["data"].shape)]
    f["wrong"] = [exc(lambda: v.append("a")), exc(lambda: v.append(1.5)), exc(lambda: v.__setitem__(0, None))]
    names = n._layer_names
    f["names"] = [exc(lambda: names.append(3)), "ip" in names, exc(lambda: names["ip"]), list(names)[-1]]
    p = n.params["ip"]
    f["params"] = [
        len(p),
        exc(lambda: p[2]),
        exc(lambda: p.append(n.blobs["data"])),
        len(n.params["ip"]),
        exc(lambda: p.append(3)),
    ]


def case_levels_again(caffe, f):
    text = DATA + "".join(
        'layer { name: "l%d" type: "Power" bottom: "data" top: "l%d" include { min_level: %d max_level: %d %s } }\n'
        % (k, k, low, high, more)
        for k, (low, high, more) in enumerate(
            [(0, 0, ""), (1, 3, ""), (2, 9, 'stage: "a"'), (0, 9, 'not_stage: "a"'), (-5, -1, "phase: TEST")]
        )
    )
    put(text)
    for level in (0, 1, 2, -2, 10):
        for stages in ([], ["a"], ["b", "a"]):
            f["%d %s" % (level, stages)] = list(
                caffe.Net("net.prototxt", caffe.TEST, level=level, stages=stages)._layer_names
            )
    f["tuple"] = exc(lambda: list(caffe.Net("net.prototxt", caffe.TEST, stages=("a",))._layer_names))
    f["none"] = exc(lambda: list(caffe.Net("net.prototxt", caffe.TEST, stages=None)._layer_names))
    f["text level"] = exc(lambda: caffe.Net("net.prototxt", caffe.TEST, level="1"))


PYTHON = """
import caffe
class Counts(caffe.Layer):
    def setup(self, bottom, top):
        self.seen = ["setup %d %d %s" % (len(bottom), len(top), self.param_str)]
        if "fail setup" in self.param_str: raise ValueError("in setup")
        if "blobs" in self.param_str:
            self.blobs.add_blob(2, 3); self.blobs.add_blob(1); self.blobs[0].data[...] = 4
    def reshape(self, bottom, top):
        self.seen.append("reshape")
        top[0].reshape(*bottom[0].data.shape)
    def forward(self, bottom, top):
        if "fail forward" in self.param_str: raise KeyError("in forward")
        top[0].data[...] = bottom[0].data * (self.blobs[0].data.sum() if len(self.blobs) else 2)
    def backward(self, top, propagate_down, bottom):
        if "fail backward" in self.param_str: raise ZeroDivisionError("in backward")
        self.seen.append("backward %s" % list(propagate_down))
        bottom[0].diff[...] = 3 * top[0].diff
        if len(self.blobs): self.blobs[0].diff[...] += 1
"""


def _python(param, kind="Counts", module="counting"):
    return (
        DATA
        + 'layer { name: "p" type: "Python" bottom: "data" top: "p" python_param { module: "%s" layer: "%s" param_str: "%s" } }\n'
        % (module, kind, param)
    )


def case_python_param_str(caffe, f):
    put(PYTHON, "counting.py")
    for param in ("", "{'a': 1}", "a\\nb", "blobs"):
        n = caffe.Net(put("force_backward: true\n" + _python(param)), caffe.TRAIN)
        n.blobs["data"].data[...] = 1
        f["out " + param] = [n.forward()["p"].sum(), n.layers[1].seen, n.layers[1].param_str, n.layers[1].phase]
        n.blobs["p"].diff[...] = 1
        n.backward()
        f["back " + param] = [
            n.blobs["data"].diff.sum(),
            n.layers[1].seen[-1],
            {k: [b.diff.sum() for b in v] for k, v in n.params.items()},
        ]


def case_python_exceptions(caffe, f):
    put(PYTHON, "counting.py")
    f["setup"] = exc(lambda: caffe.Net(put(_python("fail setup")), caffe.TRAIN), "in setup")
    n = caffe.Net(put(_python("fail forward")), caffe.TRAIN)
    f["forward"] = [exc(n.forward, "in forward"), exc(n.forward, "in forward")]
    m = caffe.Net(put("force_backward: true\n" + _python("fail backward")), caffe.TRAIN)
    m.forward()
    f["backward"] = exc(m.backward, "in backward")
    f["again"] = m.forward()["p"].sum()


def case_python_missing_module(caffe, f):
    f["module"] = exc(lambda: caffe.Net(put(_python("", module="nothing_there")), caffe.TRAIN))


def case_python_missing_class(caffe, f):
    put(PYTHON, "counting.py")
    f["class"] = exc(lambda: caffe.Net(put(_python("", kind="Nothing")), caffe.TRAIN))


def case_python_weights_learn(caffe, f):
    put(PYTHON, "counting.py")
    text = (
        DATA
        + 'layer { name: "p" type: "Python" bottom: "data" top: "p" python_param { module: "counting" layer: "Counts" param_str: "blobs" } }\nlayer { name: "l" type: "Reduction" bottom: "p" top: "l" loss_weight: 1 }\n'
    )
    s = caffe.SGDSolver(put(solver_text(put(text, "py.prototxt"), weight_decay=0.1), "solver.prototxt"))
    s.step(2)
    f["blobs"] = [[b.data, b.diff] for b in s.net.params["p"]]
    f["seen"] = s.net.layers[1].seen[-3:]
    s.snapshot()
    n = caffe.Net("py.prototxt", "snap_iter_2.caffemodel", caffe.TEST)
    f["loaded"] = n.params["p"][0].data


def case_second_top_of_infogain(caffe, f):
    h = np.array([[1, 0.2, 0], [0, 1, 0.3], [0.1, 0, 1]], np.float32)
    import caffe.io

    with open("h.binaryproto", "wb") as file:
        file.write(caffe.io.array_to_blobproto(h.reshape(1, 1, 3, 3)).SerializeToString())
    text = 'force_backward: true\nlayer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 4 dim: 3 } shape { dim: 4 } } }\nlayer { name: "l" type: "InfogainLoss" bottom: "data" bottom: "label" top: "l" top: "prob" loss_weight: 1 loss_weight: 0 infogain_loss_param { source: "h.binaryproto" } }\n'
    n = caffe.Net(put(text), caffe.TRAIN)
    n.blobs["data"].data[...] = wave(4, 3)
    n.blobs["label"].data[...] = [0, 1, 2, 1]
    f["out"] = n.forward()
    n.backward(start="l")
    f["diff"] = n.blobs["data"].diff
    n.blobs["prob"].data[...] = np.abs(wave(4, 3, k=1))
    n.backward(start="l")
    f["overwritten"] = n.blobs["data"].diff


def case_lstm_with_its_states(caffe, f):
    text = 'force_backward: true\nlayer { name: "in" type: "Input" top: "x" top: "c" top: "h0" top: "c0" input_param { shape { dim: 3 dim: 2 dim: 2 } shape { dim: 3 dim: 2 } shape { dim: 1 dim: 2 dim: 3 } shape { dim: 1 dim: 2 dim: 3 } } }\nlayer { name: "lstm" type: "LSTM" bottom: "x" bottom: "c" bottom: "h0" bottom: "c0" top: "h" top: "hT" top: "cT" recurrent_param { num_output: 3 expose_hidden: true } }\n'
    n = fill(caffe.Net(put(text), caffe.TRAIN))
    n.blobs["x"].data[...] = wave(3, 2, 2)
    n.blobs["c"].data[...] = [[0, 0], [1, 1], [1, 1]]
    f["out"] = {k: v.sum() for k, v in n.forward().items()}
    n.blobs["hT"].data[...] = 3
    n.blobs["h"].diff[...] = wave(3, 2, 3)
    n.backward()
    f["diffs"] = [n.blobs["x"].diff, [b.diff for b in n.params["lstm"]]]


def case_power_at_zero(caffe, f):
    text = "force_backward: true\n" + DATA
    for k, (power, scale, shift) in enumerate(
        [(2, 1, 0), (0.5, 1, 0), (3, 2, 0), (2, 1, 1), (1, 3, 0), (0, 1, 0), (-1, 1, 0), (2, 0, 0), (2, 0, 3)]
    ):
        n = caffe.Net(
            put(
                text
                + 'layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { power: %g scale: %g shift: %g } }\n'
                % (power, scale, shift),
                "p%d.prototxt" % k,
            ),
            caffe.TRAIN,
        )
        n.blobs["data"].data[...] = [[0, 1, 2], [3, 0, 0.5]]
        with np.errstate(all="ignore"):
            f["out %d" % k] = n.forward()["p"]
            n.blobs["p"].diff[...] = 1
            f["diff %d" % k] = n.backward()["data"]


def case_net_of_a_folder(caffe, f):
    os.mkdir("folder")
    caffe.Net("folder", caffe.TEST)


def case_weights_of_a_folder(caffe, f):
    os.mkdir("folder")
    caffe.Net(put(IP), "folder", caffe.TEST)


def case_solver_of_a_folder(caffe, f):
    os.mkdir("folder")
    caffe.get_solver("folder")


def case_batch_zero_pool(caffe, f):
    n = caffe.Net(put(MINI), caffe.TEST)
    n.blobs["data"].reshape(0, 1, 6, 6)
    n.reshape()
    f["shapes"] = {k: list(b.data.shape) for k, b in n.blobs.items()}
    n.forward()
    f["ran"] = True


def case_batch_zero_loss(caffe, f):
    n = caffe.Net(put(TRAINABLE), caffe.TRAIN)
    n.blobs["data"].reshape(0, 3)
    n.blobs["label"].reshape(0)
    f["loss"] = n.forward()["loss"]
    n.backward()
    f["diff"] = n.params["ip"][0].diff


def case_batch_zero_conv_backward(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + MINI), caffe.TRAIN))
    n.blobs["data"].reshape(0, 1, 6, 6)
    f["forward"] = n.forward()["prob"].shape
    n.backward()
    f["diff"] = [b.diff.sum() for b in n.params["conv"]]
