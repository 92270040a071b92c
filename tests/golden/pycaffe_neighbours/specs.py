"""NetSpec, io, coord_map: what `specs.json` has from real pycaffe; recorded by tests/pycaffe/neighbours.py."""

import numpy as np
from kit import MINI, exc, fill, put, wave


def case_spec_fillers_and_lists(caffe, f):
    L, P, n = caffe.layers, caffe.params, caffe.NetSpec()
    n.data, n.label = L.Data(
        source="db",
        batch_size=2,
        backend=P.Data.LMDB,
        ntop=2,
        transform_param=dict(scale=1 / 255.0, mean_value=[104, 117.5, 123], mirror=True),
    )
    n.conv = L.Convolution(
        n.data,
        num_output=4,
        kernel_size=[3, 5],
        stride=[1, 2],
        weight_filler=dict(type="gaussian", std=0.01),
        bias_filler=dict(type="constant", value=0.2),
        param=[dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)],
    )
    n.deconv = L.Deconvolution(
        n.conv,
        convolution_param=dict(num_output=2, kernel_size=4, bias_term=False, group=2),
        param=dict(name="up", lr_mult=0),
    )
    f["text"] = str(n.to_proto())


def case_spec_enums_and_floats(caffe, f):
    L, P, n = caffe.layers, caffe.params, caffe.NetSpec()
    n.x = L.DummyData(
        shape=[dict(dim=[1, 2, 3]), dict(dim=[4])],
        data_filler=[dict(type="constant", value=1e-7), dict(type="uniform", min=-1, max=1)],
        ntop=1,
    )
    n.p = L.Pooling(n.x, pool=P.Pooling.AVE, kernel_h=2, kernel_w=3, global_pooling=False)
    n.l = L.LRN(n.p, norm_region=P.LRN.WITHIN_CHANNEL, alpha=0.0001, beta=0.75, local_size=5)
    n.e = L.Eltwise(n.l, n.p, operation=P.Eltwise.SUM, coeff=[0.5, -1])
    n.r = L.Reduction(n.e, operation=P.Reduction.ASUM, axis=1, coeff=3.0)
    n.h = L.HingeLoss(n.e, n.r, norm=P.HingeLoss.L2, loss_weight=0.5)
    f["text"] = str(n.to_proto())


def case_spec_include_and_weights(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3]), include=dict(phase=caffe.TEST, stage=["deploy", "x"], not_stage="y"))
    n.ip = L.InnerProduct(n.data, num_output=2, exclude=[dict(phase=0, min_level=1, max_level=3)])
    n.acc, n.per = L.Accuracy(n.ip, n.data, ntop=2, top_k=2, ignore_label=255)
    n.loss = L.SoftmaxWithLoss(n.ip, n.data, loss_weight=[1], loss_param=dict(ignore_label=1, normalize=False))
    f["text"] = str(n.to_proto())


def case_spec_nested_composition(caffe, f):
    L = caffe.layers

    def block(x, k):
        c = L.Convolution(x, num_output=k, kernel_size=1)
        return c, L.ReLU(c, in_place=True)

    a, ra = block(L.Input(shape=dict(dim=[1, 1, 4, 4])), 2)
    b, rb = block(ra, 3)
    out = L.Concat(ra, rb, axis=1)
    f["text"] = str(caffe.to_proto(out))
    f["two"] = str(caffe.to_proto(out, a))
    f["silence"] = exc(lambda: caffe.to_proto(L.Silence(a, b, ntop=0)))
    f["names"] = [a.fn.type_name, out.n, type(out).__name__]


def case_spec_silence_and_no_tops(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.a, n.b = L.DummyData(shape=[dict(dim=[1])] * 2, ntop=2)
    n.silence = L.Silence(n.a, n.b, ntop=0)
    n.out = L.HDF5Output(n.a, n.b, hdf5_output_param=dict(file_name="x.h5"), ntop=0)
    f["text"] = str(n.to_proto())
    f["type"] = type(n.silence).__name__


def case_spec_named_layer(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1]), name="source")
    n.x = L.Power(n.data, name="other", power=2, scale=-1, shift=1e10)
    n.y = L.Power(n.x, in_place=True, name="again")
    f["text"] = str(n.to_proto())


