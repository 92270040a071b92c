"""Python layers, memory, files, lifetimes: what `layers.json` has from real pycaffe; recorded by tests/pycaffe/neighbours.py."""

import numpy as np, os, gc, copy, pickle, weakref
from kit import MINI, exc, fill, put, shares, wave, py, PYBASE

D = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'


def case_ns_rest(caffe, f):
    L, P = (caffe.layers, caffe.params)
    h = L.Python(L.Input(shape=dict(dim=[1])), module="m", layer="l", param_str=repr({"a": 1}), ntop=1)
    f["python"] = str(caffe.to_proto(h))
    f["fn attrs"] = sorted(h.fn.params)
    r = caffe.NetSpec()
    r.a = L.Data(source="x", backend=P.Data.LMDB, batch_size=3, ntop=1, include={"phase": 0})
    r.r = L.ReLU(r.a)
    r.r2 = L.ReLU(r.r, in_place=True)
    r.t = L.TanH(r.r)
    f["inplace name"] = str(r.to_proto())
    f["tops same"] = [r.r2 is r.r, r.r2.fn is r.r.fn]
    f["ns attrs"] = exc(lambda: r.to_proto(1))
    f["annotated"] = [
        hasattr(caffe.net_spec, x)
        for x in ("Top", "Function", "NetSpec", "Layers", "Parameters", "param_name_dict", "to_proto", "assign_proto")
    ]
    d = caffe.net_spec.param_name_dict()
    f["pnd n"] = [
        d.get(k)
        for k in (
            "Convolution",
            "Data",
            "ReLU",
            "Flatten",
            "TanH",
            "PReLU",
            "LRN",
            "Deconvolution",
            "DummyData",
            "HDF5Data",
            "MVN",
            "ELU",
            "SPP",
        )
    ]


def case_py_data_loss(caffe, f):
    put(
        "\nimport caffe, numpy as np\nclass Data(caffe.Layer):\n    def setup(self, bottom, top): self.k = 0; self.p = eval(self.param_str)\n    def reshape(self, bottom, top): top[0].reshape(self.p['n'], 3); top[1].reshape(self.p['n'])\n    def forward(self, bottom, top): self.k += 1; top[0].data[...] = self.k; top[1].data[...] = 0\n    def backward(self, *a): pass\nclass Loss(caffe.Layer):\n    def setup(self, bottom, top):\n        if len(bottom) != 2: raise Exception('two')\n    def reshape(self, bottom, top): self.diff = np.zeros_like(bottom[0].data); top[0].reshape(1)\n    def forward(self, bottom, top): self.diff[...] = bottom[0].data - bottom[1].data.reshape(-1, 1); top[0].data[...] = (self.diff ** 2).sum() / 2\n    def backward(self, top, pd, bottom):\n        self.seen = [list(pd), top[0].diff.copy(), type(pd[0]).__name__]\n        if pd[0]: bottom[0].diff[...] = self.diff * top[0].diff\n",
        "plm.py",
    )
    base = 'layer { name: "d" type: "Python" top: "data" top: "label" python_param { module: "plm" layer: "Data" param_str: "{\'n\': 2}" } }\nlayer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }\nlayer { name: "l" type: "Python" bottom: "ip" bottom: "label" top: "l" python_param { module: "plm" layer: "Loss" } %s }\n'
    for w in ("", "loss_weight: 1", "loss_weight: 0.25"):
        n = fill(caffe.Net(put(base % w, "n%d.prototxt" % len(w)), caffe.TRAIN))
        o = n.forward()
        f["o" + w] = [o["l"], n.blobs["data"].data, n.outputs]
        n.backward()
        l = n.layers[2]
        f["seen" + w] = getattr(l, "seen", None)
        f["dw" + w] = n.params["ip"][0].diff
        f["ty" + w] = [type(l).__name__, n.layers[0].k, n.layers[0].param_str, l.phase, l.type, n.inputs, len(l.blobs)]
        n.forward()
        f["2" + w] = n.blobs["data"].data.ravel()[0]
    put('net: "n14.prototxt" base_lr: 0.01 lr_policy: "fixed" snapshot_prefix: "x"', "s")
    s = caffe.SGDSolver("s")
    fill(s.net)
    s.step(3)
    f["solver"] = [s.net.params["ip"][0].data, s.net.layers[0].k]
    f["keeps"] = s.net.layers[0].k
    s.net.layers[0].k = 50
    s.step(1)
    f["51"] = s.net.layers[0].k


