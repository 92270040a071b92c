"""HardSwish and HSwish against the published formula."""

import pytest
import torch

from tests.layers.single import build


@pytest.mark.parametrize("kind", ["HardSwish", "HSwish"])
def test_hard_swish_is_as_published(kind: str) -> None:
    x = torch.linspace(-5, 5, 41, dtype=torch.float64)
    wanted = [v * min(max(v + 3, 0), 6) / 6 for v in x.tolist()]
    assert build(f'type: "{kind}"', (41,))(x).tolist() == pytest.approx(wanted)