def case_spec_renamed_tops(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    x = L.Input(shape=dict(dim=[1]))
    n.one = x
    n.two = x
    n["three four"] = L.AbsVal(x)
    n.sliced = L.AbsVal(n["three four"])
    f["text"] = str(n.to_proto())
    f["get"] = exc(lambda: n["nothing"])
    f["keys"] = list(n.tops)


def case_spec_deleting(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.a = L.Input(shape=dict(dim=[1]))
    n.b = L.AbsVal(n.a)

    def delete():
        del n.a

    f["del"] = exc(delete)
    f["keys"] = list(n.tops)
    f["in"] = exc(lambda: "a" in n)
    f["len"] = exc(lambda: len(n))
    f["iter"] = exc(lambda: list(iter(n)), "0")


def case_spec_top_objects(caffe, f):
    L = caffe.layers
    top = L.Input(shape=dict(dim=[1]))
    for word, do in (
        ("+", lambda: top + 1),
        ("-", lambda: top - top),
        ("*", lambda: 2 * top),
        ("[]", lambda: top[0]),
        ("()", lambda: top()),
        ("len", lambda: len(top)),
        ("iter", lambda: list(top)),
        ("<", lambda: top < top),
        ("neg", lambda: -top),
        ("float", lambda: float(top)),
    ):
        f[word] = exc(do)
    f["eq"] = [top == top, top != top, bool(top), hash(top) == hash(top)]
    f["attributes"] = sorted(k for k in vars(top))
    f["fn"] = sorted(vars(top.fn))
    f["str"] = str(top)[:6] == str(top)[:6]
    f["to_proto"] = str(top.to_proto())


def case_spec_wrong_values(caffe, f):
    L, P = caffe.layers, caffe.params
    for word, do in {
        "unknown enum": lambda: P.Pooling.MIN,
        "unknown param": lambda: P.Nothing.MAX,
        "str for int": lambda: L.Convolution(L.Input(), num_output="4").to_proto(),
        "float for int": lambda: L.Convolution(L.Input(), num_output=4.5).to_proto(),
        "none": lambda: L.Convolution(L.Input(), num_output=None).to_proto(),
        "negative": lambda: L.Convolution(L.Input(), num_output=-1).to_proto(),
        "numpy int": lambda: str(L.Convolution(L.Input(), num_output=np.int64(4)).to_proto()),
        "numpy float": lambda: str(L.Power(L.Input(), power=np.float32(0.1)).to_proto()),
        "array for list": lambda: str(L.Convolution(L.Input(), kernel_size=np.array([3, 4])).to_proto()),
        "tuple": lambda: str(L.Convolution(L.Input(), kernel_size=(3, 4)).to_proto()),
        "list for scalar": lambda: str(L.InnerProduct(L.Input(), num_output=[3]).to_proto()),
        "string for top": lambda: L.ReLU("data"),
        "number for top": lambda: L.ReLU(3),
        "two fields": lambda: str(L.Pooling(L.Input(), pooling_param=dict(stride=2), kernel_size=3).to_proto()),
        "unknown type": lambda: str(L.Nothing(L.Input()).to_proto()),
        "unknown type field": lambda: str(L.Nothing(L.Input(), size=3).to_proto()),
        "ntop 0": lambda: str(L.ReLU(L.Input(), ntop=0)),
        "ntop 3": lambda: len(L.Slice(L.Input(), ntop=3)),
    }.items():
        f[word] = exc(do)


def case_spec_shared_input_two_nets(caffe, f):
    L = caffe.layers
    x = L.Input(shape=dict(dim=[1]))
    one, two = caffe.NetSpec(), caffe.NetSpec()
    one.a = x
    two.b = x
    one.c = L.AbsVal(one.a)
    two.d = L.Exp(two.b)
    f["one"], f["two"] = str(one.to_proto()), str(two.to_proto())


def case_spec_unnamed_middles(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 2, 3, 3]))
    n.out = L.Sigmoid(L.TanH(L.BatchNorm(L.ReLU(n.data), use_global_stats=True), in_place=True))
    n.cat = L.Concat(n.out, L.ReLU(n.data), L.ReLU(n.data))
    f["text"] = str(n.to_proto())


