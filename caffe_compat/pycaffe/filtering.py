"""Filter on blobs: its tops have as many items as the selector holds now."""

from __future__ import annotations

from caffe_compat.pycaffe.steps import Step


class FilterStep(Step):
    """As Caffe's: only the very first shapes are those of a selector that keeps everything."""

    def reshape(self) -> None:
        super().reshape()
        selector = self.bottoms[-1]
        kept = int(selector._data.peek(selector._shape).count_nonzero())
        for top in self.tops:
            top._resize((kept, *top._shape[1:]))
