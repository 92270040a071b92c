"""Nets and blobs: what `nets.json` has from real pycaffe; recorded by tests/pycaffe/neighbours.py."""

import numpy as np
from kit import MINI, TRAINABLE, arr, exc, fill, put, shares, wave

L2 = 'name: "two"\nlayer { name: "in1" type: "Input" top: "b" top: "a" input_param { shape { dim: 3 dim: 4 } shape { dim: 3 dim: 2 } } }\nlayer { name: "cat" type: "Concat" bottom: "b" bottom: "a" top: "z" }\nlayer { name: "fc" type: "InnerProduct" bottom: "z" top: "y" inner_product_param { num_output: 3 } }\nlayer { name: "t" type: "TanH" bottom: "y" top: "y" }\nlayer { name: "s" type: "Sigmoid" bottom: "z" top: "c" }\nlayer { name: "p" type: "Power" bottom: "y" top: "d" power_param { scale: 2 } }\nlayer { name: "q" type: "Power" bottom: "y" top: "e" power_param { scale: 3 } }\n'


def case_dicts(caffe, f):
    n = fill(caffe.Net(put(L2), caffe.TEST))
    f["blobs"] = [[k, list(b.data.shape)] for k, b in n.blobs.items()]
    f["in out"] = [n.inputs, n.outputs, list(n._layer_names), list(n._blob_names)]
    f["tops"] = [[k, list(v)] for k, v in n.top_names.items()]
    f["bottoms"] = [[k, list(v)] for k, v in n.bottom_names.items()]
    f["ids"] = [[list(n._top_ids(i)), list(n._bottom_ids(i))] for i in range(len(n.layers))]
    f["types"] = [l.type for l in n.layers]
    f["ld"] = [[k, v.type, len(v.blobs)] for k, v in n.layer_dict.items()]
    f["params"] = [[k, [list(b.data.shape) for b in v]] for k, v in n.params.items()]
    f["lw"] = list(n._blob_loss_weights)
    f["blw"] = dict(n.blob_loss_weights)
    f["same"] = [
        n.blobs is n.blobs,
        n.params is n.params,
        n.layers is n.layers,
        n.layer_dict is n.layer_dict,
        n.inputs is n.inputs,
        n.top_names is n.top_names,
        n.bottom_names is n.bottom_names,
    ]
    f["types2"] = [
        type(x).__name__
        for x in (
            n.blobs,
            n.params,
            n.layers,
            n._layer_names,
            n._inputs,
            n._outputs,
            n.inputs,
            n._top_ids(0),
            n._blob_loss_weights,
            n.layers[0].blobs,
            n.params["fc"],
            n._blobs,
        )
    ]
    f["idx"] = exc(lambda: n.layers["fc"])
    f["idx2"] = exc(lambda: n.layers[99])
    f["idx3"] = n.layers[-1].type
    f["inputs ids"] = [list(n._inputs), list(n._outputs)]
    f["split share before"] = [
        shares(n.blobs["z"].data, n.blobs["z_cat_0_split_0"].data),
        shares(n.blobs["z"].diff, n.blobs["z_cat_0_split_0"].diff),
    ]
    n.forward()
    f["split share"] = [
        shares(n.blobs["z"].data, n.blobs["z_cat_0_split_0"].data),
        shares(n.blobs["z"].diff, n.blobs["z_cat_0_split_0"].diff),
    ]