def case_spec_python_and_parameters(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.d, n.l = L.Python(module="m", layer="D", ntop=2, param_str="{'a': [1, 2]}")
    n.k = L.Parameter(shape=dict(dim=[2, 3]), ntop=1)
    n.s = L.Scale(n.d, n.k, axis=0, bias_term=False, filler=dict(value=2))
    n.x = L.Reshape(n.s, reshape_param=dict(shape=dict(dim=[0, -1]), axis=0, num_axes=-1))
    n.t = L.Tile(n.x, tiles=2, axis=-1)
    n.e = L.Embed(
        n.l,
        input_dim=10,
        num_output=3,
        bias_term=False,
        weight_filler=dict(type="xavier", variance_norm=caffe.params.Filler.AVERAGE),
    )
    f["text"] = str(n.to_proto())


def case_spec_recurrent(caffe, f):
    L, n = caffe.layers, caffe.NetSpec()
    n.x, n.c = L.Input(shape=[dict(dim=[2, 1, 3]), dict(dim=[2, 1])], ntop=2)
    n.lstm = L.LSTM(
        n.x,
        n.c,
        recurrent_param=dict(
            num_output=4, weight_filler=dict(type="uniform", min=-0.1, max=0.1), debug_info=True, expose_hidden=False
        ),
    )
    f["text"] = str(n.to_proto())
    net = caffe.Net(put(str(n.to_proto())), caffe.TEST)
    f["shapes"] = {k: list(v.data.shape) for k, v in net.blobs.items()}


def case_spec_numbers_as_text(caffe, f):
    L = caffe.layers
    for value in (
        0.1,
        1 / 3,
        1e-5,
        1e20,
        -0.0,
        3,
        16777217,
        1e-45,
        float("inf"),
        float("-inf"),
        float("nan"),
        0.30000001,
        123456.789,
        1e6,
        1e7,
        12345678.0,
    ):
        f[str(value)] = str(L.Power(L.Input(), shift=value).to_proto()).split("shift: ")[-1].split("\n")[0]


def case_spec_strings_as_text(caffe, f):
    L = caffe.layers
    for value in ("a b", 'a"b', "a'b", "a\\b", "a\nb", "a\tb", "é", "日本", "", "\x00", "\x7f", "a" * 80):
        f[repr(value)] = (
            str(L.Python(L.Input(), module="m", layer="l", param_str=value).to_proto())
            .split("param_str: ")[-1]
            .split("\n")[0]
        )


def case_coord_map_layers(caffe, f):
    from caffe.coord_map import coord_map, coord_map_from_to, crop_params, inverse, compose

    L = caffe.layers
    x = L.Input(shape=dict(dim=[1, 1, 32, 32]))
    for word, top in {
        "conv": L.Convolution(x, kernel_size=5, stride=2, pad=1, num_output=1),
        "hw": L.Convolution(x, kernel_h=3, kernel_w=3, stride_h=2, stride_w=2, pad_h=1, pad_w=1, num_output=1),
        "dilated": L.Convolution(x, kernel_size=3, dilation=4, pad=4, num_output=1),
        "deconv": L.Deconvolution(x, convolution_param=dict(kernel_size=4, stride=2, pad=1, num_output=1)),
        "pool": L.Pooling(x, kernel_size=3, stride=2, pad=0),
        "relu": L.ReLU(x),
        "two kernels": L.Convolution(x, kernel_size=[3, 5], num_output=1),
        "bn": L.BatchNorm(x),
        "eltwise": L.Eltwise(x, L.ReLU(x)),
        "concat": L.Concat(x, x),
        "flatten": L.Flatten(x),
        "softmax": L.Softmax(x),
        "scale": L.Scale(x),
        "lrn": L.LRN(x),
        "crop": L.Crop(x, L.ReLU(x), crop_param=dict(axis=2, offset=[3, 3])),
    }.items():
        f["map " + word] = exc(lambda top=top: coord_map(top.fn))
        f["to " + word] = exc(lambda top=top: coord_map_from_to(top, x))
    f["inverse"] = [inverse((None, 2, 3)), inverse((0, np.array([2.0, 4.0]), np.array([1.0, 1.0])))]
    f["compose"] = [compose((None, 2, 3), (None, 4, 5)), exc(lambda: compose((0, 2, 3), (1, 4, 5)))]


def case_coord_map_crops(caffe, f):
    from caffe.coord_map import crop, crop_params

    L = caffe.layers

    def fcn(stride=2, pad=100, kernel=4):
        x = L.Input(shape=dict(dim=[1, 1, 64, 64]))
        c = L.Convolution(x, kernel_size=3, pad=pad, num_output=1)
        p = L.Pooling(L.ReLU(c, in_place=True), kernel_size=2, stride=2)
        s = L.Convolution(p, kernel_size=1, num_output=2)
        return x, L.Deconvolution(s, convolution_param=dict(kernel_size=kernel, stride=stride, num_output=2))

    x, up = fcn()
    f["text"] = str(caffe.to_proto(crop(up, x)))
    f["params"] = [list(map(int, crop_params(crop(up, x).fn)[:1])), exc(lambda: list(crop_params(L.Crop(up, x).fn)))]
    for word, options in (
        ("stride", dict(stride=4)),
        ("pad", dict(pad=0)),
        ("kernel", dict(kernel=5)),
        ("other pad", dict(pad=30)),
    ):
        f[word] = exc(lambda: str(caffe.to_proto(crop(*reversed(fcn(**options))))))
        f[word + " up"] = exc(lambda: (lambda x, up: crop(up, x).fn.params)(*fcn(**options)))
    f["unrelated"] = exc(lambda: crop(up, L.Input()), "Could not compute map")


def case_io_arrays(caffe, f):
    io = caffe.io
    for shape in ((2, 3), (1, 1, 1), (3, 1, 4), (2, 2, 2, 2)):
        for kind in ("float32", "float64", "uint8", "int32"):
            a = (10 * wave(*shape)).astype(kind)
            f["blob %s %s" % (shape, kind)] = exc(lambda: io.blobproto_to_array(io.array_to_blobproto(a)).tolist())
    f["diff"] = exc(
        lambda: io.blobproto_to_array(io.array_to_blobproto(wave(1, 1, 2, 3), wave(1, 1, 2, 3, k=1)), return_diff=True)
    )
    f["blob type"] = str(io.blobproto_to_array(io.array_to_blobproto(wave(1, 1, 2, 3))).dtype)


def case_io_datum(caffe, f):
    io = caffe.io
    for kind in ("uint8", "float32", "float64", "int64", "bool"):
        a = (100 + 20 * wave(2, 3, 4)).astype(kind)
        f["round " + kind] = exc(lambda: io.datum_to_array(io.array_to_datum(a)).tolist())
        f["fields " + kind] = exc(
            lambda: (lambda d: [d.channels, d.height, d.width, len(d.data), len(d.float_data), d.label, d.encoded])(
                io.array_to_datum(a, 7)
            )
        )
    f["2d"] = exc(lambda: io.array_to_datum(wave(2, 3)), "Incorrect array shape")
    f["label None"] = exc(lambda: io.array_to_datum(wave(1, 2, 3)).HasField("label"))
    f["strided"] = exc(
        lambda: io.datum_to_array(io.array_to_datum(np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2])).tolist()
    )
    f["vector"] = exc(
        lambda: [
            len(io.arraylist_to_blobprotovector_str([wave(2, 3, 1, 1)] * 2)),
            [
                a.tolist()
                for a in io.blobprotovector_str_to_arraylist(io.arraylist_to_blobprotovector_str([wave(1, 1, 1, 2)]))
            ],
        ]
    )


