"""A result of `evaluate` with every section that it may have, of random vectors."""

from typing import Any

import numpy as np
import torch

from bimcvr.contracts import Gallery, Probes, Prompts
from bimcvr.evaluation.comparison import compare_with_others
from bimcvr.evaluation.embeddings import Embeddings
from bimcvr.evaluation.pools import pooled_retrieval
from bimcvr.evaluation.raw_vs_audited import raw_against_audited
from bimcvr.evaluation.result import Resampling, build_result
from bimcvr.metrics.prompts import prompt_sentences
from bimcvr.metrics.ranking.ranks import DIRECTIONS

SIZE, KS = 60, (1, 5, 10, 50)


def full_result() -> dict[str, Any]:
    """Two runs of a method, beside another one whose vectors are right."""
    names = [f"study-{number}" for number in range(SIZE)]
    findings = [f"finding {number}" for number in range(10)]
    gallery = Gallery(
        rows=np.arange(SIZE),
        study_id=names,
        group=np.arange(SIZE),
        same_text=np.arange(SIZE),
        elsewhere=np.arange(SIZE) % 7 == 0,
        flagged=np.arange(SIZE) % 5 == 0,
        patient=names,
        labels=[frozenset({findings[number % 10], "common"}) for number in range(SIZE)],
        description={},
    )
    gallery.labels[0] = frozenset()
    generator = torch.Generator().manual_seed(0)
    sentences, about, denies = prompt_sentences(sorted(set().union(*gallery.labels)))
    prompts = Prompts(sentences, about, denies, torch.randn(len(sentences), 8, generator=generator))
    probes = Probes(names, ["side"] * SIZE, torch.randn(SIZE, 8, generator=generator))
    runs = [
        Embeddings(names, *torch.randn(2, SIZE, 8, generator=generator), prompts=prompts, probes=probes)
        for _ in range(2)
    ]
    other = Embeddings(names, torch.eye(SIZE), torch.eye(SIZE))
    resampling = Resampling(0, 50)
    result = build_result(runs, gallery, KS, resampling)
    (compared,) = compare_with_others(runs, [([], [other])], gallery, KS, resampling, "report")
    return {
        **result,
        "compared_with": [{**compared, "embeddings": {"other.npz": "0123"}}],
        "audited": raw_against_audited(runs, gallery, KS, resampling),
        "pools": [pooled_retrieval(runs, gallery, 20, resampling)],
        "ceiling": {direction: {"R@1": 77.7, "MdR": 1.0} for direction in DIRECTIONS},
        "about": {
            "synthetic": True,
            "split": "test",
            "split_strategy": "column",
            "manifest_hash": "0123456789abcdef",
            "seed": 0,
            "embeddings": ["seed-0.npz", "seed-1.npz"],
        },
    }
