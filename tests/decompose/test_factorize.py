"""Factorizations against the fork's own (tests/golden/decompose) and against the laws of linear algebra."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from caffe_compat.decompose.factorize import METHODS, factorize
from caffe_compat.errors import RankError, WeightsError
from tests.conftest import golden, shared

CASES = {case["name"]: case for case in json.loads(golden("decompose", "tensors.json").read_text())}
TENSORS = np.load(golden("decompose", "tensors.npz"))
# README-solver: 2e-5 of max|W|. In this case the fork cuts between the noise values 1.24e-2 and 1.22e-2 under a largest
# of 2.8, and its float32 eig is itself 2.4e-5 from the exact truncation.
LOOSER = {("conv_32x8x3_r5", "pca_What_rank10"): 5e-5}
NOT_UNIQUE = ("conv_exact_spectrum", 0.8)  # the cut falls between two equal eigenvalues


def weight_of(case):
    if "source" not in case:
        return TENSORS[f"{case['name']}/W"]
    file, key = case["source"].split()
    folder = golden("cifar")
    path = folder / file.split("/")[1] if folder.exists() else shared("golden", file)
    return np.load(path)[key]


def stored(kind):
    """Every stored reconstruction: name, method, rank, key."""
    for case in CASES.values():
        if case["kind"] not in kind:
            continue
        for method in ("pca", "svd"):
            for ratio in case.get("ratios", ()):
                if f"{method}_What_ratio{ratio}_rank" in case and (case["name"], ratio) != NOT_UNIQUE:
                    yield case["name"], method, case[f"{method}_What_ratio{ratio}_rank"], f"{method}_What_ratio{ratio}"
            rank = case.get("explicit_rank")
            if f"{case['name']}/{method}_What_rank{rank}" in TENSORS:
                yield case["name"], method, rank, f"{method}_What_rank{rank}"
            for rank in case.get("explicit_ranks", ()):
                yield case["name"], method, rank, f"{method}_What_rank{rank}"


@pytest.mark.parametrize("name, method, rank, key", sorted(set(stored(("conv", "fc", "group")))))
def test_reconstruction_is_the_forks(name, method, rank, key):
    case = CASES[name]
    if f"{name}/{key}" not in TENSORS:
        pytest.skip("not stored")
    weight = weight_of(case)
    made = factorize(weight, rank, method, case.get("group", 1))
    largest = np.abs(weight).max()
    tolerance = LOOSER.get((name, key), 2e-5)
    np.testing.assert_allclose(made.reconstruct(), TENSORS[f"{name}/{key}"], rtol=0, atol=tolerance * largest)
    assert made.reconstruct().shape == weight.shape and made.reconstruct().dtype == weight.dtype


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if f"{name}/eig_values" in TENSORS])
def test_spectrum_is_the_forks_eigenvalues_and_squared_singular_values(name):
    weight = weight_of(CASES[name])
    observations = weight[0].size  # the fork divides X^T X by one less than the rows of X
    spectrum = factorize(weight, 1).spectrum
    wanted = TENSORS[f"{name}/eig_values"].real[: len(spectrum)]
    np.testing.assert_allclose(spectrum / (observations - 1), wanted, rtol=1e-5, atol=1e-6 * wanted[0])
    if f"{name}/singular_values" in TENSORS:
        values = TENSORS[f"{name}/singular_values"]
        np.testing.assert_allclose(np.sqrt(spectrum), values[: len(spectrum)], rtol=1e-5, atol=1e-5 * values[0])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["kind"] == "vh"])
def test_separable_is_the_forks(name):
    case, weight = CASES[name], TENSORS[f"{name}/W"]
    made = factorize(weight, case["K"], "separable", case["group"])
    np.testing.assert_allclose(made.reconstruct(), TENSORS[f"{name}/vh_What"], rtol=0, atol=2e-5 * np.abs(weight).max())
    assert made.basis.shape[2:] == (weight.shape[2], 1)
    assert made.coefficients.shape[2:] == (1, weight.shape[3])


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["kind"] == "kmeans"])
def test_kmeans_finds_the_separated_clusters(name):
    weight = TENSORS[f"{name}/W"]
    made = factorize(weight, CASES[name]["clusters"], "kmeans")
    wanted = TENSORS[f"{name}/kmeans_What"]
    np.testing.assert_allclose(made.reconstruct(), wanted, rtol=0, atol=2e-5 * np.abs(weight).max())
    assert np.isin(made.coefficients, (0, 1)).all() and (made.coefficients.sum(axis=1) == 1).all()


def test_pca_has_orthonormal_coefficients_and_svd_balances_both_sides():
    weight = TENSORS["conv_20x8x3_r6/W"]
    pca, svd = factorize(weight, 4, "pca"), factorize(weight, 4, "svd")
    mixing = pca.coefficients[:, :, 0, 0]
    np.testing.assert_allclose(mixing.T @ mixing, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(svd.basis.reshape(4, -1), axis=1),
        np.linalg.norm(svd.coefficients[:, :, 0, 0], axis=0),
        rtol=1e-5,
    )
    np.testing.assert_allclose(pca.reconstruct(), svd.reconstruct(), atol=1e-6)


def test_signs_do_not_depend_on_the_sign_of_the_weight():
    weight = TENSORS["conv_20x8x3_r6/W"]
    np.testing.assert_array_equal(factorize(weight, 4).coefficients, factorize(-weight, 4).coefficients)


@st.composite
def filter_banks(draw):
    """A bank with height != width: filters, channels a group, kernel, group; float32."""
    group = draw(st.integers(1, 3))
    shape = (
        group * draw(st.integers(1, 7)),
        draw(st.integers(1, 4)),
        *draw(st.sampled_from([(1, 3), (3, 1), (2, 3), (5, 3)])),
    )
    values = draw(arrays(np.float32, shape, elements=st.floats(-2, 2, width=32)))
    return values, group


def largest_rank(weight, group, method):
    filters, channels, height, width = weight.shape
    share = filters // group
    sides = (channels * height, share * width) if method == "separable" else (share, channels * height * width)
    return group * min(sides)


@settings(max_examples=60, deadline=None)
@given(filter_banks(), st.sampled_from(["pca", "svd", "separable"]))
def test_full_rank_reproduces_the_weight(bank, method):
    weight, group = bank
    made = factorize(weight, largest_rank(weight, group, method), method, group)
    np.testing.assert_allclose(made.reconstruct(), weight, atol=2e-6 * max(np.abs(weight).max(), 1e-3) * 10)


@settings(max_examples=60, deadline=None)
@given(filter_banks(), st.sampled_from(["pca", "svd", "separable", "kmeans"]), st.data())
def test_squared_error_is_the_tail_of_the_spectrum(bank, method, data):
    weight, group = bank
    weight = weight.astype(np.float64)
    most = len(weight) if method == "kmeans" else largest_rank(weight, group, method)
    rank = group * data.draw(st.integers(1, most // group))
    made = factorize(weight, rank, method, group)
    error = np.square(weight - made.reconstruct()).sum()
    total = np.square(weight).sum()
    np.testing.assert_allclose(error, made.spectrum[rank:].sum(), rtol=1e-9, atol=1e-11 * total + 1e-300)
    np.testing.assert_allclose(made.spectrum.sum(), total, rtol=1e-9)


@pytest.mark.parametrize("group", [1, 2])
def test_tucker_error_is_the_tail_of_its_spectrum_and_full_rank_is_exact(group):
    weight = np.random.default_rng(3).standard_normal((8, 5, 3, 4))
    made = factorize(weight, (3 * group, 2 * group), "tucker", group)
    error = np.square(weight - made.reconstruct()).sum()
    np.testing.assert_allclose(error, made.spectrum[made.rank :].sum(), rtol=1e-9)
    assert [factor.shape for factor in made.factors] == [
        (3 * group, 5, 1, 1),
        (2 * group, 3, 3, 4),
        (8, 2, 1, 1),
    ]
    whole = factorize(weight, (5 * group, 8), "tucker", group)
    np.testing.assert_allclose(whole.reconstruct(), weight, atol=1e-12)


def test_tucker_recovers_a_bank_of_its_ranks():
    rng = np.random.default_rng(5)
    into, core, out = rng.standard_normal((6, 2)), rng.standard_normal((3, 2, 3, 5)), rng.standard_normal((9, 3))
    weight = np.einsum("no,oihw,ci->nchw", out, core, into)
    np.testing.assert_allclose(factorize(weight, (2, 3), "tucker").reconstruct(), weight, atol=1e-10)


@pytest.mark.parametrize("group", [1, 2])
def test_cp_recovers_a_bank_of_its_rank(group):
    rng = np.random.default_rng(7)
    sides = [rng.standard_normal((size, 2)) for size in (6, 4, 3, 5)]
    part = np.einsum("nr,cr,ir,jr->ncij", *sides)
    weight = np.concatenate([part] * group)
    made = factorize(weight, 2 * group, "cp", group)
    np.testing.assert_allclose(made.reconstruct(), weight, atol=1e-3 * np.abs(weight).max())
    assert [factor.shape for factor in made.factors] == [
        (2 * group, 4, 1, 1),
        (2 * group, 1, 3, 1),
        (2 * group, 1, 1, 5),
        (6 * group, 2, 1, 1),
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(method, rank):
    with pytest.raises(RankError, match=f"rank .*{rank}.* is too small; it must be at least 1"):
        factorize(np.ones((4, 3, 2, 3), np.float32), (rank, 1) if method == "tucker" else rank, method)


@pytest.mark.parametrize(
    "method, rank, largest",
    [("pca", 5, "4"), ("svd", 5, "4"), ("kmeans", 5, "4"), ("separable", 7, "6"), ("tucker", (4, 4), r"\(3, 4\)")],
)
def test_a_rank_above_the_largest_is_refused_with_the_largest(method, rank, largest):
    with pytest.raises(RankError, match=f"the largest possible is {largest}"):
        factorize(np.ones((4, 3, 2, 3), np.float32), rank, method)


def test_values_that_are_not_finite_are_refused():
    weight = np.ones((4, 3), np.float32)
    weight[1, 1] = np.nan
    with pytest.raises(WeightsError, match="not finite"):
        factorize(weight, 2)


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(RankError, match="method is 'pac'; known: pca, svd"):
        factorize(np.ones((4, 3), np.float32), 2, "pac")


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case["kind"] in ("conv", "fc") and "big" not in case]
)
def test_every_rank_is_the_truncated_singular_value_decomposition(name):
    weight = TENSORS[f"{name}/W"].astype(np.float64)
    u, values, vt = np.linalg.svd(weight.reshape(len(weight), -1), full_matrices=False)
    for rank in range(1, len(values)):
        if values[rank - 1] - values[rank] < 1e-6 * values[0]:
            continue  # the truncation is not unique between two equal values
        wanted = (u[:, :rank] * values[:rank]) @ vt[:rank]
        for method in ("pca", "svd"):
            made = factorize(weight, rank, method).reconstruct().reshape(wanted.shape)
            np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-9 * np.abs(weight).max())
