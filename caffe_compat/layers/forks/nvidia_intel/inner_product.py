"""InnerProduct that rectifies too (mkldnn_inner_product_layer.cpp of intel/caffe)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from caffe_compat.layers.caffe.inner_product import InnerProduct
from caffe_compat.layers.registry import variant


class RectifiedInnerProduct(InnerProduct):
    """Intel's InnerProduct with relu: x where x > 0, else negative_slope * x, of what Caffe's gives."""

    fork_fields = frozenset({"inner_product_param.relu", "inner_product_param.negative_slope"})

    def forward(self, *bottoms: Tensor) -> Tensor:
        return functional.leaky_relu(super().forward(*bottoms), self.param.inner_product_param.negative_slope)


@variant("InnerProduct", "inner_product_param.relu")
def fused_inner_product(param: Any) -> type[InnerProduct] | None:
    return RectifiedInnerProduct if param.inner_product_param.relu else None
