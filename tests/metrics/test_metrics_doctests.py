"""The examples in the docstrings hold."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name",
    [
        "vectors",
        "ranks",
        "engine",
        "outcomes",
        "retrieval",
        "ordering",
        "intervals",
        "compare",
        "ceiling",
        "prompts",
        "score_ranks",
    ],
)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"bimcvr.metrics.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
