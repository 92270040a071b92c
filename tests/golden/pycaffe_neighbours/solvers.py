"""Solvers: what `solvers.json` has from real pycaffe; recorded by tests/pycaffe/neighbours.py."""

import numpy as np, os
from kit import TRAINABLE, exc, fill, put, shares, wave, solver_text


def mk(caffe, cls="SGDSolver", net=TRAINABLE, **kw):
    put(net)
    put(solver_text("net.prototxt", **kw), "s.prototxt")
    s = getattr(caffe, cls)("s.prototxt")
    fill(s.net)
    s.net.blobs["data"].data[...] = wave(2, 3)
    s.net.blobs["label"].data[...] = [0, 1]
    return s


def st(s):
    return [s.iter, s.net.params["ip"][0].data.ravel(), s.net.params["ip"][0].diff.ravel(), s.net.params["ip"][1].diff]


TEST = (
    TRAINABLE
    + 'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }\n'
)


def case_manual_kinds(caffe, f):
    for c in ("SGDSolver", "NesterovSolver", "AdaGradSolver", "RMSPropSolver", "AdaDeltaSolver", "AdamSolver"):
        kw = {}
        if c in ("SGDSolver", "NesterovSolver", "AdamSolver", "AdaDeltaSolver"):
            kw["momentum"] = 0.9
        if c == "RMSPropSolver":
            kw["rms_decay"] = 0.9
        if c in ("AdamSolver",):
            kw["momentum2"] = 0.99
        s = mk(caffe, c, weight_decay=0.01, **kw)
        s.net.forward()
        s.net.backward()
        s.apply_update()
        f[c + " 1"] = st(s)
        s.apply_update()
        f[c + " again without backward"] = st(s)
        s.net.backward()
        f[c + " accumulates"] = st(s)
        s.step(1)
        f[c + " step"] = st(s)
        s.net.clear_param_diffs()
        s.apply_update()
        f[c + " cleared"] = st(s)


def case_clip_iter_size(caffe, f):
    s = mk(caffe, clip_gradients=0.1, iter_size=3, momentum=0.5, weight_decay=0.1, regularization_type="L1")
    s.step(2)
    f["a"] = st(s)
    s.apply_update()
    f["b"] = st(s)
    s.net.params["ip"][0].diff[...] = 5
    s.apply_update()
    f["c"] = st(s)
    s.net.params["ip"][1].data[...] = 1
    s.step(1)
    f["d"] = st(s)


def case_lr(caffe, f):
    for p, kw in {
        "step": dict(stepsize=2, gamma=0.5),
        "exp": dict(gamma=0.9),
        "inv": dict(gamma=0.1, power=0.75),
        "multistep": dict(gamma=0.1, stepvalue=[1, 3]),
        "poly": dict(power=2),
        "sigmoid": dict(gamma=0.5, stepsize=3),
        "fixed": {},
    }.items():
        s = mk(caffe, lr_policy=p, max_iter=6, **kw)
        r = []
        for _ in range(5):
            r.append(s.lr)
            s.step(1)
        r.append(s.lr)
        f[p] = r
        s.param.base_lr = 3.0
        f[p + " 3"] = s.lr
        s.apply_update()
        f[p + " iter"] = [s.iter, s.lr]


