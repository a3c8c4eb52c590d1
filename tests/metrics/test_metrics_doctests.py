"""The examples in the docstrings hold."""

import doctest
import importlib

import pytest

MODULES = [
    "bootstrap",
    "noise_ceiling",
    "per_query",
    "prompts",
    "ranking.rank_engine",
    "ranking.ranks",
    "retrieval_metric",
    "significance",
    "ranking.tie_blocks",
    "ranking.unit_vectors",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"bimcvr.metrics.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
