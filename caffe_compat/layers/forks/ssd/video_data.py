"""VideoData (video_data_layer.cpp of weiliu89/caffe and, another one, of yjxiong/caffe); its files are not read."""

from __future__ import annotations

from caffe_compat.layers.forks.data import ForkData
from caffe_compat.layers.registry import register


@register("VideoData")
class VideoData(ForkData):
    """Frames of videos with one label an item.

    The segment networks' fork stacks new_length frames of num_segments segments in the channels: x and y of the FLOW,
    or the colours of RGB. SSD's gives one frame an item.
    """

    def channels(self) -> int:
        field = self.param.video_data_param
        if not field.HasField("source"):
            return super().channels()
        frames = max(field.new_length, 1) * max(field.num_segments, 1)
        colours = 2 if field.modality == type(field).FLOW else super().channels()
        return int(frames * colours)