def case_params(caffe, f):
    s = mk(caffe, momentum=0.5)
    for k in (
        "max_iter",
        "display",
        "layer_wise_reduce",
        "base_lr",
        "momentum",
        "iter_size",
        "snapshot",
        "test_iter",
        "type",
        "gamma",
    ):
        f[k] = exc(lambda: getattr(s.param, k))
    for k, v in (
        ("max_iter", 3),
        ("display", 3),
        ("base_lr", "x"),
        ("base_lr", 2),
        ("base_lr", None),
        ("layer_wise_reduce", False),
    ):
        f["set %s %s" % (k, v)] = exc(lambda: setattr(s.param, k, v))
    f["base"] = s.param.base_lr
    f["same"] = s.param is s.param
    f["type"] = type(s.param).__name__
    f["attr"] = exc(lambda: setattr(s, "foo", 1))
    f["foo"] = exc(lambda: s.foo)
    f["iter set"] = exc(lambda: setattr(s, "iter", 4))
    f["lr set"] = exc(lambda: setattr(s, "lr", 4))
    f["net set"] = exc(lambda: setattr(s, "net", 4))
    f["nets"] = [type(s.test_nets).__name__, len(s.test_nets)]
    f["idx"] = exc(lambda: s.test_nets[0])
    n = s.net
    n.x = 1
    f["net attr"] = exc(lambda: s.net.x)
    f["n.x"] = n.x
    f["is"] = s.net is s.net
    f["blobs is"] = s.net.blobs is s.net.blobs
    f["shares"] = shares(s.net.blobs["ip"].data, n.blobs["ip"].data)
    f["step args"] = [
        exc(lambda: s.step()),
        exc(lambda: s.step(1.0)),
        exc(lambda: s.step("1")),
        exc(lambda: s.step(np.int64(1))),
        exc(lambda: s.step(True)),
    ]
    f["it"] = s.iter
    f["step 0"] = exc(lambda: s.step(0))
    f["step -1"] = exc(lambda: s.step(-1))
    f["iter"] = s.iter
    f["callback args"] = [
        exc(lambda: s.add_callback()),
        exc(lambda: s.add_callback(1, 2)),
        exc(lambda: s.add_callback(None, None, None)),
    ]
    f["then step"] = exc(lambda: s.step(1))


def case_solver_missing(caffe, f):
    caffe.get_solver("nope.prototxt")
    f["no"] = 1


def case_solver_missing2(caffe, f):
    caffe.AdamSolver("nope.prototxt")
    f["no"] = 1


def case_solver_badnet(caffe, f):
    caffe.get_solver(put('net: "nope.prototxt" base_lr: 0.1 lr_policy: "fixed"', "s"))
    f["no"] = 1


def case_solver_nonet(caffe, f):
    caffe.get_solver(put('base_lr: 0.1 lr_policy: "fixed"', "s"))
    f["no"] = 1


def case_solver_type(caffe, f):
    put(TRAINABLE)
    caffe.get_solver(put(solver_text("net.prototxt", type="Foo"), "s"))
    f["no"] = 1


def case_solver_policy(caffe, f):
    s = mk(caffe, lr_policy="foo")
    f["built"] = 1
    s.net.forward()
    f["fw"] = 1
    s.step(1)
    f["no"] = 1


def case_solver_policy_lr(caffe, f):
    s = mk(caffe, lr_policy="foo")
    f["built"] = 1
    s.lr
    f["no"] = 1


def case_solver_field(caffe, f):
    put(TRAINABLE)
    caffe.get_solver(put(solver_text("net.prototxt") + "foo: 3", "s"))
    f["no"] = 1


def case_solver_folder(caffe, f):
    s = mk(caffe, snapshot_prefix="no/such/x", snapshot=2)
    f["no"] = 1


def case_solver_folder_unused(caffe, f):
    s = mk(caffe, snapshot_prefix="no/such/x", snapshot_after_train=False)
    f["yes"] = 1
    s.step(1)
    s.snapshot()
    f["no"] = 1


def case_solver_restore_missing(caffe, f):
    s = mk(caffe)
    f["y"] = 1
    s.restore("nope.solverstate")
    f["no"] = 1


def case_solver_test_no_iter(caffe, f):
    s = mk(caffe, test_interval=1)
    f["no"] = 1


def case_solver_test_iter_no_int(caffe, f):
    s = mk(caffe, test_iter=2)
    f["no"] = 1
    s.step(1)
    f["s"] = st(s)