def case_py_errors(caffe, f):
    put(
        "\nimport caffe\nclass A(caffe.Layer):\n    def setup(self, b, t): raise ValueError('in setup')\nclass B(caffe.Layer):\n    def setup(self, b, t): pass\n    def reshape(self, b, t): raise IndexError('in reshape')\nclass C(caffe.Layer):\n    def setup(self, b, t): pass\n    def reshape(self, b, t): t[0].reshape(*b[0].shape)\n    def forward(self, b, t): raise OSError('in forward')\n    def backward(self, *a): raise KeyError('in backward')\nclass NoSetup(caffe.Layer):\n    def reshape(self, b, t): t[0].reshape(1)\n    def forward(self, b, t): t[0].data[...] = 4\nclass NoForward(caffe.Layer):\n    def setup(self, b, t): pass\n    def reshape(self, b, t): t[0].reshape(*b[0].shape)\nclass NoReshape(caffe.Layer):\n    def setup(self, b, t): pass\nclass BadTop(caffe.Layer):\n    def setup(self, b, t): pass\n    def reshape(self, b, t): t[0].reshape(tuple(b[0].shape))\nclass NotLayer(object): pass\nclass Out(caffe.Layer):\n    def setup(self, b, t): pass\n    def reshape(self, b, t): t[1].reshape(1)\nclass Syntax(caffe.Layer):\n    def __init__(self, *a): raise TypeError('in init')\nclass Grow(caffe.Layer):\n    def setup(self, b, t): self.blobs.add_blob(2, 3); self.blobs.add_blob(4); self.blobs[0].data[...] = 2\n    def reshape(self, b, t): t[0].reshape(*b[0].shape)\n    def forward(self, b, t): t[0].data[...] = b[0].data * self.blobs[0].data\n    def backward(self, t, p, b): b[0].diff[...] = t[0].diff * self.blobs[0].data; self.blobs[0].diff[...] += t[0].diff * b[0].data\n",
        "plm.py",
    )
    for c in ("A", "B", "C", "NoSetup", "NoForward", "NoReshape", "Out"):
        f[c] = exc(lambda: caffe.Net(put(D + py("plm", c)), caffe.TEST) and None, "in ")
    n = caffe.Net(put("force_backward: true\n" + D + py("plm", "C")), caffe.TEST)
    f["fw"] = exc(lambda: n.forward(), "in forward")
    f["bw"] = exc(lambda: n.backward(p=wave(2, 3)), "in backward")
    n = caffe.Net(put("force_backward: true\n" + D + py("plm", "NoForward")), caffe.TEST)
    f["nf"] = exc(lambda: n.forward())
    f["nb"] = exc(lambda: n.backward())
    n = caffe.Net(
        put("force_backward: true\n" + D + py("plm", "Grow") + py("plm", "Grow", bottom="p", top="q")), caffe.TRAIN
    )
    f["g"] = [[k, [list(b.data.shape) for b in v]] for k, v in n.params.items()]
    n.forward(data=wave(2, 3))
    f["q"] = n.blobs["q"].data
    n.backward(q=wave(2, 3))
    f["gd"] = [n.params["p"][0].diff, n.params["q"][0].diff, n.blobs["data"].diff, n.params["q"][1].diff]
    n.save("g.caffemodel")
    n.params["p"][0].data[...] = 9
    n.copy_from("g.caffemodel")
    f["loaded"] = n.params["p"][0].data
    n.clear_param_diffs()
    f["cl"] = float(abs(n.params["p"][0].diff).sum())
    m = caffe.Net("net.prototxt", caffe.TRAIN)
    m.share_with(n)
    n.params["p"][0].data[...] = 7
    f["sh"] = m.params["p"][0].data
    m.forward(data=wave(2, 3))
    f["q7"] = m.blobs["q"].data
    n.save_hdf5("g.h5")
    m.load_hdf5("g.h5")
    f["h5"] = m.params["q"][0].data


