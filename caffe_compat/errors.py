"""Every exception that caffe_compat raises on purpose.

    CaffeCompatError                                  the path or the layer is always in the message
      ParseError(ValueError)                          path:line:column and what was expected there
      GraphError(ValueError)                          layer and blob
      UnsupportedLayerError(NotImplementedError)      layer, type, nearest known type
      UnsupportedParameterError(NotImplementedError)  layer, field, value
      ShapeError(ValueError)                          layer, which blob, wanted and found
      WeightsError(ValueError)                        layer, blob index, both shapes and the remedy
      SolverError(ValueError)                         field, value, allowed values
      RankError(ValueError)                           layer, rank, largest possible
      DataError(ValueError)                           source, record, what is wrong
        MissingDataError                              a file, or a package that reads it, is not on this machine
      PluginError(ValueError)                         plugin, what is wrong with it
      WriteError(OSError)                             path, and why the system does not take it
      UserCodeError(RuntimeError)                     layer, class, method, file:line and what the user's code raised

A message is one line that says where, what was found, what was wanted, and the way out. What comes from files stands in
it without control characters, names cut at 200 characters.
"""

from caffe_compat.showing import message


class CaffeCompatError(Exception):
    """Base of all errors below; catch this one to catch them all."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(message(each) if isinstance(each, str) else each for each in args))


class ParseError(CaffeCompatError, ValueError):
    """A file that is not what its format asks for."""


class GraphError(CaffeCompatError, ValueError):
    """Layers whose bottoms, tops or shared parameters do not fit together."""


class UnsupportedLayerError(CaffeCompatError, NotImplementedError):
    """A layer type that caffe_compat does not know."""


class UnsupportedParameterError(CaffeCompatError, NotImplementedError):
    """A known layer with a field or value that caffe_compat does not implement."""


class ShapeError(CaffeCompatError, ValueError):
    """A blob whose shape a layer cannot take."""


class WeightsError(CaffeCompatError, ValueError):
    """Weights that do not fit the layer they are meant for."""


class SolverError(CaffeCompatError, ValueError):
    """A solver field with a missing, unknown or impossible value."""


class PluginError(CaffeCompatError, ValueError):
    """A module that adds layers, regularizers or verbs, and is missing, broken, or at odds with another."""


class RankError(CaffeCompatError, ValueError):
    """A rank outside what a layer allows."""


class DataError(CaffeCompatError, ValueError):
    """A data source that is missing, empty or damaged."""


class MissingDataError(DataError):
    """Data that is not on this machine, or that needs a package which is not: nothing is said of its state."""


class UserCodeError(CaffeCompatError, RuntimeError):
    """A Python layer whose own code raised an exception or wanted to end the program."""


class WriteError(CaffeCompatError, OSError):
    """A file that cannot be written: no space, no permission, no such folder."""
