"""The small problem of the commands' tests, for recipes too, on one thread as its nets are tiny."""

from tests.commands.conftest import problem
from tests.solver.conftest import one_thread

__all__ = ["one_thread", "problem"]
