"""The methods that act without a room of their own here: a row each of the table of methods, as `Entry` has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Listed:
    """title, does, source, fields: as in `Entry`."""

    title: str
    does: str
    source: str
    fields: tuple[str, ...]


OTHER_METHODS = (
    Listed(
        "the force",
        "filters of a layer attract one another and need fewer ranks; below 0 they repel one another",
        "the paper; wenwei202/caffe",
        (
            "force_type", "force_decay", "force_iter", "force_decay_type", "force_direction", "force_scaler",
            "param { force_mult }",
        ),
    ),
    Listed(
        "nuclear norm, Hoyer",
        "a penalty on the singular values of the filters",
        "the force's rivals",
        ("spectral_decay", "spectral_decay_type", "param { force_mult }"),
    ),
    Listed(
        "trained rank pruning",
        "filters are truncated to a share of their energy at intervals",
        "the force's rivals",
        ("rank_pruning_interval", "rank_pruning_keep", "param { force_mult }"),
    ),
    Listed(
        "SSL",
        "group lasso on filters, shapes and blocks; `compat` \"scnn\" sets what is small to 0 after every update",
        "wenwei202/caffe, branch scnn, d80a5e1",
        (
            "breadth_decay", "kernel_shape_decay", "block_group_decay", "prune_threshold",
            "param { breadth_decay_mult kernel_shape_decay_mult block_group_lasso }", "connectivity_mode",
        ),
    ),
    Listed(
        "Power of Sparsity",
        "convolutions read a fixed share of their input channels, more of them in stages",
        "arXiv:1702.06257",
        (
            "connection_growth { iteration density }",
            "convolution_param { connection_density connection_seed connection_mask }",
        ),
    ),
)  # fmt: skip
