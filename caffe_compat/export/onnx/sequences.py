"""Sequences as ONNX: recurrent layers step by step, embedding, reversal, greedy decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe_compat.export.onnx.program import Call, axis_of, writes
from caffe_compat.export.writers import Inexpressible

_FIRST = np.iinfo(np.int64).min
Step = Callable[[str, str, list[str]], tuple[str, list[str]]]


def reversed_along(call: Call, value: str, axis: int, output: str | None = None) -> str:
    """`value` from the last to the first along an axis."""
    edges = [call.constant([each], np.int64) for each in (-1, _FIRST + 1, axis, -1)]
    return call.op("Slice", [value, *edges], output)


@writes("Reverse")
def reverse(call: Call) -> None:
    axis = axis_of(call.layer, call.layer.axis, call.bottoms[0])
    if any(axis in axes for axes in call.open_bottoms):
        reversed_along(call, call.inputs[0], axis, call.outputs[0])
        return
    places = call.constant(np.arange(call.bottoms[0][axis])[::-1], np.int64)  # OpenCV 4 cuts no Slice backwards
    call.op("Gather", [call.inputs[0], places], call.outputs[0], axis=axis)


@writes("ReverseTime")
def reverse_time(call: Call) -> None:
    steps, streams = call.bottoms[0][:2]
    wide = len(call.bottoms[0]) - 2
    limits = [call.constant(each) for each in (0.0, float(steps))]
    lengths = call.op("Clip", [call.reshape(call.inputs[1], (-1,)), *limits])
    lengths = call.op("Cast", [lengths], to=call.program.onnx.TensorProto.INT64)
    copies = call.layer.param.reverse_time_param.copy_remaining
    step = call.constant(np.arange(steps)[:, None].repeat(1 if call.is_open else streams, 1), np.int64)
    wide_lengths = call.reshape(lengths, (1, -1))
    inside = call.op("Less", [step, wide_lengths])
    output = call.outputs[0] if copies else None
    if call.is_open:
        found = call.op("ReverseSequence", [call.inputs[0], lengths], output, time_axis=0, batch_axis=1)
    else:  # as places in a row of all steps, for OpenCV and MNN have no ReverseSequence
        back = call.op("Sub", [call.op("Sub", [wide_lengths, call.constant(1, np.int64)]), step])
        places = call.op("Where", [inside, back, step])
        places = call.op("Mul", [places, call.constant(streams, np.int64)])
        places = call.op("Add", [places, call.constant(np.arange(streams)[None], np.int64)])
        rows = call.reshape(call.inputs[0], (steps * streams, *call.bottoms[0][2:]))
        found = call.op("Gather", [rows, places], output, axis=0)
    if copies:
        return
    inside = call.reshape(inside, (steps, -1 if call.is_open else streams, *[1] * wide))
    call.op("Where", [inside, found, call.constant(0.0)], call.outputs[0])


@writes("Transpose")
def transpose(call: Call) -> None:
    call.op("Transpose", call.inputs, call.outputs[0], perm=list(call.layer.order))


@writes("Embed")
def embed(call: Call) -> None:
    index = call.op("Cast", [call.inputs[0]], to=call.program.onnx.TensorProto.INT64)
    biased = len(call.layer.blobs) > 1
    rows = call.op("Gather", [call.learned(0), index], None if biased else call.outputs[0], axis=0)
    if biased:
        call.op("Add", [rows, call.learned(1)], call.outputs[0])


@writes("LSTM")
def lstm(call: Call) -> None:
    """Step by step, for the markers may start a sequence anywhere. A run starts as the very first forward does."""
    drive, hidden_weight = _drive(call)

    def step(x: str, cont: str, state: list[str]) -> tuple[str, list[str]]:
        hidden, cell = (call.op("Mul", [cont, each]) for each in state)
        gates = call.op("Add", [x, call.op("MatMul", [hidden, hidden_weight])])
        state = lstm_unit(call, gates, cell)
        return state[0], state

    _unrolled(call, drive, 2, step)


@writes("RNN")
def rnn(call: Call) -> None:
    """Step by step, as the LSTM."""
    drive, hidden_weight = _drive(call)
    last = len(call.layer.blobs)
    weight, bias = _turned(call, last - 2), call.learned(last - 1)

    def step(x: str, cont: str, state: list[str]) -> tuple[str, list[str]]:
        before = call.op("MatMul", [call.op("Mul", [cont, state[0]]), hidden_weight])
        hidden = call.op("Tanh", [call.op("Add", [x, before])])
        output = call.op("Tanh", [call.op("Add", [call.op("MatMul", [hidden, weight]), bias])])
        return output, [hidden]

    _unrolled(call, drive, 1, step)


def lstm_unit(call: Call, gates: str, cell: str) -> list[str]:
    """h and c after a step: c = f c_before + i g, h = o tanh(c); `cell` is c_before, already cut where it must be."""
    parts = [f"{gates}:{name}" for name in "ifog"]
    call.op("Split", [gates], parts, axis=-1)
    i, f, o = (call.op("Sigmoid", [part]) for part in parts[:3])
    candidate = call.op("Mul", [i, call.op("Tanh", [parts[3]])])
    after = call.op("Add", [call.op("Mul", [f, cell]), candidate])
    return [call.op("Mul", [o, call.op("Tanh", [after])]), after]


def _turned(call: Call, index: int) -> str:
    """A learned matrix the other way round, as MatMul wants it."""
    return call.constant(call.blob(index).T)


def _drive(call: Call) -> tuple[str, str]:
    """W_x x + b [+ W_static x_static] for all steps, (T, N, gates D), and W_h turned."""
    layer, (steps, streams) = call.layer, call.bottoms[0][:2]
    if call.is_open and call.open_bottoms[0] != {1}:
        raise Inexpressible("its number of steps follows the size of the batch")
    x = call.reshape(call.inputs[0], (steps, -1 if call.is_open else streams, call.layer.blob_shapes[0][1]))
    drive = call.op("Add", [call.op("MatMul", [x, _turned(call, 0)]), call.learned(1)])
    if layer.static_input:
        static = call.op("MatMul", [call.op("Flatten", [call.inputs[2]], axis=1), _turned(call, 2)])
        drive = call.op("Add", [drive, static])
    return drive, _turned(call, 3 if layer.static_input else 2)


def _unrolled(call: Call, drive: str, states: int, step: Step) -> None:
    layer, (steps, streams) = call.layer, call.bottoms[0][:2]
    size = layer.num_output
    if layer.expose_hidden:
        state = [call.reshape(each, (-1, size)) for each in call.inputs[-states:]]
    else:
        if call.is_open:
            raise Inexpressible("its first state is of one number of streams")
        state = [call.constant(np.zeros((streams, size)))] * states
    outputs, state = over_steps(call, drive, call.inputs[1], state, step, steps)
    call.op("Concat", outputs, call.outputs[0], axis=0)
    for top, value in zip(call.outputs[1:], state, strict=False):  # the states too, where they are shown
        call.op("Unsqueeze", [value, call.constant([0], np.int64)], top)


def over_steps(
    call: Call, drive: str, cont: str, state: list[str], step: Step, steps: int
) -> tuple[list[str], list[str]]:
    """What `step` gives for every step, (1, N, D) each, and the state behind the last.

    drive: (T, N, values). cont: (T, N), 0 where a sequence starts. step: of a step's drive, its cont (N, 1) and the
    state before.
    """
    outputs = []
    for number in range(steps):
        place = call.scalar(number, np.int64)
        own = call.op("Gather", [drive, place], axis=0)
        go_on = call.op("Unsqueeze", [call.op("Gather", [cont, place], axis=0), call.constant([1], np.int64)])
        output, state = step(own, go_on, state)
        outputs.append(call.op("Unsqueeze", [output, call.constant([0], np.int64)]))
    return outputs, state


@writes("LSTMUnit")
def one_step(call: Call) -> None:
    cell, gates, cont = call.inputs
    cut = call.op("Mul", [call.op("Unsqueeze", [cont, call.constant([2], np.int64)]), cell])
    hidden, after = lstm_unit(call, gates, cut)
    for top, value in zip(call.outputs, (after, hidden), strict=True):
        call.op("Identity", [value], top)


@writes("Lstm")
def caffe_lstm(call: Call) -> None:
    """junhyukoh's: ONNX's LSTM where no markers start sequences, else step by step."""
    layer, rows = call.layer, call.bottoms[0][0]
    steps, streams, inputs = layer.steps_of(call.bottoms[0])
    if call.is_open and (len(call.bottoms[0]) != 3 or call.open_bottoms[0] != {1} or len(call.inputs) > 1):
        raise Inexpressible("its steps or its first state follow the size of the batch")
    shape = (steps, -1 if call.is_open else streams, inputs)
    x = call.reshape(call.inputs[0], shape) if len(call.bottoms[0]) != 3 or rows != steps else call.inputs[0]
    if len(call.inputs) == 1:
        weights = [call.constant(_in_order(call.blob(index), layer.outputs)[None]) for index in (0, 1)]
        bias = _in_order(call.blob(2), layer.outputs)
        biases = call.constant(np.concatenate((bias, np.zeros_like(bias)))[None])
        top = call.op("LSTM", [x, *weights, biases], hidden_size=layer.outputs)
    else:
        top = _with_markers(call, x, steps, streams)
    call.reshape(top, [-1 if axis == 1 and call.is_open else n for axis, n in enumerate(call.tops[0])], call.outputs[0])


def _in_order(rows: np.ndarray, outputs: int) -> np.ndarray:
    """The rows of the gates i, f, o, g as ONNX has them: i, o, f, g."""
    gates = rows.reshape(4, outputs, *rows.shape[1:])[[0, 2, 1, 3]]
    ordered: np.ndarray = gates.reshape(rows.shape)
    return ordered


def _with_markers(call: Call, x: str, steps: int, streams: int) -> str:
    size = call.layer.outputs
    drive = call.op("Add", [call.op("MatMul", [x, _turned(call, 0)]), call.learned(2)])
    is_zero = call.op("Equal", [call.reshape(call.inputs[1], (steps, streams)), call.constant(0.0)])
    cont = call.op("Cast", [call.op("Not", [is_zero])], to=call.program.onnx.TensorProto.FLOAT)
    hidden_weight = _turned(call, 1)

    def step(own: str, go_on: str, state: list[str]) -> tuple[str, list[str]]:
        hidden, cell = (call.op("Mul", [go_on, each]) for each in state)
        after = lstm_unit(call, call.op("Add", [own, call.op("MatMul", [hidden, hidden_weight])]), cell)
        return after[0], after

    state = [call.constant(np.zeros((streams, size)))] * 2
    return call.op("Concat", over_steps(call, drive, cont, state, step, steps)[0], axis=0)


@writes("CTCGreedyDecoder")
def ctc_greedy_decoder(call: Call) -> None:
    """The best class of each step; what stays of a stream goes to its front, in order, and -1 behind."""
    layer = call.layer
    if len(call.inputs) > 1:
        raise Inexpressible("it compares what it decodes with labels; only with one bottom it decodes alone")
    steps, streams, classes = call.bottoms[0][:3]
    if call.is_open and call.open_bottoms[0] != {1}:
        raise Inexpressible("its number of steps follows the size of the batch")
    scores = call.reshape(call.inputs[0], (steps, -1 if call.is_open else streams, classes))
    best = call.op("ArgMax", [scores], axis=2, keepdims=0)  # (T, N), the first of equal ones
    labels = call.op("Transpose", [best], perm=(1, 0))
    blank = call.constant(layer.blank if layer.blank >= 0 else classes - 1, np.int64)
    kept = call.op("Not", [call.op("Equal", [labels, blank])])
    if layer.merges and steps > 1:
        axis = call.constant([1], np.int64)
        ends = [[call.constant([each], np.int64) for each in pair] for pair in ((0, steps - 1), (1, steps))]
        before, behind = (call.op("Slice", [labels, *pair, axis]) for pair in ends)
        changes = call.op("Not", [call.op("Equal", [before, behind])])
        first = call.op("Equal", [call.op("Slice", [labels, *_first_column(call)])] * 2)
        kept = call.op("And", [kept, call.op("Concat", [first, changes], axis=1)])
    step = call.constant(np.arange(steps)[None], np.int64)
    late = call.op("Add", [step, call.constant(steps, np.int64)])
    turns = call.op("Where", [kept, step, late])
    order = f"{call.outputs[0]}:order"
    options = {"axis": 1, "largest": 0, "sorted": 1}
    call.op("TopK", [turns, call.constant([steps], np.int64)], [f"{order}:turns", order], **options)
    shown = call.op("Where", [kept, labels, call.constant(-1, np.int64)])
    found = call.op("Cast", [call.op("GatherElements", [shown, order], axis=1)], to=call.program.onnx.TensorProto.FLOAT)
    call.reshape(found, (-1, steps, 1, 1), call.outputs[0])


def _first_column(call: Call) -> list[str]:
    return [call.constant([each], np.int64) for each in (0, 1, 1)]