def case_py_share(caffe, f):
    put(
        PYBASE
        + "\nclass P(Base):\n    def setup(self, b, t): self.blobs.add_blob(1); self.blobs[0].data[...] = 3\nclass Two(caffe.Layer):\n    def setup(self, b, t): pass\n    def reshape(self, b, t):\n        for i in range(len(t)): t[i].reshape(*b[0].shape)\n    def forward(self, b, t):\n        for i in range(len(t)): t[i].data[...] = b[0].data * (i + 1)\n    def backward(self, t, p, b): b[0].diff[...] = t[0].diff + t[1].diff\nclass InPlace(Base):\n    def forward(self, b, t): self.same = b[0] is t[0]; t[0].data[...] *= 2; self.shares = b[0].data.ctypes.data == t[0].data.ctypes.data\n    def backward(self, t, p, b): b[0].diff[...] = 2 * t[0].diff\n",
        "plm.py",
    )
    n = caffe.Net(
        put(
            "force_backward: true\n"
            + D
            + 'layer { name: "p" type: "Python" bottom: "data" top: "a" top: "b" python_param { module: "plm" layer: "Two" } }'
            + py("plm", "InPlace", bottom="a", top="a")
            + 'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }'
        ),
        caffe.TEST,
    )
    n.forward(data=wave(2, 3))
    f["s"] = n.blobs["s"].data
    n.backward(s=wave(2, 3, k=1))
    f["d"] = n.blobs["data"].diff
    f["sh"] = [n.layers[2].shares, list(n._layer_names), list(n.blobs)]
    f["vec"] = [len(n.layers[1].blobs), exc(lambda: n.layers[1].bottom)]
    n = caffe.Net(
        put(
            D
            + py("plm", "P", 'param { name: "w" }')
            + py("plm", "P", 'param { name: "w" lr_mult: 0 }', bottom="p", top="q")
        ),
        caffe.TEST,
    )
    n.params["p"][0].data[...] = 5
    f["shared"] = n.params["q"][0].data
    f["share in parallel"] = exc(
        lambda: (
            caffe.Net(
                put(
                    D
                    + 'layer { name: "p" type: "Python" bottom: "data" top: "a" python_param { module: "plm" layer: "Base" share_in_parallel: true } }'
                ),
                caffe.TEST,
            )
            and None
        )
    )


def case_memory(caffe, f):
    M = 'layer { name: "data" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }\nlayer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }\nlayer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    n = fill(caffe.Net(put(M), caffe.TEST))
    x = wave(4, 1, 2, 3)
    y = np.arange(4).astype(np.float32) % 2
    f["ret"] = exc(lambda: n.set_input_arrays(x, y))
    f["outs"] = [float(n.forward()["loss"]) for _ in range(3)]
    f["shares"] = shares(n.blobs["data"].data, x)
    x[...] = 1
    f["seen"] = float(n.forward()["loss"])
    n.blobs["data"].data[...] = 5
    f["into x"] = x[:, 0, 0, 0]
    f["lab"] = shares(n.blobs["label"].data, y)
    for k, a in {
        "f64": (x.astype(float), y),
        "y64": (x, y.astype(float)),
        "yint": (x, y.astype(int)),
        "3d": (x[0], y),
        "odd": (x[:3], y[:3]),
        "len": (x[:2], y),
        "strided": (x[:, :, :, ::-1], y),
        "shape": (wave(4, 2, 2, 3), y),
        "y2": (x, y.reshape(4, 1)),
        "y4": (x, y.reshape(4, 1, 1, 1)),
        "y strided": (x, np.arange(8).astype(np.float32)[::2] % 2),
        "empty": (x[:0], y[:0]),
        "y wrong": (x, np.zeros((4, 2, 1, 1), np.float32)),
        "F": (np.asfortranarray(x), y),
        "w": (wave(4, 1, 3, 2), y),
    }.items():
        f[k] = exc(lambda: n.set_input_arrays(*a), "must", "contiguous", "float32", "dimension", "multiple", "wrong")
    f["inputs"] = n.inputs
    f["fwd kw"] = exc(lambda: n.forward(data=x))
    f["names"] = list(n.blobs)
    o = fill(caffe.Net(put(MINI, "m2"), caffe.TEST))
    f["not memory"] = exc(lambda: o.set_input_arrays(x, y), "MemoryDataLayer")