def case_io_transformer_kinds(caffe, f):
    T = caffe.io.Transformer
    t = T({"data": (2, 3, 4, 5), "gray": (1, 1, 4, 5)})
    f["vars"] = sorted(vars(t))
    f["unset"] = [t.inputs, t.transpose, t.mean]
    f["unknown"] = exc(lambda: t.preprocess("x", wave(4, 5, 3)), "x is not one of the net inputs")
    f["unknown set"] = exc(lambda: t.set_mean("x", wave(3)))
    f["none"] = t.preprocess("data", wave(3, 4, 5))
    t.set_transpose("data", (2, 0, 1))
    t.set_channel_swap("data", (2, 1, 0))
    t.set_raw_scale("data", 255)
    t.set_mean("data", np.array([1.0, 2, 3]))
    t.set_input_scale("data", 0.5)
    a = np.abs(wave(4, 5, 3))
    b = t.preprocess("data", a)
    f["all"] = [b, str(b.dtype), list(b.shape)]
    f["input kept"] = a
    f["back"] = t.deprocess("data", b)
    f["back in place"] = b
    f["squeezed"] = t.deprocess("gray", wave(1, 1, 4, 5)).shape
    f["uint8"] = t.preprocess("data", (100 * a).astype(np.uint8))
    f["wrong order"] = exc(lambda: t.set_transpose("data", (0, 1)), "Transpose")
    f["wrong swap"] = exc(lambda: t.set_channel_swap("data", (0, 1)), "Channel swap")
    f["mean channels"] = exc(lambda: t.set_mean("data", np.zeros(2)), "Mean channels incompatible")
    f["mean shape"] = exc(lambda: t.set_mean("data", np.zeros((3, 2))), "Mean shape")
    f["mean image"] = exc(lambda: t.set_mean("data", np.zeros((3, 8, 8))) or t.mean["data"].shape)
    f["mean list"] = exc(lambda: t.set_mean("data", [1, 2, 3]))


