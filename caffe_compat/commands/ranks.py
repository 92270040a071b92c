"""A solver callback that reports, at each test, how far the force has brought the filters together."""

from __future__ import annotations

import logging

import caffe_compat as cc

log = logging.getLogger(__name__)

KEEP = 0.95  # share of energy: at most 5 % PCA reconstruction error, as the paper measures ranks


class RankReport:
    """Logs the rank of every forced filter bank; its line has no word that a parser of Caffe's logs looks for.

    The JSON log gets, in the same event, the norm of the force on each bank (before force_decay and force_mult) and the
    angles between its filters; and, with or without a force, the L2 norm of every bank of weights and, of those with
    zeros, the shares of zeros, which also get a line.
    """

    def __init__(self, journal: cc.JsonLinesLog) -> None:
        self.journal = journal

    def after_test(self, solver: cc.Solver, results: object) -> None:
        """One line and one JSON object about every forced layer, if there is a force; one JSON object about all."""
        import torch

        banks = {param.layer: param.tensor for param in solver.net.learnable_params if param.tensor.dim() >= 2}
        norms = {layer: float(torch.linalg.vector_norm(bank.detach())) for layer, bank in banks.items()}
        zeros = {layer: shares for layer, bank in banks.items() if (shares := cc.zero_shares(bank))["elements"]}
        self.journal.write(event="weights", iteration=solver.iteration, norms=norms, zeros=zeros)
        for layer, shares in zeros.items():
            log.info(
                "    Zeros of %s: %s", layer, ", ".join(f"{100 * x:.1f} % of {kind}" for kind, x in shares.items())
            )
        weights = {param.layer: param.tensor.detach() for param in solver.forced_params}
        if weights:
            ranks = {layer: cc.rank_by_energy(weight.cpu().numpy(), KEEP) for layer, weight in weights.items()}
            shown = ", ".join(f"{layer} {rank}/{len(weights[layer])}" for layer, rank in ranks.items())
            log.info("    Ranks at %g %% energy: %s", 100 * KEEP, shown)
            kind = solver.config.force.force_type
            self.journal.write(
                event="ranks",
                iteration=solver.iteration,
                keep=KEEP,
                ranks=ranks,
                force_norms={
                    layer: float(torch.linalg.vector_norm(cc.force_gradient(weight, kind)))
                    for layer, weight in weights.items()
                },
                angles={layer: cc.filter_angles(weight) for layer, weight in weights.items()},
            )
