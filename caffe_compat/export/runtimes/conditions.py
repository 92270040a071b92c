"""When a fact about a runtime concerns a layer: fields, axes, names and outputs."""

from __future__ import annotations

import math
from typing import Any

from caffe_compat.export.runtimes.place import Place, condition, covered, is_bank, sizes_above_one
from caffe_compat.layers.base import Shape


@condition("overwritten")
def _overwritten(place: Place) -> bool:
    return place.overwritten


@condition("one-bottom")
def _one_bottom(place: Place) -> bool:
    return len(place.bottoms) == 1


@condition("two-bottoms")
def _two_bottoms(place: Place) -> bool:
    return len(place.bottoms) > 1


@condition("two-bottoms-and-bias")
def _two_bottoms_and_bias(place: Place) -> bool:
    return len(place.bottoms) > 1 and bool(place.param.scale_param.bias_term)


@condition("several-tops")
def _several_tops(place: Place) -> bool:
    return len(place.tops) > 1


@condition("unread-input")
def _unread_input(place: Place) -> bool:
    return not place.read


@condition("unscaled-dropout")
def _unscaled_dropout(place: Place) -> bool:
    return not place.param.dropout_param.scale_train


@condition("passed-on-as-output")
def _passed_on_as_output(place: Place) -> bool:
    param = place.param
    return len(param.bottom) == 1 and param.top[0] != param.bottom[0] and param.top[0] in place.outputs


@condition("output-of-split")
def _output_of_split(place: Place) -> bool:
    return any(top in place.outputs for top in place.param.top)


@condition("output-of-forked-split")
def _output_of_forked_split(place: Place) -> bool:
    return len(place.tops) > 1 and any(top in place.outputs for top in place.param.top)


@condition("twin")
def _twin(place: Place) -> bool:
    return place.twin


@condition("batch-statistics")
def _batch_statistics(place: Place) -> bool:
    fields = place.param.batch_norm_param
    return fields.HasField("use_global_stats") and not fields.use_global_stats


@condition("flat")
def _flat(place: Place) -> bool:
    return len(place.bottoms[0]) < 3


@condition("not-flat-nor-image")
def _not_flat_nor_image(place: Place) -> bool:
    return len(place.bottoms[0]) not in (1, 2, 4)


@condition("odd-operand")
def _odd_operand(place: Place) -> bool:
    fields = place.param.scale_param if place.param.type == "Scale" else place.param.bias_param
    return len(place.bottoms) == 1 and (fields.axis < 0 or fields.num_axes == 0)


@condition("not-by-channel")
def _not_by_channel(place: Place) -> bool:
    axes = covered(place)
    return 1 not in axes or any(place.bottoms[0][axis] != 1 for axis in axes if axis != 1)


@condition("old-axis")
def _old_axis(place: Place) -> bool:
    concat = place.param.type == "Concat"
    fields, old = (place.param.concat_param, "concat_dim") if concat else (place.param.slice_param, "slice_dim")
    return bool(fields.HasField(old) and getattr(fields, old) != 1)


@condition("no-points")
def _no_points(place: Place) -> bool:
    return not place.param.slice_param.slice_point


@condition("no-points-some-unread")
def _no_points_some_unread(place: Place) -> bool:
    return not place.param.slice_param.slice_point and len(place.read) < len(place.tops)


@condition("no-offset")
def _no_offset(place: Place) -> bool:
    return not place.param.crop_param.offset


@condition("coefficients")
def _coefficients(place: Place) -> bool:
    """MNN takes none, (1, -1), and 1 with zeros."""
    fields = place.param.eltwise_param
    given = list(fields.coeff)
    sums = fields.operation == fields.SUM
    return sums and bool(given) and given != [1, -1] and not (given[0] == 1 and not any(given[1:]))


def _flatten_stops(place: Place) -> bool:
    fields = place.param.flatten_param
    return fields.HasField("end_axis") and (len(place.bottoms[0]) != 4 or not 0 <= fields.axis < fields.end_axis)


condition("flatten-stops")(_flatten_stops)


@condition("flatten-otherwise")
def _flatten_otherwise(place: Place) -> bool:
    """MNN 3.6.1: end_axis is the first axis that stays, and from a negative axis on everything is one."""
    fields, bottom = place.param.flatten_param, place.bottoms[0]
    axis, end = fields.axis, fields.end_axis
    if fields.HasField("end_axis"):
        joined = (*bottom[:axis], math.prod(bottom[axis:end]), *bottom[end:])
        return not _flatten_stops(place) and sizes_above_one(joined) != sizes_above_one(place.tops[0])
    return axis < 0 and sizes_above_one((math.prod(bottom),)) != sizes_above_one(place.tops[0])


