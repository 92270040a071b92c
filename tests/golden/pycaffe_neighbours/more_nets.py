"""Sources, fillers, partial passes, refusals: what `more_nets.json` has from real pycaffe; recorded by tests/pycaffe/neighbours.py."""

import numpy as np
from kit import MINI, INPUTS, TRAINABLE, exc, fill, put, shares, wave, solver_text

D = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'


def H(caffe, n=5):
    import h5py

    with h5py.File("a.h5", "w") as h:
        h["data"] = wave(n, 3)
        h["label"] = np.arange(n, dtype=np.float32) % 2
    with h5py.File("b.h5", "w") as h:
        h["data"] = wave(2, 3, k=1)
        h["label"] = np.ones(2, np.float32)
    put("a.h5\nb.h5\n", "list.txt")
    return 'layer { name: "d" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 4 } }\n'


def case_hdf5data(caffe, f):
    n = caffe.Net(put(H(caffe)), caffe.TEST)
    f["in"] = [n.inputs, n.outputs]
    f["b"] = [[n.forward()["data"].copy(), n.blobs["label"].data.copy()] for _ in range(4)]
    f["t"] = [l.type for l in n.layers]
    v = n.blobs["data"].data
    v[...] = 0
    n.forward()
    f["v"] = v
    f["kw"] = exc(lambda: n.forward(data=wave(4, 3)))


def case_hdf5_missing(caffe, f):
    put("nope.h5\n", "list.txt")
    caffe.Net(
        put('layer { name: "d" type: "HDF5Data" top: "data" hdf5_data_param { source: "list.txt" batch_size: 4 } }\n'),
        0,
    )
    f["n"] = 1


def case_hdf5_top(caffe, f):
    t = H(caffe).replace('top: "label"', 'top: "zz"')
    caffe.Net(put(t), 0)
    f["n"] = 1


def case_hdf5_solver(caffe, f):
    t = (
        H(caffe)
        + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }\nlayer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    )
    put(t)
    s = caffe.SGDSolver(put(solver_text("net.prototxt", momentum=0.9, test_iter=2, test_interval=2), "s"))
    fill(s.net)
    s.step(3)
    f["w"] = [s.net.params["ip"][0].data, s.net.params["ip"][1].data]
    f["d"] = s.net.blobs["data"].data
    f["td"] = s.test_nets[0].blobs["data"].data
    r = []
    for _ in range(2):
        s.step(1)
        r.append([float(s.net.blobs["loss"].data), s.net.blobs["label"].data.copy()])
    f["r"] = r


def case_fillers(caffe, f):
    for k, w in {
        "gauss": 'type: "gaussian" std: 0.5',
        "sparse": 'type: "gaussian" std: 1 sparse: 2',
        "xavier": 'type: "xavier"',
        "xout": 'type: "xavier" variance_norm: FAN_OUT',
        "msra": 'type: "msra" variance_norm: AVERAGE',
        "uniform": 'type: "uniform" min: -1 max: 2',
        "pos": 'type: "positive_unitball"',
        "const": 'type: "constant" value: 3',
    }.items():
        caffe.set_random_seed(11)
        n = caffe.Net(
            put(
                D
                + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 4 weight_filler { %s } bias_filler { type: "uniform" min: 0 max: 1 } } }'
                % w
            ),
            0,
        )
        f[k] = [n.params["ip"][0].data, n.params["ip"][1].data]
    caffe.set_random_seed(3)
    n = caffe.Net(
        put(
            "force_backward: true\n"
            + D
            + 'layer { name: "d" type: "Dropout" bottom: "data" top: "d" dropout_param { dropout_ratio: 0.3 } }'
        ),
        0,
    )
    f["drop"] = [n.forward(data=np.ones((2, 3)))["d"].copy(), n.forward()["d"].copy()]
    n.backward(d=np.ones((2, 3)))
    f["db"] = n.blobs["data"].diff
    caffe.set_random_seed(3)
    n = caffe.Net(
        put(
            'layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param { shape { dim: 3 } shape { dim: 2 } data_filler { type: "gaussian" } data_filler { type: "uniform" } } }',
            "dd",
        ),
        0,
    )
    f["dd"] = [[n.forward()["a"].copy(), n.blobs["b"].data.copy()] for _ in range(2)]
    caffe.set_random_seed(9)
    n = (
        caffe.Net(
            put(
                MINI.replace("num_output: 4", 'num_output: 4 weight_filler { type: "bilinear" }').replace(
                    "kernel_size: 3 }", 'kernel_size: 3 weight_filler { type: "bilinear" } }'
                ),
                "m",
            ),
            0,
        )
        if 0
        else None
    )


