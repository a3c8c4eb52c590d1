"""The verb `evaluate`: any model's embeddings in, a result out."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bimcvr.commands.stdout import say, width
from bimcvr.data.splits import Strategy
from bimcvr.errors import UserError
from bimcvr.run_folder import data_of_run

if TYPE_CHECKING:
    from bimcvr.contracts import Gallery
    from bimcvr.evaluation.embeddings import Embeddings


def evaluate(
    embeddings: str,
    manifest: Path | None = None,
    split: Literal["train", "val", "test", "all"] = "test",
    out: Path | None = None,
    html: Path | None = None,
    compare: Sequence[str] | str = (),
    audited: bool = False,
    text_embeddings: Path | None = None,
    study_ids: Path | None = None,
    root: Path | None = None,
    strategy: Strategy | None = None,
    split_seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
    ks: Sequence[int] | None = None,
    right_answers: Literal["report", "diagonal"] = "report",
    gallery: Literal["all", "one_per_patient", "one_per_report"] = "all",
    pools: Sequence[int] = (),
    judgements: Path | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    allow_trained_rows: bool = False,
) -> int:
    """Score embeddings of any model: exact ranks in both directions, intervals over patients, keywords, probes.

    The same function scores `test`. Studies of the split without an embedding are an error, further ones are ignored
    with a count. Several runs (seeds) of a method are given as files with commas between: a query's outcome is then
    its mean over them, and their standard deviation is reported as well.

    Args:
        embeddings: the embeddings of a model, an .npz file (study_id, image, text; optionally prompts and probes), or
            several with commas between; or one .npy array (N, E) of the volumes, with `text_embeddings` and `study_ids`
            beside it.
        manifest: the manifest, a CSV file; it names reports, patients and labels. By default the manifest.csv beside
            the embeddings, as a run's folder has it.
        split: the split whose rows are used.
        out: where the result is written: a JSON file; none by default.
        html: also write the result as an HTML page to this file; it shows reports and slices of volumes.
        compare: compare with another method, given as `embeddings`, or with several, as a YAML list ('[b.npz, c.npz]'):
            differences with intervals and p-values.
        audited: also score the rows without flags, and the whole split cut to their number; and the noise ceiling.
        text_embeddings: an .npy array (N, E) of the reports, where `embeddings` is one of the volumes.
        study_ids: the list of the studies of both arrays (.csv with study_id, .txt or .npy).
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default, and that of
            the training for a run's manifest.csv. Only the HTML page needs it.
        strategy: how the manifest is divided; its `split` column by default, and patient_hash for rows without a split.
        split_seed: the seed of the division: of the permutation of `exact`, of the salt of `patient_hash`.
        fractions: the wanted shares of train, val and test.
        ks: the values of K in R@K, from 1; one above the gallery is refused. 1, 5, 10, 50 and 100 by default, as far
            as they fit.
        right_answers: which rows are right answers: all rows of the query's report (report), or the query's own row
            alone (diagonal, as in many papers).
        gallery: which rows of the split are scored, as queries and as gallery: all, the first of each patient
            (one_per_patient), or the first of each report, without its duplicates (one_per_report).
        pools: also score within pools of so many studies, as several papers do ('[32, 64, 128]'): 100 random divisions
            of the rows.
        judgements: also score by people's judgements: P@K and nDCG@K of the judged studies; a CSV file that the search
            page wrote (judgements.csv in the index), or of its columns mode, query, study_id and relevant.
        resamples: bootstrap resamples, and rounds of the randomisation tests.
        seed: the seed of random numbers, here of both.
        allow_trained_rows: evaluate rows that the model was trained on; the result then says how many there are. They
            are refused otherwise, unless `split` is train.
    """
    from bimcvr.atomic_files import require_writable, write_json
    from bimcvr.curation.labels.manifest_labels import describe_made, with_labels
    from bimcvr.data.judgements import read_judgements
    from bimcvr.data.manifest import read_manifest
    from bimcvr.evaluation.comparison import compare_with_others
    from bimcvr.evaluation.inputs import (
        check_same_reports,
        check_same_texts,
        check_unseen,
        file_hashes,
        gallery_of_split,
        grid_facts,
        grid_notes,
        made_by,
    )
    from bimcvr.evaluation.judged.score import format_judgements, score_judgements
    from bimcvr.evaluation.pools import pooled_retrieval
    from bimcvr.evaluation.raw_vs_audited import raw_against_audited
    from bimcvr.evaluation.result import Resampling, build_result
    from bimcvr.evaluation.text_table import format_result
    from bimcvr.metrics.per_query import RECALL_AT
    from bimcvr.phantom.oracle import phantom_ceiling
    from bimcvr.provenance import git_commit, peak_memory_mb, versions

    began = time.perf_counter()
    manifest = manifest or _manifest_beside(_files(embeddings)[0])
    if resamples < 1 or min(ks or [1]) < 1:
        raise UserError(f"--resamples {resamples} and --ks {list(ks or RECALL_AT)}: both count from 1.")
    table = with_labels(read_manifest(manifest, root or data_of_run(manifest)[0]))
    for option, path in (("--out", out), ("--html", html)):
        if path is not None:
            require_writable(path.parent, option)
    scored = gallery_of_split(table, split, strategy, split_seed, fractions, ks or [], gallery)
    files, recall_at, resampling = _files(embeddings), ks or RECALL_AT, Resampling(seed, resamples)
    runs = _load(files, scored, text_embeddings, study_ids)
    check_same_texts(runs, files, scored)
    check_same_reports(runs, files, table, scored)
    seen = check_unseen(runs, table, scored, allow_trained_rows or split == "train")
    judged = read_judgements(judgements) if judgements is not None else None
    pooled = [pooled_retrieval(runs, scored, size, resampling, right_answers) for size in pools]
    result = build_result(runs, scored, recall_at, resampling, right_answers)
    others = [_files(other) for other in ([compare] if isinstance(compare, str) and compare else compare)]
    loaded = [(names, _load(names, scored)) for names in others]
    result["notes"] += grid_notes([(files, runs), *loaded])
    if loaded:
        for names, other_runs in loaded:
            check_same_reports(other_runs, names, table, scored)
            check_unseen(other_runs, table, scored, allow_trained_rows or split == "train")
        result["compared_with"] = compare_with_others(runs, loaded, scored, recall_at, resampling, right_answers)
    if audited:
        result["audited"] = raw_against_audited(runs, scored, recall_at, resampling, right_answers)
    if pools:
        result["pools"] = pooled
    if judged is not None:
        result["judgements"] = score_judgements(runs, scored, judged)
    inputs = [*files, *(str(path) for path in (text_embeddings, study_ids) if path is not None)]
    result["about"] = {
        **scored.description,
        **grid_facts(runs),
        **seen,
        "embeddings": file_hashes(inputs),
        **made_by(runs),
        "seed": seed,
        "git_commit": git_commit(),
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 2),
        "peak_memory_mb": peak_memory_mb(),
    }
    # the oracle's right answers are all rows of a report
    if right_answers == "report" and (ceiling := phantom_ceiling(table, scored.rows)):
        result["ceiling"] = ceiling
    if out is not None:
        write_json(out, result)
    say(format_result(result, width()))
    if made := describe_made(table):
        say(f"\n{made}")
    if judged is not None:
        say(format_judgements(result["judgements"]))
    if out is not None:
        say(f"\nresult: {out}")
    if html is not None:
        from bimcvr.evaluation.html_page import write_page

        beside = {", ".join(Path(name).name for name in names): other_runs[0] for names, other_runs in loaded}
        if len(beside) < len(loaded):  # files of one name in several folders
            beside = {", ".join(names): other_runs[0] for names, other_runs in loaded}
        write_page(html, result, runs[0], scored, table, resampling, beside)
        say(f"page: {html}")
    return 0


def _manifest_beside(file: str) -> Path:
    """Return the manifest in the folder of a file of embeddings.

    Raises:
        UserError: there is none.
    """
    manifest = Path(file).parent / "manifest.csv"
    if not manifest.is_file():
        raise UserError(
            "evaluate needs --manifest: the CSV file that names the studies' reports, patients and labels. There is no"
            f" {manifest} beside the embeddings."
        )
    return manifest


def _load(
    files: list[str], gallery: "Gallery", text: Path | None = None, ids: Path | None = None
) -> "list[Embeddings]":
    from bimcvr.evaluation.inputs import load_runs

    runs, ignored = load_runs(files, gallery, text, ids)
    for file, count in ignored.items():
        say(f"{file}: {count} studies are not among the scored rows of the split '{gallery.description['split']}'.")
    return runs


def _files(names: str) -> list[str]:
    """Return the files that an option names with commas between; one whose own name has commas stays whole."""
    return [names] if Path(names).is_file() else names.split(",")
