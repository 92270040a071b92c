"""Other forms of layers, each equal to what it stands for, in words that more runtimes take.

fields      the same layer, spelled otherwise
filters     filter banks and pooling with other windows
elements    several layers that work value by value
operands    what multiplies or adds along some axes
types       types that a runtime does not know, as layers of Caffe's own
"""

from caffe_compat.export.runtimes.forms import elements, fields, filters, operands, types

__all__ = ["elements", "fields", "filters", "operands", "types"]
