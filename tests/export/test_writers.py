"""A table of writers has each function under every type that it registers for."""

from caffe_compat.export.writers import Writers


def test_a_function_writes_every_type_that_it_registers_for():
    written, writers = [], Writers()

    @writers.of("ReLU", "PReLU")
    def rectified(call):
        written.append(call)

    writers["PReLU"]("a layer")
    assert list(writers) == ["ReLU", "PReLU"] and written == ["a layer"]
    assert writers["ReLU"] is rectified