def case_memory_unset(caffe, f):
    M = 'layer { name: "data" type: "MemoryData" top: "data" top: "label" memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }\n'
    n = caffe.Net(put(M), caffe.TEST)
    f["y"] = 1
    n.forward()
    f["n"] = 1


def case_files(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.save("a.caffemodel")
    n.save_hdf5("a.h5")
    P = caffe.proto.caffe_pb2
    m = P.NetParameter.FromString(open("a.caffemodel", "rb").read())
    f["m"] = [
        m.name,
        [[l.name, l.type, len(l.blobs), l.phase, list(l.loss_weight)] for l in m.layer],
        [len(l.param) for l in m.layer],
    ]
    import h5py

    h = h5py.File("a.h5", "r")
    f["h"] = {k: {j: list(v.shape) for j, v in g.items()} for k, g in h["data"].items()}
    f["top"] = sorted(h)
    h.close()
    k = caffe.Net("net.prototxt", caffe.TEST)
    f["cf"] = exc(lambda: k.copy_from("a.caffemodel"))
    f["eq"] = bool((k.params["conv"][0].data == n.params["conv"][0].data).all())
    k.params["conv"][0].data[...] = 0
    k.copy_from("a.h5")
    f["eq2"] = bool((k.params["conv"][0].data == n.params["conv"][0].data).all())
    f["h5 w"] = exc(lambda: caffe.Net("net.prototxt", 1, weights="a.h5") and None)
    f["old"] = exc(lambda: caffe.Net("net.prototxt", "a.caffemodel", 1) and None)
    t = MINI.replace('"ip"', '"ip9"').replace("num_output: 4", "num_output: 5")
    q = caffe.Net(put(t, "q"), caffe.TEST)
    f["other names"] = exc(lambda: q.copy_from("a.caffemodel"))
    f["ip9 zero"] = float(abs(q.params["ip9"][0].data).sum())
    f["conv got"] = bool((q.params["conv"][0].data == n.params["conv"][0].data).all())
    v = n.params["conv"][0].data
    n.params["conv"][0].data[...] = 1
    n.copy_from("a.caffemodel")
    f["live view"] = float(v.ravel()[1])
    f["args"] = [
        exc(lambda: n.copy_from()),
        exc(lambda: n.copy_from(3)),
        exc(lambda: n.copy_from(None)),
        exc(lambda: n.save()),
        exc(lambda: n.save(3)),
        exc(lambda: n.copy_from(b"a.caffemodel")),
    ]
    open("z.caffemodel", "wb").write(b"")
    f["empty"] = exc(lambda: n.copy_from("z.caffemodel"))
    n.save("b.caffemodel")
    f["bytes"] = open("a.caffemodel", "rb").read() == open("b.caffemodel", "rb").read()
    f["size"] = os.path.getsize("a.caffemodel")


def case_copy_wrong_shape(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.save("a.caffemodel")
    q = caffe.Net(put(MINI.replace("num_output: 4", "num_output: 5"), "q"), caffe.TEST)
    f["y"] = 1
    q.copy_from("a.caffemodel")
    f["n"] = 1


def case_save_nodir(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.save("no/dir/x")
    f["n"] = 1


def case_save_h5_slash(caffe, f):
    n = fill(caffe.Net(put(MINI.replace('name: "conv"', 'name: "a/conv"')), caffe.TEST))
    n.save_hdf5("x.h5")
    f["n"] = 1


def case_load_h5_missing(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.load_hdf5("nope.h5")
    f["n"] = 1


def case_share(caffe, f):
    a = fill(caffe.Net(put(MINI), caffe.TEST))
    b = caffe.Net("net.prototxt", caffe.TEST)
    v = b.params["conv"][0].data
    f["r"] = exc(lambda: b.share_with(a))
    f["s"] = [
        shares(a.params["conv"][0].data, b.params["conv"][0].data),
        shares(v, b.params["conv"][0].data),
        shares(a.params["conv"][0].diff, b.params["conv"][0].diff),
        a.params["conv"][0] is b.params["conv"][0],
    ]
    b.params["ip"][1].data[...] = 3
    f["a"] = a.params["ip"][1].data
    x = wave(2, 1, 6, 6)
    p = a.forward(data=x)["prob"].copy()
    f["same"] = bool((b.forward(data=x)["prob"] == p).all())
    del a
    gc.collect()
    f["alive"] = bool((b.forward(data=x)["prob"] == p).all())
    b.params["conv"][0].data[...] = 0
    f["z"] = b.forward()["prob"]
    f["args"] = [exc(lambda: b.share_with()), exc(lambda: b.share_with(3))]
    f["self"] = exc(lambda: b.share_with(b))
    c = caffe.Net(put(MINI.replace('"ip"', '"zz"'), "c"), caffe.TEST)
    c.share_with(b)
    f["part"] = [shares(c.params["conv"][0].data, b.params["conv"][0].data), list(c.params)]
    f["copy breaks?"] = exc(lambda: (b.save("w"), c.copy_from("w")) and None)
    f["still"] = shares(c.params["conv"][0].data, b.params["conv"][0].data)


def case_share_shape(caffe, f):
    a = fill(caffe.Net(put(MINI), caffe.TEST))
    b = caffe.Net(put(MINI.replace("num_output: 4", "num_output: 5"), "b"), caffe.TEST)
    f["y"] = 1
    b.share_with(a)
    f["n"] = 1


def case_share_count(caffe, f):
    a = fill(caffe.Net(put(MINI), caffe.TEST))
    b = caffe.Net(put(MINI.replace("num_output: 4", "num_output: 4 bias_term: false"), "b"), caffe.TEST)
    f["y"] = 1
    b.share_with(a)
    f["n"] = 1


def case_pickles(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    s = n.blobs["data"].shape
    for k, o in {
        "net": n,
        "blob": n.blobs["data"],
        "vec": s,
        "params": n.params["ip"],
        "layer": n.layers[1],
        "layers": n.layers,
        "names": n._layer_names,
    }.items():
        f[k] = [
            exc(lambda: pickle.dumps(o) and None, "pickl"),
            exc(lambda: copy.copy(o) and None),
            exc(lambda: copy.deepcopy(o) and None),
        ]
    f["arr"] = pickle.loads(pickle.dumps(n.blobs["prob"].data)).shape
    f["dict"] = exc(lambda: copy.copy(n.blobs) and None)
    f["w"] = [
        exc(lambda: weakref.ref(n)() is n and None),
        exc(lambda: weakref.ref(n.blobs["data"]) and None),
        exc(lambda: weakref.ref(n.layers[1]) and None),
    ]
    f["attr"] = [
        exc(lambda: setattr(n.blobs["data"], "q", 1)),
        exc(lambda: setattr(n.layers[1], "q", 1)),
        exc(lambda: setattr(s, "q", 1)),
    ]
    f["keep"] = [exc(lambda: n.blobs["data"].q), exc(lambda: n.layers[1].q)]
    f["hash"] = [exc(lambda: hash(n) and None), exc(lambda: hash(n.blobs["data"]) and None)]
    f["eq"] = [n.blobs["data"] == n.blobs["data"], n.layers[1] == n.layers[1]]
    f["instantiate"] = [exc(lambda: type(n.blobs["data"])()), exc(lambda: type(n.layers[1])()), exc(lambda: type(s)())]
    f["rep"] = [repr(n).startswith("<"), type(s).__name__, type(n.blobs["data"]).__name__]
    f["blob in"] = exc(lambda: n.blobs["data"] in list(n._blobs))


def case_lifetimes(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    v = n.forward(data=wave(2, 1, 6, 6))["prob"]
    b = n.blobs["conv"]
    p = n.params["ip"]
    l = n.layers[1]
    g = iter(n.blobs.items())
    k = v.copy()
    r = weakref.ref(n)
    del n
    gc.collect()
    f["dead"] = r() is None
    f["v"] = bool((v == k).all())
    f["b"] = b.data.shape
    p[0].data[...] = 1
    f["p"] = float(p[0].data.sum())
    f["l"] = [l.type, len(l.blobs)]
    f["it"] = exc(lambda: next(g)[0])
    b.reshape(9)
    f["re"] = b.data.shape
    f["base"] = type(v.base).__name__
    b2 = l.blobs[0]
    del l
    gc.collect()
    f["b2"] = b2.data.shape


def case_phases(caffe, f):
    t = (
        D.replace("dim: 3", "dim: 3 dim: 2")
        + 'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" batch_norm_param { moving_average_fraction: 0.5 } }\n'
    )
    n = caffe.Net(put(t), caffe.TRAIN)
    x = wave(2, 3, 2)
    o = n.forward(data=x)["bn"].copy()
    f["o"] = o
    f["p"] = [b.data for b in n.params["bn"]]
    n.forward(data=x * 2)
    f["p2"] = [b.data for b in n.params["bn"]]
    n.save("w")
    m = caffe.Net("net.prototxt", caffe.TEST, weights="w")
    f["t"] = m.forward(data=x)["bn"]
    f["pt"] = [b.data for b in m.params["bn"]]
    k = caffe.Net("net.prototxt", caffe.TEST)
    f["zero"] = k.forward(data=x)["bn"]
    k.params["bn"][2].data[...] = 2
    k.params["bn"][0].data[...] = 1
    k.params["bn"][1].data[...] = 4
    f["third"] = k.forward(data=x)["bn"]
    d = caffe.Net(put(D + 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" }', "d"), caffe.TEST)
    f["drop"] = bool((d.forward(data=wave(2, 3))["d"] == wave(2, 3)).all())


def case_old(caffe, f):
    t = 'name: "old" input: "data" input: "label" input_dim: 2 input_dim: 3 input_dim: 1 input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1 input_dim: 1 layers { name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 inner_product_param { num_output: 2 } } layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" }'
    n = fill(caffe.Net(put(t), caffe.TRAIN))
    f["l"] = [
        list(n._layer_names),
        [l.type for l in n.layers],
        n.inputs,
        n.outputs,
        list(n.blobs),
        [list(b.shape) for b in n.blobs.values()],
    ]
    f["loss"] = n.forward(data=wave(2, 3, 1, 1), label=np.zeros((2, 1, 1, 1)))["loss"]
    n.save("w")
    P = caffe.proto.caffe_pb2
    m = P.NetParameter.FromString(open("w", "rb").read())
    f["m"] = [[l.name, l.type, [[p.lr_mult, p.decay_mult] for p in l.param]] for l in m.layer]
    f["inputs"] = [list(m.input), len(m.layers)]
    t2 = 'input: "data" input_shape { dim: 2 dim: 3 } layer { name: "r" type: "ReLU" bottom: "data" top: "data" }'
    n = caffe.Net(put(t2, "t2"), caffe.TEST)
    f["2"] = [list(n._layer_names), n.inputs, n.outputs, list(n.blobs)]
    f["in place of input"] = n.forward(data=wave(2, 3) - 0.5)


def case_levels(caffe, f):
    t = D + "".join(
        (
            'layer { name: "%s" type: "ReLU" bottom: "data" top: "%s" include { %s } }\n' % (k, k, v)
            for k, v in {
                "a": 'stage: "a"',
                "b": 'not_stage: "a"',
                "ab": 'stage: "a" stage: "b"',
                "l1": "min_level: 1",
                "l2": "max_level: 1",
                "tr": "phase: TRAIN",
                "te": "phase: TEST",
            }.items()
        )
    )
    put(t)
    for k, kw in {
        "none": {},
        "a": dict(stages=["a"]),
        "ab": dict(stages=["a", "b"]),
        "ba": dict(stages="ba"),
        "l1": dict(level=1),
        "l2": dict(level=2),
        "neg": dict(level=-1),
        "ab2": dict(stages=("b", "a"), level=2),
        "c": dict(stages=["c"]),
    }.items():
        f[k] = list(caffe.Net("net.prototxt", caffe.TRAIN, **kw)._layer_names)
    put('state { level: 2 stage: "a" }\n' + t, "s")
    f["file"] = list(caffe.Net("s", caffe.TEST)._layer_names)
    f["file level 0"] = list(caffe.Net("s", caffe.TEST, level=0)._layer_names)
    f["file + b"] = list(caffe.Net("s", caffe.TEST, stages=["b"])._layer_names)
    f["file phase"] = list(caffe.Net("s", caffe.TRAIN, level=1)._layer_names)