def case_bilinear(caffe, f):
    n = caffe.Net(
        put(
            INPUTS
            + 'layer { name: "u" type: "Deconvolution" bottom: "data" top: "u" convolution_param { num_output: 1 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" } } }'
        ),
        1,
    )
    f["w"] = n.params["u"][0].data
    f["o"] = n.forward(data=wave(2, 1, 6, 6))["u"].sum()


def case_dup_names(caffe, f):
    t = (
        D
        + 'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "a" inner_product_param { num_output: 2 } }\nlayer { name: "ip" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 3 } }\n'
    )
    n = caffe.Net(put(t), 1)
    f["p"] = [[k, list(v[0].data.shape)] for k, v in n.params.items()]
    f["n"] = [list(n._layer_names), list(n.layer_dict), list(n.top_names.items())]
    n.params["ip"][0].data[...] = 1
    f["fw"] = n.forward(data=wave(2, 3))
    f["end"] = sorted(n.forward(end="ip"))
    f["_"] = 1


def case_empty(caffe, f):
    n = caffe.Net(put(""), 1)
    f["e"] = [list(n.blobs), list(n.params), n.inputs, n.outputs, len(n.layers)]
    f["b"] = exc(lambda: n.reshape())


def case_empty_fw(caffe, f):
    n = caffe.Net(put('name: "x"'), 1)
    f["f"] = n.forward()


def case_phase7(caffe, f):
    n = caffe.Net(put(MINI), 7)
    f["l"] = list(n._layer_names)


def case_surgery(caffe, f):
    n = fill(caffe.Net(put(MINI), 1))
    t = MINI.replace(
        'type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 4 }',
        'type: "Convolution" bottom: "pool" top: "ip" convolution_param { num_output: 4 kernel_size: 2 }',
    )
    c = caffe.Net(put(t, "c"), 1)
    c.copy_from_ = None
    c.params["conv"][0].data[...] = n.params["conv"][0].data
    c.params["conv"][1].data[...] = n.params["conv"][1].data
    c.params["ip"][0].data.flat = n.params["ip"][0].data.flat
    c.params["ip"][1].data[...] = n.params["ip"][1].data
    x = wave(2, 1, 6, 6)
    f["same"] = bool(np.allclose(n.forward(data=x)["prob"].ravel(), c.forward(data=x)["prob"].ravel(), atol=1e-06))
    c.blobs["data"].reshape(1, 1, 10, 12)
    f["big"] = c.forward(data=wave(1, 1, 10, 12))["prob"]
    f["shape"] = list(c.blobs["prob"].shape)
    c.save("c.caffemodel")
    f["re"] = [list(b.data.shape) for b in caffe.Net("c", 1, weights="c.caffemodel").params["ip"]]


def case_zero_kill(caffe, f):
    n = fill(caffe.Net(put(MINI), 1))
    n.params["conv"][0].data[1] = 0
    n.params["conv"][1].data[...] = 0
    n.forward(data=wave(2, 1, 6, 6))
    f["z"] = float(abs(n.blobs["conv"].data[:, 1]).sum())
    n.params["conv"][0].data.sort(axis=0)
    f["s"] = n.forward()["prob"]
    n.params["conv"][0].data[:] = n.params["conv"][0].data[::-1]
    f["r"] = n.forward()["prob"]
    w = n.params["conv"][0]
    np.multiply(w.data, 2, out=w.data)
    f["m"] = n.forward()["prob"]
    np.copyto(w.data, 1)
    f["c"] = n.forward()["prob"]
    w.data.fill(0)
    f["f"] = n.forward()["prob"]
    memoryview(w.data)[0, 0, 0, 0] = 5
    f["mv"] = n.forward()["prob"]
    w.data.view(np.int32)[...] = 0
    f["iv"] = n.forward()["prob"]
    w.data.T[...] = 2
    f["T"] = n.forward()["prob"]
    w.data.put([0, 1], [9, 9])
    f["put"] = n.forward()["prob"]
    x = n.blobs["data"].data
    x[x < 0] = 0
    f["mask"] = n.forward()["prob"]
    x.resize if 0 else None


