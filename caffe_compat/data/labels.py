"""The labels of the first records of a source, as they are stored: a look beyond the first batch that stays cheap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

MOST_RECORDS = 10_000
MOST_BYTES = 1 << 28  # of records that are passed over on the way


@dataclass(frozen=True)
class StoredLabels:
    """values: number of a top -> what the first records have for it, (records, ...). seen: how many were looked at.

    records: how many there are, None where nobody has counted them.
    """

    values: Mapping[int, np.ndarray]
    seen: int
    records: int | None

    @property
    def is_all(self) -> bool:
        """Whether every record was looked at."""
        return self.seen == self.records