def _shape_for_all(place: Place) -> Shape:
    """The sizes of `shape` of a Reshape taken for the whole bottom; () where they do not fit."""
    fields, bottom = place.param.reshape_param, place.bottoms[0]
    sizes = [size or (bottom[axis] if axis < len(bottom) else 1) for axis, size in enumerate(fields.shape.dim)]
    known = math.prod(size for size in sizes if size != -1)
    whole = math.prod(bottom)
    if -1 in sizes and known:
        sizes[sizes.index(-1)] = whole // known
    return tuple(sizes) if math.prod(sizes) == whole else ()


def _shape_of_a_part(place: Place) -> bool:
    fields = place.param.reshape_param
    return bool(fields.axis or fields.num_axes != -1)


@condition("reshape-stops")
def _reshape_stops(place: Place) -> bool:
    """MNN 3.6.1 applies `shape` to the whole bottom."""
    return _shape_of_a_part(place) and not _shape_for_all(place)


@condition("reshape-otherwise")
def _reshape_otherwise(place: Place) -> bool:
    whole = _shape_for_all(place)
    return _shape_of_a_part(place) and bool(whole) and sizes_above_one(whole) != sizes_above_one(place.tops[0])


@condition("odd-reshape")
def _odd_reshape(place: Place) -> bool:
    fields = place.param.reshape_param
    return bool(fields.axis < 0 or fields.num_axes == 0)


@condition("negative-axis")
def _negative_axis(place: Place) -> bool:
    return bool(place.param.inner_product_param.axis < 0)


@condition("transposed")
def _transposed(place: Place) -> bool:
    return bool(place.param.inner_product_param.transpose)


@condition("not-by-size")
def _not_by_size(place: Place) -> bool:
    fields = place.param.interp_param
    return (fields.height, fields.width) != tuple(place.tops[0][2:]) or _pads(fields)


@condition("shrinks")
def _shrinks(place: Place) -> bool:
    fields = place.param.interp_param
    return fields.shrink_factor > 1 or _pads(fields)


def _pads(fields: Any) -> bool:
    return bool(fields.pad_beg or fields.pad_end)


@condition("across")
def _across(place: Place) -> bool:
    fields = place.param.lrn_param
    return fields.norm_region == fields.ACROSS_CHANNELS and not place.overwritten


@condition("across-with-k")
def _across_with_k(place: Place) -> bool:
    fields = place.param.lrn_param
    return bool(fields.norm_region == fields.ACROSS_CHANNELS and fields.k != 1)


@condition("k-not-whole")
def _k_not_whole(place: Place) -> bool:
    return _across(place) and not float(place.param.lrn_param.k).is_integer()


@condition("natural")
def _natural(place: Place) -> bool:
    return bool(place.param.log_param.base <= 0)


@condition("any-log-field")
def _any_log_field(place: Place) -> bool:
    fields = place.param.log_param
    return (fields.base, fields.scale, fields.shift) != (-1, 1, 0)


@condition("normalizes-variance")
def _normalizes_variance(place: Place) -> bool:
    return bool(place.param.mvn_param.normalize_variance)


@condition("mvn-eps")
def _mvn_eps(place: Place) -> bool:
    """An epsilon that is seen in float32 beside standard deviations near 1."""
    fields = place.param.mvn_param
    return bool(fields.normalize_variance and fields.eps > 2e-5)


@condition("shared-scale")
def _shared_scale(place: Place) -> bool:
    return bool(place.param.norm_param.channel_shared)


@condition("across-spatial")
def _across_spatial(place: Place) -> bool:
    return bool(place.param.norm_param.across_spatial)


@condition("shared-slope")
def _shared_slope(place: Place) -> bool:
    return bool(place.param.prelu_param.channel_shared)


@condition("short-order")
def _short_order(place: Place) -> bool:
    order = list(place.param.permute_param.order)
    return len(order) < len(place.bottoms[0]) and order != list(range(len(order)))


@condition("short-order-of-mnn")
def _short_order_of_mnn(place: Place) -> bool:
    """One axis left out of four is taken for the channels."""
    order = list(place.param.permute_param.order)
    return len(order) < len(place.bottoms[0]) and not (len(place.bottoms[0]) == 4 and sorted(order) == [0, 2, 3])


@condition("reduction-coeff")
def _reduction_coeff(place: Place) -> bool:
    return bool(place.param.reduction_param.coeff != 1)


@condition("name-of-anothers-top")
def _name_of_anothers_top(place: Place) -> bool:
    """OpenCV calls Convolutions and Deconvolutions by their tops, other layers by their names."""
    own = place.param.name
    tops = {top for top, maker in place.banks if maker != top}
    return own in tops and not is_bank(place.param) and place.param.type != "Input"


@condition("name-twice")
def _name_twice(place: Place) -> bool:
    return not is_bank(place.param) and place.param.type != "Input" and place.names.count(place.param.name) > 1