def case_adam_momentum_neg(caffe, f):
    s = mk(caffe, "AdaGradSolver", momentum=0.5)
    f["no"] = 1


def case_rms_momentum(caffe, f):
    s = mk(caffe, "RMSPropSolver", momentum=0.5, rms_decay=0.9)
    f["no"] = 1


def case_rms_decay(caffe, f):
    s = mk(caffe, "RMSPropSolver", rms_decay=1.5)
    f["yes"] = 1
    s.step(1)
    f["s"] = st(s)


def case_tests(caffe, f):
    s = mk(caffe, net=TEST, test_iter=2, test_interval=2, test_initialization=True)
    t = s.test_nets[0]
    f["t"] = [t.outputs, float(abs(t.params["ip"][0].data).sum())]
    f["len"] = len(s.test_nets)
    f["ttype"] = type(t).__name__
    f["is"] = s.test_nets[0] is s.test_nets[0]
    f["sl"] = type(s.test_nets[0:1]).__name__
    f["neg"] = exc(lambda: s.test_nets[-1].outputs)
    f["out"] = exc(lambda: s.test_nets[1])
    cnt = []
    t.after_forward(lambda i: cnt.append(i))
    s.net.after_forward(lambda i: cnt.append("t%d" % i))
    s.step(1)
    f["1"] = [len(cnt), cnt[:6], shares(t.params["ip"][0].data, s.net.params["ip"][0].data)]
    s.step(2)
    f["3"] = len(cnt)
    f["same weights"] = bool((t.params["ip"][0].data == s.net.params["ip"][0].data).all())
    s.solve()
    f["solved"] = [s.iter, len(cnt)]
    s.solve()
    f["again"] = [s.iter, len(cnt)]
    f["files"] = sorted((x for x in os.listdir(".") if "iter" in x))
    f["diffs shared"] = shares(t.params["ip"][0].diff, s.net.params["ip"][0].diff)


def case_tests_no_init(caffe, f):
    s = mk(caffe, net=TEST, test_iter=1, test_interval=2, test_initialization=False, max_iter=4, snapshot=2)
    t = s.test_nets[0]
    cnt = []
    t.before_forward(lambda i: cnt.append(s.iter))
    s.step(2)
    f["2"] = cnt[:]
    s.step(1)
    f["3"] = cnt[:]
    f["files"] = sorted((x for x in os.listdir(".") if "iter" in x))
    s.solve()
    f["end"] = [s.iter, cnt[:]]
    f["files2"] = sorted((x for x in os.listdir(".") if "iter" in x))


def case_two_tests(caffe, f):
    put(TEST)
    put(TRAINABLE, "t2.prototxt")
    put(
        'train_net: "net.prototxt" test_net: "net.prototxt" test_net: "t2.prototxt" test_iter: 1 test_iter: 2 test_interval: 5 base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "x"',
        "s",
    )
    s = caffe.get_solver("s")
    f["n"] = [[t.outputs, list(t.blobs)] for t in s.test_nets]
    f["l"] = [len(s.test_nets)]


def case_snapshot_restore(caffe, f):
    s = mk(caffe, momentum=0.9, snapshot_prefix="p/x" if os.mkdir("p") is None else "")
    s.step(3)
    s.snapshot()
    f["files"] = sorted(os.listdir("p"))
    w = s.net.params["ip"][0].data.copy()
    s.step(2)
    a = st(s)
    s.restore("p/x_iter_3.solverstate")
    f["it"] = s.iter
    f["w"] = bool((w == s.net.params["ip"][0].data).all())
    s.step(2)
    f["same"] = [bool(np.allclose(x, y)) for x, y in zip(a, st(s))]
    r = mk(caffe, momentum=0.9, snapshot_prefix="p/y")
    r.restore("p/x_iter_3.solverstate")
    f["r"] = st(r)[:2]
    r.solve("p/x_iter_3.solverstate")
    f["r2"] = [r.iter, sorted(os.listdir("p"))]
    f["args"] = [
        exc(lambda: s.snapshot("a")),
        exc(lambda: s.restore()),
        exc(lambda: s.restore(3)),
        exc(lambda: s.solve(4)),
        exc(lambda: s.solve(None)),
    ]
    f["end"] = s.iter
    s5 = mk(caffe, momentum=0.9, snapshot_format="HDF5", snapshot_prefix="p/h")
    s5.step(1)
    s5.snapshot()
    f["h5"] = sorted((x for x in os.listdir("p") if x[0] == "h"))
    s5.restore("p/h_iter_1.solverstate.h5")
    f["h5 it"] = s5.iter