def case_two_inputs(caffe, f):
    n = fill(caffe.Net(put(L2), caffe.TEST))
    f["only one"] = exc(lambda: n.forward(a=wave(3, 2)), "input blob arguments do not match net inputs")
    f["three"] = exc(lambda: n.forward(a=wave(3, 2), b=wave(3, 4), c=wave(1)), "do not match")
    f["bad batch second"] = exc(lambda: n.forward(b=wave(3, 4), a=wave(2, 2)), "input is not batch sized")
    f["b stays set"] = n.blobs["b"].data
    f["other order"] = exc(lambda: n.forward(a=wave(2, 2, k=1), b=wave(3, 4, k=2)), "batch sized")
    f["b now"] = n.blobs["b"].data
    out = n.forward(a=wave(3, 2), b=wave(3, 4))
    f["out"] = {k: v for k, v in out.items()}
    f["broadcast"] = exc(lambda: sorted(n.forward(a=wave(3, 1), b=wave(3, 1))))
    f["after broadcast"] = [n.blobs["a"].data, n.blobs["b"].data]
    f["bad tail"] = exc(lambda: n.forward(a=wave(3, 3), b=wave(3, 4)), "broadcast")
    f["scalar"] = exc(lambda: n.forward(a=2.0, b=wave(3, 4)))
    f["list"] = exc(lambda: n.forward(a=[[1, 2]] * 3, b=wave(3, 4)))
    f["float64"] = exc(lambda: sorted(n.forward(a=wave(3, 2).astype(float), b=wave(3, 4).astype(int))))
    f["strided"] = exc(lambda: sorted(n.forward(a=wave(3, 4)[:, ::2], b=wave(4, 3).T)))
    f["vals"] = n.blobs["e"].data
    f["blobs list"] = sorted(n.forward(blobs=["z", "y"]))
    f["blobs tuple"] = exc(lambda: n.forward(blobs=("z",)))
    f["blobs str"] = exc(lambda: n.forward(blobs="z"))
    f["blobs unknown"] = exc(lambda: n.forward(blobs=["nope"]))
    f["blobs pos"] = sorted(n.forward(["z"]))
    f["start pos"] = sorted(n.forward(None, "fc", "fc"))
    f["end"] = sorted(n.forward(end="cat"))
    f["start"] = sorted(n.forward(start="t"))
    f["end before"] = exc(lambda: sorted(n.forward(start="p", end="fc")))
    f["unknown"] = exc(lambda: n.forward(start="nope"))
    f["unknown e"] = exc(lambda: n.forward(end="nope"))
    f["end with blobs"] = sorted(n.forward(blobs=["a"], end="fc"))
    f["split end"] = sorted(n.forward(end="z_cat_0_split"))


def case_views_inplace_chain(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + MINI.replace('type: "ReLU"', 'type: "TanH"')), caffe.TEST))
    v = n.blobs["conv"].data
    w = n.params["conv"][0].data
    d = n.blobs["conv"].diff
    n.forward(data=wave(2, 1, 6, 6))
    f["v is seen"] = v.ravel()[:5]
    v[...] = 0.5
    n.backward(prob=wave(2, 4))
    f["conv diff"] = d.ravel()[:6]
    f["dw"] = n.params["conv"][0].diff.ravel()[:5]
    w *= 2
    out = n.forward()["prob"]
    f["with w2"] = out
    k = out.copy()
    w[...] = 0
    n.forward()
    f["changed"] = bool((k == out).all())
    f["out2"] = out
    f["arr"] = arr(v)

    def aug():
        n.blobs["conv"].data += 1

    f["aug"] = exc(aug)
    f["done anyway"] = v.ravel()[:3]

    def aug2():
        n.params["conv"][0].data *= 0

    f["aug2"] = exc(aug2)
    f["aug2 done"] = float(abs(w).sum())

    def aug3():
        n.blobs["conv"].diff -= 3

    f["aug3"] = exc(aug3)
    f["del"] = exc(lambda: delattr(n.blobs["conv"], "data"))
    f["setnew"] = exc(lambda: setattr(n.blobs["conv"], "mine", 4))
    f["mine lost"] = exc(lambda: n.blobs["conv"].mine)
    f["count num"] = [
        n.blobs["conv"].count,
        n.blobs["conv"].num,
        n.blobs["conv"].channels,
        n.blobs["conv"].height,
        n.blobs["conv"].width,
    ]
    f["ip legacy"] = [exc(lambda: n.blobs["ip"].height), exc(lambda: n.blobs["ip"].width), n.blobs["ip"].num]
    f["count set"] = exc(lambda: setattr(n.blobs["ip"], "count", 4))
    f["num set"] = exc(lambda: setattr(n.blobs["ip"], "num", 4))
    f["shape set"] = exc(lambda: setattr(n.blobs["ip"], "shape", (1, 2)))
    s = n.blobs["ip"].shape
    f["shape"] = [
        list(s),
        s == s,
        s == n.blobs["ip"].shape,
        s == [2, 4],
        s == (2, 4),
        type(s[0:1]).__name__,
        tuple(s) == (2, 4),
        len(s),
        4 in s,
        7 in s,
    ]
    f["add"] = exc(lambda: (1,) + s[1:])
    f["add2"] = exc(lambda: s + s)
    f["fmt"] = exc(lambda: "%d %d" % s)
    f["fmt2"] = "%d %d" % tuple(s)
    f["np"] = [int(np.prod(s)), np.zeros(s).shape == (2, 4)]
    f["neg"] = s[-1]
    f["float idx"] = exc(lambda: s[1.0])
    f["append"] = exc(lambda: s.append("x"))
    f["append ok"] = exc(lambda: s.append(3))
    f["len after"] = [len(s), len(n.blobs["ip"].shape)]
    f["setitem"] = exc(lambda: s.__setitem__(0, 9))
    f["unchanged"] = list(n.blobs["ip"].shape)
    f["hash"] = exc(lambda: hash(s) and None)
    f["extend"] = exc(lambda: s.extend([1, 2]))
    f["bool"] = bool(s)
    f["sorted"] = sorted(s)
    f["it"] = [i for i in s]
    f["reversed"] = exc(lambda: list(reversed(s)))


