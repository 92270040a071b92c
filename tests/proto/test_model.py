"""A model on disk: the net, its weights, its solver."""

from caffe_compat.proto.model import read_net, read_solver
from tests.conftest import golden


def test_old_net_is_read_as_a_current_one():
    net = read_net(golden("formats", "upgrade_text", "v1_train.in.prototxt"))
    assert [layer.type for layer in net.layer] == [
        "Data", "Data", "Convolution", "ReLU", "InnerProduct", "SoftmaxWithLoss", "Accuracy"
    ]  # fmt: skip
    assert not net.layers


def test_missing_snapshot_prefix_is_the_path_of_the_solver(tmp_path):
    path = tmp_path / "lenet_solver.prototxt"
    path.write_text("solver_type: ADAM")
    solver = read_solver(path)
    assert (solver.type, solver.snapshot_prefix) == ("Adam", str(tmp_path / "lenet_solver"))


def test_snapshot_prefix_that_is_a_folder_gets_the_name_of_the_solver(tmp_path):
    path = tmp_path / "lenet_solver.prototxt"
    path.write_text(f'snapshot_prefix: "{tmp_path}"')
    assert read_solver(path).snapshot_prefix == str(tmp_path / "lenet_solver")