def case_callbacks3(caffe, f):
    s = mk(caffe, iter_size=2, momentum=0.5)
    log = []
    s.add_callback(
        lambda: log.append(("s", s.iter)),
        lambda: (log.append(("g", s.net.params["ip"][1].diff.copy())), s.net.params["ip"][1].diff.fill(1)),
    )
    s.step(1)
    f["log"] = [[a, b] for a, b in log]
    f["st"] = st(s)
    f["data"] = s.net.params["ip"][1].data
    f["net hooks"] = []
    s.net.before_backward(lambda i: s.net.blobs["loss"].diff.fill(0))
    s.step(1)
    f["st2"] = st(s)

    def bad():
        raise KeyError("x")

    s.add_callback(lambda: None, bad)
    w = s.net.params["ip"][0].data.copy()
    f["e"] = exc(lambda: s.step(3), "x")
    f["it"] = s.iter
    f["w"] = bool((w == s.net.params["ip"][0].data).all())
    f["apply"] = exc(lambda: s.apply_update())
    f["iter"] = s.iter


def case_share_weights(caffe, f):
    s = mk(caffe, momentum=0.9)
    n = caffe.Net("net.prototxt", caffe.TEST)
    f["r"] = exc(lambda: s.share_weights(n))
    f["sh"] = [
        shares(n.params["ip"][0].data, s.net.params["ip"][0].data),
        shares(n.params["ip"][0].diff, s.net.params["ip"][0].diff),
    ]
    s.step(2)
    f["follows"] = bool((n.params["ip"][0].data == s.net.params["ip"][0].data).all())
    n.params["ip"][0].data[...] = 0
    f["back"] = float(abs(s.net.params["ip"][0].data).sum())
    f["bad"] = exc(lambda: s.share_weights(s))
    k = s.net.params["ip"][0].data
    net = s.net
    del s
    net.forward()
    f["alive"] = k.shape


def case_weights_field(caffe, f):
    n = fill(caffe.Net(put(TRAINABLE), caffe.TRAIN), 3)
    n.save("w.caffemodel")
    s = caffe.get_solver(put(solver_text("net.prototxt") + 'weights: "w.caffemodel"', "s"))
    f["w"] = s.net.params["ip"][0].data


def case_lr_mult(caffe, f):
    t = TRAINABLE.replace(
        "inner_product_param {", "param { lr_mult: 2 decay_mult: 0 } param { lr_mult: 0 } inner_product_param {"
    )
    s = mk(caffe, net=t, momentum=0.9, weight_decay=0.1)
    s.step(2)
    f["st"] = st(s)
    f["b"] = s.net.params["ip"][1].data
    s.net.params["ip"][1].diff[...] = 1
    s.apply_update()
    f["b2"] = [s.net.params["ip"][1].data, s.net.params["ip"][1].diff]
    s.step(1)
    f["b3"] = [s.net.params["ip"][1].data, s.net.params["ip"][1].diff]
    s = mk(caffe, "AdamSolver", net=t, momentum=0.9, momentum2=0.9)
    s.step(2)
    f["adam"] = st(s)
    f["adamb"] = s.net.params["ip"][1].data


def case_debug_info(caffe, f):
    s = mk(caffe, debug_info=True, display=1)
    s.step(2)
    f["st"] = st(s)