def case_io_oversample_kinds(caffe, f):
    o = caffe.io.oversample
    for word, images, size in (
        ("tuple", (wave(5, 7, 2),), (3, 3)),
        ("array", wave(2, 4, 4, 1), (4, 4)),
        ("list size", [wave(4, 6, 1)], [2, 4]),
        ("array size", [wave(4, 6, 1)], np.array([3, 5])),
    ):
        found = o(images, size)
        f[word] = [list(found.shape), str(found.dtype), found[:, 0, 0, 0], found[:, -1, -1, -1]]
    f["too large"] = exc(lambda: o([wave(4, 4, 1)], (5, 5)))
    f["2d"] = exc(lambda: o([wave(4, 4)], (2, 2)))
    f["none"] = exc(lambda: o([], (2, 2)))


def case_classifier_forms(caffe, f):
    put(MINI.replace("dim: 2 dim: 1 dim: 6", "dim: 10 dim: 1 dim: 6"))
    fill(caffe.Net("net.prototxt", caffe.TEST)).save("w.caffemodel")
    c = caffe.Classifier("net.prototxt", "w.caffemodel", raw_scale=2, mean=np.array([0.1]), input_scale=0.5)
    f["attributes"] = [list(c.crop_dims), list(c.image_dims), sorted(c.transformer.inputs)]
    image = np.abs(wave(6, 6, 1))
    f["over"] = c.predict([image])
    f["centre"] = c.predict([image, image[::-1]], oversample=False)
    f["array"] = c.predict(np.array([image]), False)
    f["type"] = [type(c.predict([image])).__name__, str(c.predict([image]).dtype)]
    f["none"] = exc(lambda: c.predict([]))
    d = caffe.Classifier("net.prototxt", "w.caffemodel", image_dims=[9, 8])
    f["dims"] = d.predict([np.abs(wave(9, 8, 1))], oversample=True)
    f["missing"] = exc(lambda: caffe.Classifier("net.prototxt", "nothing.caffemodel"))


def case_detector_windows(caffe, f):
    put(MINI.replace("dim: 2 dim: 1 dim: 6", "dim: 3 dim: 3 dim: 6"))
    fill(caffe.Net("net.prototxt", caffe.TEST)).save("w.caffemodel")
    d = caffe.Detector(
        "net.prototxt", "w.caffemodel", mean=np.array([0.1, 0.2, 0.3]), input_scale=2, channel_swap=(2, 1, 0)
    )
    load = caffe.io.load_image
    caffe.io.load_image = lambda name, color=True: np.abs(wave(9, 11, 3))
    found = d.detect_windows([("a.png", np.array([[0, 0, 6, 6], [2, 3, 8, 10], [1, 1, 7, 9], [0, 0, 9, 11]]))])
    f["count"] = len(found)
    f["keys"] = sorted(found[0])
    f["windows"] = [list(map(int, each["window"])) for each in found]
    f["prediction shape"] = [list(each["prediction"].shape) for each in found]
    f["name"] = found[0]["filename"]
    f["exact size"] = found[0]["prediction"]
    caffe.io.load_image = load
