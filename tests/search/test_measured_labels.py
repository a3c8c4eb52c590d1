"""How well the model finds each label: measured by `index`, and said before the first hit."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from bimcvr.search.index.reader import Index
from bimcvr.search.index.writer import IndexWriter
from bimcvr.search.ingest.measure_labels import measure_labels
from bimcvr.search.output.terminal import format_results
from bimcvr.search.query.measured import LABELS
from bimcvr.search.query.searcher import Searcher
from bimcvr.search.server.service import SearchService
from helpers.index_factory import DIM, WordEncoder, make_index, prompts, study

COUNT = 80


def made(folder: Path, unseen: Sequence[str] | None) -> Path:
    """An index whose vectors show effusions, and show nothing of nodules."""
    wanted = prompts().affirming("pleural effusion").numpy().mean(0)
    studies = []
    for number in range(COUNT):
        record = study(f"s{number}")
        seen = wanted if record.labels == ("pleural effusion",) else np.zeros(DIM)
        studies.append(replace(record, image=(record.image + 6 * seen).astype(np.float32)))
    make_index(folder, studies)
    with Index.open(folder) as index:
        figures = measure_labels(index, index.prompts, unseen)
    with IndexWriter(folder, DIM) as writer:
        writer.finish({}, {LABELS: figures}, prompts())
    return folder


def test_only_what_was_held_out_is_measured(tmp_path: Path) -> None:
    unseen = [f"s{number}" for number in range(40)]
    with Index.open(made(tmp_path / "index", unseen)) as index:
        figures = index.commit.calibration[LABELS]
        assert {(each["studies"], each["positive"], each["held_out"]) for each in figures.values()} == {(40, 10, True)}
        assert measure_labels(index, index.prompts, []) == {}
        assert measure_labels(index, index.prompts, None)["nodule"]["held_out"] is False


def test_a_finding_no_better_than_chance_is_said_before_the_first_hit(tmp_path: Path) -> None:
    folder = made(tmp_path / "index", None)
    with Index.open(folder) as index:
        searcher = Searcher(index, WordEncoder())
        doubtful, good = searcher.text("nodule"), searcher.text("pleural effusion")
        assert "not been shown to find nodule better than chance" in doubtful.notes[0]
        assert good.measured is not None
        assert good.measured.better_than_chance
        assert not any("chance" in note for note in good.notes)
        assert searcher.text("nodule", into="report").measured is None
        for results, words in ((doubtful, "better than chance"), (good, "times as well as chance")):
            printed = StringIO()
            Console(width=500, file=printed).print(format_results(results))
            assert printed.getvalue().index(words) < printed.getvalue().index(results.hits[0].study_id)
        assert doubtful.as_json()["measured"]["studies"] == COUNT
    service = SearchService(folder, WordEncoder(), anonymous=False)  # type: ignore[arg-type]
    verdicts = {label.value: label.better_than_chance for label in service.snapshot().facts(1).keywords}
    assert (verdicts["pleural effusion"], verdicts["nodule"]) == (True, False)
    service.close()