def case_solver_no_loss(caffe, f):
    t = TRAINABLE.replace(
        'type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss"', 'type: "Softmax" bottom: "ip" top: "loss"'
    )
    put(t)
    s = caffe.get_solver(put(solver_text("net.prototxt"), "s"))
    fill(s.net)
    s.net.blobs["data"].data[...] = wave(2, 3)
    s.net.blobs["loss"].diff[...] = 1
    w = s.net.params["ip"][0].data.copy()
    s.step(2)
    f["w"] = bool((w == s.net.params["ip"][0].data).all())
    f["d"] = s.net.params["ip"][0].diff


def case_weight_sharing_solver(caffe, f):
    t = 'layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }\nlayer { name: "a" type: "InnerProduct" bottom: "data" top: "a" param { name: "w" lr_mult: 2 } inner_product_param { num_output: 3 bias_term: false } }\nlayer { name: "ip" type: "InnerProduct" bottom: "a" top: "ip" param { name: "w" } inner_product_param { num_output: 3 } }\nlayer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    s = mk(caffe, net=t, momentum=0.9, weight_decay=0.1)
    s.step(2)
    f["st"] = st(s)
    f["a"] = [s.net.params["a"][0].data, s.net.params["a"][0].diff]
    s.snapshot()
    s.net.save_hdf5("x.h5")
    import h5py

    h = h5py.File("x.h5", "r")
    f["keys"] = {k: sorted(h["data"][k]) for k in h["data"]}
    f["diff group"] = sorted(h)
    s.net.save("y.caffemodel")
    n = caffe.Net("net.prototxt", caffe.TRAIN, weights="x.h5")
    f["n"] = [
        n.params["a"][0].data,
        shares(n.params["a"][0].data, n.params["ip"][0].data),
        n.params["a"][0] is n.params["ip"][0],
    ]


CONVOLVED = """
layer { name: "data" type: "Input" top: "data" top: "label" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 4 } shape { dim: 2 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "relu" }
layer { name: "ip" type: "InnerProduct" bottom: "relu" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def convolved(caffe, look):
    put(CONVOLVED)
    put(solver_text("net.prototxt", base_lr=0.1, momentum=0.5, test_iter=1, test_interval=1), "s.prototxt")
    s = caffe.SGDSolver("s.prototxt")
    fill(s.net)
    for net in (s.net, s.test_nets[0]):
        net.blobs["data"].data[...] = wave(2, 3, 5, 4)
        net.blobs["label"].data[...] = [0, 2]
    if look:
        s.test_nets[0].params["conv"][0].data[...] = 1
    return s


def inside(net):
    return [net.blobs[name].data.ravel()[:4] for name in ("conv", "relu", "ip")] + [net.blobs["loss"].data]


def case_test_weights_looked_at(caffe, f):
    s = convolved(caffe, True)
    s.step(3)
    f["tested"] = inside(s.test_nets[0])
    f["weights"] = s.test_nets[0].params["conv"][0].data.ravel()[:5]
    s.test_nets[0].forward()
    f["again"] = inside(s.test_nets[0])


def case_test_blobs_are_of_the_test(caffe, f):
    s = convolved(caffe, False)
    s.step(3)
    f["tested"] = inside(s.test_nets[0])
    s.net.params["conv"][0].data[...] *= 2
    f["weights changed"] = inside(s.test_nets[0])
    s.test_nets[0].forward()
    f["again"] = inside(s.test_nets[0])


def case_weights_written_behind_a_pass(caffe, f):
    s = convolved(caffe, False)
    s.step(2)
    weights = s.net.params["conv"][0].data
    s.step(1)
    s.net.forward()
    weights[...] = 0
    f["trained"] = inside(s.net)
    s.step(2)
    s.net.forward()
    s.test_nets[0].params["conv"][0].data[...] = 1
    f["by the test net"] = inside(s.net)