def case_reshape_more(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    b = n.blobs["data"]
    v = b.data
    v[...] = wave(2, 1, 6, 6)
    b.reshape(1, 1, 6, 6)
    f["1"] = [list(b.shape), shares(v, b.data), b.data.ravel()[:3]]
    f["out before reshape"] = list(n.blobs["prob"].shape)
    n.reshape()
    f["after"] = [list(x.shape) for x in n.blobs.values()]
    b.reshape(2, 1, 6, 6)
    f["back"] = [b.data.ravel()[-3:], shares(v, b.data)]
    b.reshape(3, 1, 6, 6)
    f["more"] = [shares(v, b.data), float(abs(b.data).sum())]
    f["fw"] = list(n.forward()["prob"].shape)
    b.reshape(1, 1, 8, 7)
    f["pool too"] = exc(lambda: [list(x.shape) for x in (n.forward(end="pool"), n.blobs["pool"])[1:]] and None)
    f["tuple"] = exc(lambda: b.reshape((1, 1, 6, 6)))
    f["npint"] = exc(lambda: b.reshape(np.int64(1), 1, 6, 6))
    f["star np"] = exc(lambda: b.reshape(*np.array([1, 1, 6, 6])))
    f["list"] = exc(lambda: b.reshape([1, 1, 6, 6]))
    f["float"] = exc(lambda: b.reshape(1.0, 1, 6, 6))
    f["kw"] = exc(lambda: b.reshape(num=1))
    f["bool"] = exc(lambda: b.reshape(True, 1, 6, 6))
    f["bool shape"] = list(b.shape)
    f["str"] = exc(lambda: b.reshape("1"))
    f["none"] = exc(lambda: b.reshape(None))
    b.reshape()
    f["scalar"] = [list(b.shape), b.count, list(b.data.shape), float(b.data)]
    b.reshape(0, 4)
    f["zero"] = [list(b.shape), b.count, list(b.data.shape)]
    b.reshape(*[1] * 32)
    f["32"] = len(b.shape)
    p = n.params["ip"][1]
    pv = p.data
    p.reshape(2, 2)
    f["param"] = [list(p.shape), shares(pv, p.data)]
    p.reshape(8)
    f["param bigger"] = [p.data, shares(pv, p.data)]


def case_reshape_33(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(*[1] * 33)
    f["ok"] = 1


def case_reshape_neg(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(-1, 1, 6, 6)
    f["ok"] = 1


def case_reshape_big(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(65536, 65536)
    f["ok"] = 1


def case_reshape_ip_mismatch(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(2, 1, 9, 9)
    f["ok"] = 1
    n.reshape()
    f["no"] = 1


def case_reshape_ip_mismatch_fwd(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(2, 1, 9, 9)
    n.forward(end="pool")
    f["ok"] = list(n.blobs["pool"].shape)
    n.forward()
    f["no"] = 1


def case_reshape_channels(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(2, 2, 6, 6)
    f["ok"] = 1
    n.forward()
    f["no"] = 1


def case_reshape_small(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(2, 1, 2, 2)
    n.forward()
    f["no"] = 1


def case_reshape_axes(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(6, 6)
    n.forward()
    f["no"] = 1


def case_legacy5(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    n.blobs["data"].reshape(2, 1, 1, 6, 6)
    f["count"] = n.blobs["data"].count
    f["no"] = n.blobs["data"].width


def case_backward_names(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + L2), caffe.TEST))
    n.forward(a=wave(3, 2), b=wave(3, 4))
    f["missing"] = exc(lambda: n.backward(d=wave(3, 3)), "top diff arguments do not match net outputs")
    f["batch"] = exc(lambda: n.backward(c=wave(3, 6), d=wave(3, 3), e=wave(2, 3)), "diff is not batch sized")
    r = n.backward(c=wave(3, 6), d=wave(3, 3), e=wave(3, 3, k=1))
    f["r"] = {k: v for k, v in sorted(r.items())}
    f["y"] = n.blobs["y"].diff
    f["ydd"] = n.blobs["y_t_0_split_0"].diff
    r = n.backward(start="t", end="fc")
    f["se"] = {k: v for k, v in sorted(r.items())}
    f["start>end"] = exc(lambda: sorted(n.backward(start="fc", end="t")))
    f["diffs str"] = exc(lambda: n.backward(diffs="z"))
    f["diffs"] = sorted(n.backward(diffs=["z", "y"]))
    f["unknown d"] = exc(lambda: n.backward(diffs=["nope"]))
    f["unknown end"] = exc(lambda: n.backward(end="nope"))
    f["data layer"] = sorted(n.backward(end="in1"))
    f["pos"] = sorted(n.backward(["z"], "fc", "fc"))
    f["p"] = [n.params["fc"][0].diff.ravel()[:4], n.params["fc"][1].diff]


def case_ctor(caffe, f):
    put(MINI)
    for k, a in {
        "int": (3,),
        "none": (),
        "one": ("net.prototxt",),
        "str phase": ("net.prototxt", "TEST"),
        "np phase": ("net.prototxt", np.int32(1)),
        "three": ("net.prototxt", "w", 1),
        "three int": ("net.prototxt", 1, 0),
        "four": ("net.prototxt", 1, 0, None),
        "five": ("net.prototxt", 1, 0, ["a"], None),
        "six": ("net.prototxt", 1, 0, ["a"], None, 1),
        "bytes": (b"net.prototxt", 1),
        "missing": ("x.prototxt", 1),
        "missing old": ("x.prototxt", "y", 1),
        "float level": ("net.prototxt", 1, 0.5),
        "none file": (None, 1),
        "true": ("net.prototxt", True),
        "neg": ("net.prototxt", -1),
    }.items():
        f[k] = exc(lambda: caffe.Net(*a) and None, "could not open file")
    for k, a in {
        "weights missing": dict(weights="nope.caffemodel"),
        "weights none": dict(weights=None),
        "weights int": dict(weights=4),
        "stages str": dict(stages="ab"),
        "stages int": dict(stages=3),
        "stages tuple": dict(stages=("a", "b")),
        "stages bytes": dict(stages=[b"a"]),
        "stages [1]": dict(stages=[1]),
        "stages []": dict(stages=[]),
        "level str": dict(level="1"),
        "bad kw": dict(nope=1),
    }.items():
        f[k] = exc(lambda: caffe.Net("net.prototxt", caffe.TEST, **a) and None, "could not open file")
    f["kw all"] = exc(lambda: caffe.Net(network_file="net.prototxt", phase=1) and None)
    f["kw some"] = exc(lambda: caffe.Net(network_file="net.prototxt") and None)
    f["kw old"] = exc(lambda: caffe.Net("net.prototxt", phase=1, weights=None, level=2, stages=["x"]) and None)
    f["get attr"] = exc(lambda: caffe.Net("net.prototxt", 1).nothing)
    f["call"] = exc(lambda: caffe.Net("net.prototxt", 1)())
    n = caffe.Net("net.prototxt", 1)
    n.mine = 5
    f["attr"] = n.mine
    f["repr"] = type(n).__name__
    f["len"] = exc(lambda: len(n))
    f["set blobs"] = exc(lambda: setattr(n, "blobs", 1))
    f["set layers"] = exc(lambda: setattr(n, "layers", 1))
    f["eq"] = n == n
    f["eq2"] = n == caffe.Net("net.prototxt", 1)


def case_backward_loss_weights(caffe, f):
    t = (
        TRAINABLE.replace('top: "loss" }', 'top: "loss" loss_weight: 0.5 }')
        + 'layer { name: "l2" type: "Reduction" bottom: "ip" top: "r" loss_weight: 2 reduction_param { operation: SUMSQ } }\n'
    )
    n = fill(caffe.Net(put(t), caffe.TRAIN))
    n.blobs["data"].data[...] = wave(2, 3)
    n.blobs["label"].data[...] = [0, 1]
    f["d"] = [float(n.blobs["loss"].diff), float(n.blobs["r"].diff)]
    f["sum"] = n._forward(0, len(n.layers) - 1)
    f["out"] = {k: float(v) for k, v in n.forward().items()}
    f["part"] = n._forward(0, 2)
    f["ids"] = list(n._layer_names)
    n.backward()
    f["ip"] = n.blobs["ip"].diff
    n.blobs["loss"].diff[...] = 7
    n.forward()
    f["kept"] = float(n.blobs["loss"].diff)
    f["weighted"] = n._forward(0, len(n.layers) - 1)
    n.backward()
    f["ip2"] = n.blobs["ip"].diff
    f["ret"] = exc(lambda: n._backward(len(n.layers) - 1, 0))
    f["blw"] = dict(n.blob_loss_weights)
    f["args"] = exc(lambda: n._forward("a", 1))
    f["args2"] = exc(lambda: n._forward(0))
    f["np"] = exc(lambda: n._forward(np.int64(0), 1))


def case_forward_past(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    f["x"] = n._forward(0, 99)


def case_forward_neg(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    f["x"] = n._forward(-1, 2)


def case_backward_neg(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    f["x"] = n._backward(3, -1)


def case_callbacks2(caffe, f):
    n = fill(caffe.Net(put("force_backward: true\n" + L2), caffe.TRAIN))
    log = []
    n.after_forward(lambda i: log.append(i))
    n.before_backward(lambda i: log.append(-i))
    n.after_forward(lambda i: n.blobs["z"].data.fill(1) if n._layer_names[i] == "cat" else None)
    n.forward(a=wave(3, 2), b=wave(3, 4))
    f["log"] = log[:]
    f["y"] = n.blobs["y"].data
    n.before_backward(lambda i: n.blobs["d"].diff.fill(2) if i == len(n.layers) - 1 else None)
    n.backward(c=0 * wave(3, 6), d=wave(3, 3), e=0 * wave(3, 3))
    f["b"] = log[:]
    f["dz"] = n.blobs["z"].diff
    n.before_forward(lambda: 1)
    f["bad sig"] = exc(lambda: n.forward())
    m = fill(caffe.Net(put(L2), caffe.TRAIN))
    f["ret"] = [m.after_forward(len), m.after_backward(print)]
    f["len of int"] = exc(lambda: m.forward())
    f["none"] = exc(lambda: m.before_backward(None))
    f["no arg"] = exc(lambda: m.before_forward())
    f["two"] = exc(lambda: m.before_forward(len, len))


def case_callback_reshape_and_reenter(caffe, f):
    n = fill(caffe.Net(put(MINI), caffe.TEST))
    seen = []

    def cb(i):
        if i == 2 and (not seen):
            seen.append(1)
            n.forward(end="conv")
            seen.append(n.blobs["conv"].data.ravel()[:3].tolist())

    n.after_forward(cb)
    n.forward(data=wave(2, 1, 6, 6))
    f["seen"] = seen
    f["prob"] = n.blobs["prob"].data
