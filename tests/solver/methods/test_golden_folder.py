"""No method of the golden folder is left out: each has a test that runs every one of its cases."""

import pytest

from tests.solver.methods.golden import FOLDER, cases, runner_of

TESTS = {
    "asfp": "tests/solver/methods/test_soft_pruning.py", "channel_sparse": "tests/solver/methods/test_connections.py",
    "eprune": "tests/prune/test_exemplars.py", "greg": "tests/solver/methods/test_growing.py",
    "group_fisher": "tests/solver/methods/test_group_fisher.py",
    "hmhsa": "tests/layers/forks/transcnn/test_hmhsa.py", "implicit_sparsity": "tests/prune/test_sparsity.py",
    "increg": "tests/solver/methods/test_increg.py", "l0_sgl": "tests/solver/methods/test_sparse_group.py",
    "ocnn": "tests/solver/methods/test_orthogonality.py", "orthoreg": "tests/solver/methods/test_orthogonality.py",
    "sfp": "tests/solver/methods/test_soft_pruning.py", "sparsetrain": "tests/solver/methods/test_sparsetrain.py",
    "srfp": "tests/solver/methods/test_soft_pruning.py", "ssl": "tests/solver/methods/test_scnn.py",
}  # fmt: skip


def test_every_method_of_the_folder_has_a_test():
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} <= set(TESTS)


def test_every_case_has_its_arrays():
    for method in (path.name for path in FOLDER.iterdir() if path.is_dir()):
        stored = {path.stem for path in (FOLDER / method).glob("*.npz")}
        assert stored == set(cases(method)), method


def test_a_kind_of_case_that_nobody_runs_fails_by_its_name():
    with pytest.raises(AssertionError, match="no test runs a case of the kind of 'other_1'"):
        runner_of({"known": None}, "other_1")