def case_dream(caffe, f):
    t = "force_backward: true\n" + MINI.split('layer { name: "prob"')[0]
    n = fill(caffe.Net(put(t), 1))
    src = n.blobs["data"]
    src.data[...] = wave(2, 1, 6, 6)
    r = []
    for i in range(3):
        n.forward(end="pool")
        d = n.blobs["pool"]
        d.diff[:] = d.data
        n.backward(start="pool")
        g = src.diff[0]
        src.data[:] += 1.5 / np.abs(g).mean() * g
        src.data[0] = np.roll(np.roll(src.data[0], 1, -1), -1, -2)
        r.append(float(src.data.sum()))
    f["r"] = r
    f["d"] = src.diff
    src.reshape(1, 1, 8, 8)
    src.data[0] = wave(1, 8, 8)
    n.forward(end="pool")
    n.blobs["pool"].diff[:] = n.blobs["pool"].data
    n.backward(start="pool")
    f["o2"] = src.diff
    one = n.blobs["conv"]
    n.forward(end="conv")
    f["pre relu"] = float(one.data.min()) < 0
    one.diff[...] = 1
    n.backward(start="conv")
    f["conv grad"] = src.diff
    f["relu only"] = exc(lambda: n.backward(start="act", end="act") and None)


def case_partial_inplace(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + MINI), 1))
    x = wave(2, 1, 6, 6)
    n.forward(data=x)
    a = n.blobs["conv"].data.copy()
    n.forward(start="conv", end="conv")
    f["raw"] = n.blobs["conv"].data.ravel()[:6]
    n.forward(start="act")
    f["eq"] = bool((n.blobs["conv"].data == a).all())
    n.forward(start="act", end="act")
    n.blobs["conv"].data[...] -= 1
    n.forward(start="pool")
    f["p"] = n.blobs["prob"].data
    n.backward(prob=wave(2, 4))
    f["d"] = n.blobs["data"].diff
    n.blobs["conv"].diff[...] = 1
    n.backward(start="act", end="conv")
    f["d2"] = n.blobs["data"].diff
    n.backward(start="conv", end="conv")
    f["d3"] = n.blobs["data"].diff


def case_lr_mult0(caffe, f):
    t = TRAINABLE.replace("inner_product_param {", "param { lr_mult: 0 } param { lr_mult: 0 } inner_product_param {")
    n = fill(caffe.Net(put(t), 0))
    n.forward(data=wave(2, 3), label=np.zeros(2))
    n.backward()
    f["d"] = [n.params["ip"][0].diff, n.blobs["ip"].diff, n.blobs["data"].diff]
    t2 = TRAINABLE.replace("inner_product_param {", "param { lr_mult: 0 } inner_product_param {")
    n = fill(caffe.Net(put(t2), 0))
    n.forward(data=wave(2, 3), label=np.zeros(2))
    n.backward()
    f["d2"] = [n.params["ip"][0].diff, n.params["ip"][1].diff, n.blobs["ip"].diff, n.blobs["data"].diff]
    n = fill(caffe.Net(put("force_backward: true\n" + t), 0))
    n.forward(data=wave(2, 3), label=np.zeros(2))
    n.backward()
    f["d3"] = [n.params["ip"][0].diff, n.blobs["data"].diff]


def case_accuracy_net(caffe, f):
    t = (
        D
        + 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 2 } } }\nlayer { name: "acc" type: "Accuracy" bottom: "data" bottom: "label" top: "acc" top: "per" }\nlayer { name: "am" type: "ArgMax" bottom: "data" top: "am" argmax_param { out_max_val: true top_k: 2 } }\nlayer { name: "s" type: "Silence" bottom: "am" }\n'
    )
    n = caffe.Net(put(t), 1)
    o = n.forward(data=wave(2, 3), label=np.array([1, 0]))
    f["o"] = {k: v for k, v in o.items()}
    f["out"] = n.outputs
    f["am"] = n.blobs["am"].data


def case_reshape_inputs_solver(caffe, f):
    put(TRAINABLE)
    s = caffe.SGDSolver(put(solver_text("net.prototxt"), "s"))
    fill(s.net)
    s.net.blobs["data"].reshape(4, 3)
    s.net.blobs["label"].reshape(4)
    s.net.blobs["data"].data[...] = wave(4, 3)
    s.step(1)
    f["w"] = s.net.params["ip"][0].data
    f["sh"] = list(s.net.blobs["ip"].shape)


