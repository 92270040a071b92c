"""A solver callback that reports, at each test, how far the force has brought the filters together."""

from __future__ import annotations

import logging

import caffe_compat as cc

log = logging.getLogger(__name__)

KEEP = 0.95  # share of energy: at most 5 % PCA reconstruction error, as the paper measures ranks


class RankReport:
    """Logs the rank of every forced filter bank; its line has no word that a parser of Caffe's logs looks for."""

    def __init__(self, journal: cc.JsonLinesLog) -> None:
        self.journal = journal

    def after_test(self, solver: cc.Solver, results: object) -> None:
        """One line and one JSON object with the rank at 95 % energy of every forced layer, if there is a force."""
        weights = {param.layer: param.tensor.detach().cpu().numpy() for param in solver.forced_params}
        if weights:
            ranks = {layer: cc.rank_by_energy(weight, KEEP) for layer, weight in weights.items()}
            shown = ", ".join(f"{layer} {rank}/{len(weights[layer])}" for layer, rank in ranks.items())
            log.info("    Ranks at %g %% energy: %s", 100 * KEEP, shown)
            self.journal.write(event="ranks", iteration=solver.iteration, keep=KEEP, ranks=ranks)