def case_label_range(caffe, f):
    n = fill(caffe.Net(put(TRAINABLE.replace('"loss"', '"loss"')), 0))
    n.forward(data=wave(2, 3), label=np.array([0, 1]))
    f["ok"] = float(n.blobs["loss"].data)


def case_bad_bottom(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "ReLU" bottom: "nope" top: "r" }'), 1)
    f["n"] = 1


def case_bad_top(caffe, f):
    caffe.Net(
        put(
            D
            + 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" } layer { name: "r2" type: "ReLU" bottom: "data" top: "x" }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_type(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Foo" bottom: "data" top: "x" }'), 1)
    f["n"] = 1


def case_bad_text(caffe, f):
    caffe.Net(put(D + 'layer { nam: "r" }'), 1)
    f["n"] = 1


def case_bad_count(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Eltwise" bottom: "data" top: "x" }'), 1)
    f["n"] = 1


def case_bad_tops(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" top: "y" }'), 1)
    f["n"] = 1


def case_bad_params(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" param { } }'), 1)
    f["n"] = 1


def case_bad_share(caffe, f):
    caffe.Net(
        put(
            D
            + 'layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" } inner_product_param { num_output: 2 } } layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" } inner_product_param { num_output: 2 } }'
        ),
        1,
    )
    f["n"] = 1


def case_permissive_share(caffe, f):
    n = caffe.Net(
        put(
            D.replace("dim: 3", "dim: 2")
            + 'layer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" share_mode: PERMISSIVE } inner_product_param { num_output: 4 } } layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" param { name: "w" share_mode: PERMISSIVE } inner_product_param { num_output: 2 } }'
        ),
        1,
    )
    f["s"] = [
        list(n.params["a"][0].shape),
        list(n.params["b"][0].shape),
        shares(n.params["a"][0].data, n.params["b"][0].data),
    ]
    n.params["a"][0].data[...] = wave(4, 2)
    f["b"] = n.params["b"][0].data


def case_bad_eltwise(caffe, f):
    caffe.Net(
        put(
            D
            + D.replace('"data"', '"e"').replace("dim: 3", "dim: 4")
            + 'layer { name: "r" type: "Eltwise" bottom: "data" bottom: "e" top: "x" }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_num_output(caffe, f):
    caffe.Net(
        put(
            INPUTS
            + 'layer { name: "r" type: "Convolution" bottom: "data" top: "x" convolution_param { kernel_size: 3 } }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_kernel(caffe, f):
    caffe.Net(
        put(
            INPUTS
            + 'layer { name: "r" type: "Convolution" bottom: "data" top: "x" convolution_param { num_output: 2 } }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_kernel2(caffe, f):
    caffe.Net(
        put(
            INPUTS
            + 'layer { name: "r" type: "Convolution" bottom: "data" top: "x" convolution_param { num_output: 2 kernel_size: 9 } }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_group(caffe, f):
    caffe.Net(
        put(
            INPUTS
            + 'layer { name: "r" type: "Convolution" bottom: "data" top: "x" convolution_param { num_output: 3 kernel_size: 1 group: 2 } }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_pool(caffe, f):
    caffe.Net(
        put(
            INPUTS
            + 'layer { name: "r" type: "Pooling" bottom: "data" top: "x" pooling_param { kernel_size: 2 pad: 2 } }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_reshape(caffe, f):
    caffe.Net(
        put(
            INPUTS
            + 'layer { name: "r" type: "Reshape" bottom: "data" top: "x" reshape_param { shape { dim: 5 dim: -1 } } }'
        ),
        1,
    )
    f["n"] = 1


def case_bad_label(caffe, f):
    n = caffe.Net(put(TRAINABLE.replace("shape { dim: 2 } }", "shape { dim: 3 } }")), 0)
    f["n"] = 1


def case_bad_inplace(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Flatten" bottom: "data" top: "data" }'), 1)
    f["n"] = 1


def case_bad_bn(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "BatchNorm" bottom: "data" top: "x" param { lr_mult: 1 } }'), 0)
    f["n"] = 1


def case_bad_lossw(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" loss_weight: 1 loss_weight: 2 }'), 0)
    f["n"] = 1


def case_bad_pd(caffe, f):
    caffe.Net(
        put(D + 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" propagate_down: true propagate_down: false }'),
        0,
    )
    f["n"] = 1


def case_bad_rules(caffe, f):
    caffe.Net(
        put(
            D
            + 'layer { name: "r" type: "ReLU" bottom: "data" top: "x" include { phase: TEST } exclude { phase: TRAIN } }'
        ),
        0,
    )
    f["n"] = 1


def case_bad_bias(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Filter" bottom: "data" top: "x" }'), 0)
    f["n"] = 1


def case_bad_tile(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Tile" bottom: "data" top: "x" tile_param { tiles: 0 } }'), 0)
    f["n"] = 1


def case_bad_axis(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Softmax" bottom: "data" top: "x" softmax_param { axis: 5 } }'), 0)
    f["n"] = 1


def case_bad_slice(caffe, f):
    caffe.Net(put(D + 'layer { name: "r" type: "Slice" bottom: "data" top: "x" top: "y" }'), 0)
    f["n"] = 1


def case_bad_filler(caffe, f):
    caffe.Net(
        put(
            D
            + 'layer { name: "r" type: "InnerProduct" bottom: "data" top: "x" inner_product_param { num_output: 2 weight_filler { type: "foo" } } }'
        ),
        0,
    )
    f["n"] = 1


def case_netvec(caffe, f):
    n = fill(caffe.Net(put(MINI), 1))
    v = n.params["conv"]
    f["len"] = [len(v), type(v).__name__, type(v[0]).__name__]
    f["neg"] = list(v[-1].shape)
    f["slice"] = exc(lambda: [list(b.shape) for b in v[0:2]] and None)
    f["oob"] = exc(lambda: v[5])
    f["iter"] = [list(b.data.shape) for b in v]
    f["app"] = exc(lambda: v.append(3))
    f["add"] = exc(lambda: v.add_blob(2, 2))
    f["n"] = len(n.params["conv"])
    f["new"] = n.params["conv"][2].data
    f["kw"] = exc(lambda: v.add_blob(dim=2))
    f["tup"] = exc(lambda: v.add_blob((2, 2)))
    f["in"] = v[0] in v
    f["idx"] = exc(lambda: v["a"])
    f["del"] = exc(lambda: v.__delitem__(2))
    f["n2"] = len(n.params["conv"])
    f["fw"] = exc(lambda: n.forward() and None)
    f["set"] = exc(lambda: v.__setitem__(0, v[1]))
    f["names"] = [
        n._layer_names[1],
        exc(lambda: n._layer_names.index("conv")),
        "conv" in n._layer_names,
        list(n._blob_names)[:2],
    ]


def case_shared_views(caffe, f):
    t = (
        "force_backward: true\n"
        + D
        + 'layer { name: "f" type: "Flatten" bottom: "data" top: "f" }\nlayer { name: "r" type: "Reshape" bottom: "f" top: "r" reshape_param { shape { dim: 3 dim: 2 } } }\nlayer { name: "t" type: "TanH" bottom: "r" top: "r" }\nlayer { name: "s" type: "Split" bottom: "r" top: "s1" top: "s2" }\nlayer { name: "p" type: "Power" bottom: "s1" top: "p" power_param { scale: 2 } }\nlayer { name: "q" type: "Sigmoid" bottom: "s2" top: "q" }\n'
    )
    n = caffe.Net(put(t), 1)
    g = lambda: [[a, b] for a in n.blobs for b in n.blobs if a < b and shares(n.blobs[a].data, n.blobs[b].data)]
    h = lambda: [[a, b] for a in n.blobs for b in n.blobs if a < b and shares(n.blobs[a].diff, n.blobs[b].diff)]
    f["0"] = [g(), h()]
    x = n.blobs["data"].data
    n.forward(data=wave(2, 3))
    f["1"] = [g(), h()]
    f["data overwritten"] = x
    n.backward(p=wave(3, 2), q=wave(3, 2, k=1))
    f["2"] = [g(), h()]
    f["d"] = {k: b.diff for k, b in n.blobs.items()}
    n.forward(data=wave(2, 3, k=2))
    n.blobs["data"].data[...] = 0.1
    n.backward(p=wave(3, 2), q=wave(3, 2, k=1))
    f["d2"] = {k: b.diff for k, b in n.blobs.items()}
    f["ok"] = 1
