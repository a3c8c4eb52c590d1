"""The verb `evaluate`: any model's embeddings in, a result out."""

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bimcvr.data.splits import Strategy
from bimcvr.errors import UserError

if TYPE_CHECKING:
    from bimcvr.contracts import Gallery
    from bimcvr.data.manifest import Manifest
    from bimcvr.evaluation.embeddings import Embeddings
    from bimcvr.evaluation.result import Draws


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
    resamples: int = 10_000,
    seed: int = 0,
) -> int:
    """Score embeddings of any model: exact ranks in both directions, intervals over patients, keywords, probes.

    The same function scores `test`. Studies of the split without an embedding are an error, further ones are ignored
    with a count. Several runs (seeds) of a method are given as files with commas between: a query's outcome is then
    its mean over them, and their standard deviation stands apart.

    Args:
        embeddings: the embeddings of a model, an .npz file (study_id, image, text; optionally prompts and probes), or
            several with commas between; or one .npy array (N, E) of the volumes, with `text_embeddings` and `study_ids`
            beside it.
        manifest: the manifest, a CSV file; it names reports, patients and labels.
        split: the split whose rows are used.
        out: where the result is written: a JSON file; none by default.
        html: also write the result as an HTML page to this file; it shows reports and slices of volumes.
        compare: compare with another method, given as `embeddings`, or with several, as a YAML list ('[b.npz, c.npz]'):
            differences with intervals and p-values.
        audited: also score the rows without flags, and the whole split cut to their number; and the noise ceiling.
        text_embeddings: an .npy array (N, E) of the reports, where `embeddings` is one of the volumes.
        study_ids: the list of the studies of both arrays (.csv with study_id, .txt or .npy).
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default. Only the
            HTML page needs it.
        strategy: how the manifest is divided; its `split` column by default, and patient_hash for rows without a split.
        split_seed: the seed of the division: of the permutation of `exact`, of the salt of `patient_hash`.
        fractions: the wanted shares of train, val and test.
        ks: the values of K in R@K, from 1; one above the gallery is refused. 1, 5, 10, 50 and 100 by default, as far
            as they fit.
        right_answers: which rows are right answers: all rows of the query's report (report), or the query's own row
            alone (diagonal, as in many papers).
        resamples: bootstrap resamples, and rounds of the randomisation tests.
        seed: the seed of random numbers, here of both.
    """
    from bimcvr.atomic_files import write_json
    from bimcvr.data.manifest import read_manifest
    from bimcvr.evaluation.result import Draws, build_result
    from bimcvr.evaluation.text_table import format_result
    from bimcvr.metrics.per_query import RECALL_AT
    from bimcvr.phantom.oracle import phantom_ceiling

    began = time.perf_counter()
    if manifest is None:
        raise UserError("evaluate needs --manifest: the CSV file that names the studies' reports, patients and labels.")
    if resamples < 1 or min(ks or [1]) < 1:
        raise UserError(f"--resamples {resamples} and --ks {list(ks or RECALL_AT)}: both count from 1.")
    table = read_manifest(manifest, root)
    gallery = _gallery(table, split, strategy, split_seed, fractions, ks or [])
    names = embeddings.split(",")
    runs = _runs(names, gallery, text_embeddings, study_ids)
    _check_same_texts(runs, names, gallery)
    draws = Draws(seed, resamples)
    result = build_result(runs, gallery, ks or RECALL_AT, draws, right_answers)
    if compare:
        others = [compare] if isinstance(compare, str) else compare
        result["compared_with"] = _compared(runs, others, gallery, ks or RECALL_AT, draws, right_answers)
    if audited:
        from bimcvr.evaluation.raw_vs_audited import raw_against_audited

        result["audited"] = raw_against_audited(runs, gallery, ks or RECALL_AT, draws, right_answers)
    result["about"] = {
        **gallery.description,
        **_facts([*names, *(str(path) for path in (text_embeddings, study_ids) if path is not None)], seed, began),
    }
    # the oracle's right answers are all rows of a report
    if right_answers == "report" and (ceiling := phantom_ceiling(table, gallery.rows)):
        result["ceiling"] = ceiling
    if out is not None:
        write_json(out, result)
    print(format_result(result))
    if out is not None:
        print(f"\nresult: {out}")
    if html is not None:
        from bimcvr.evaluation.html_page import write_page

        write_page(html, result, runs[0], gallery, table, draws)
        print(f"page: {html}")
    return 0


def _gallery(
    table: "Manifest",
    split: str,
    strategy: Strategy | None,
    seed: int,
    fractions: tuple[float, float, float],
    ks: Sequence[int],
) -> "Gallery":
    from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows

    gallery = evaluation_gallery(table, *split_rows(table, split, strategy, seed, fractions), split)
    size = len(gallery.rows)
    if not size:
        raise UserError(
            f"{table.path} has no row to score: every status is something else than `ok` or empty. Accept rows in its "
            "column `status`."
        )
    if max(ks, default=1) > size:
        raise UserError(f"R@{max(ks)} has no meaning in a gallery of {size}: leave that K out.")
    return gallery


def _runs(
    names: list[str], gallery: "Gallery", text: Path | None = None, ids: Path | None = None
) -> "list[Embeddings]":
    if len(names) > 1 and any(name.endswith(".npy") for name in names):
        raise UserError(
            f"{', '.join(names)}: several runs cannot share one --text_embeddings and --study_ids. Make an"
            " .npz file of each: numpy.savez('run1.npz', study_id=…, image=…, text=…)."
        )
    return [_aligned(_load(name, text, ids), gallery, name) for name in names]


def _check_same_texts(runs: "list[Embeddings]", names: list[str], gallery: "Gallery") -> None:
    """Refuse runs whose prompts or probes are of different texts: a mean over them would mean nothing."""
    here = set(gallery.study_id)
    asked = {
        name: Counter(
            {f"'{label}'{' denied' if denies else ''}" for label, denies in zip(of.label, of.denies, strict=True)}
        )
        for name, run in zip(names, runs, strict=True)
        if (of := run.prompts)
    }
    changed = {
        name: Counter(
            f"'{kind}' of {study}" for kind, study in zip(probe.kind, probe.study_id, strict=True) if study in here
        )
        for name, run in zip(names, runs, strict=True)
        if (probe := run.probes)
    }
    for what, texts in (("prompts", asked), ("probes", changed)):
        for (first, one), (name, other) in itertools.pairwise(texts.items()):
            odd = sorted([*(one - other), *(other - one)])
            if odd:
                raise UserError(
                    f"{first} and {name} hold different {what}: {'; '.join(odd[:3] + ['…'] * (len(odd) > 3))} not in"
                    " both. Embed the same texts in every run, or score the runs apart."
                )


def _load(name: str, text: Path | None = None, ids: Path | None = None) -> "Embeddings":
    from bimcvr.evaluation.embeddings import load_arrays, load_embeddings

    arrays = name.endswith(".npy")
    if arrays != (text is not None) or arrays != (ids is not None):
        raise UserError(
            "An .npy array of volumes needs --text_embeddings (an .npy array of reports) and --study_ids (the"
            " list of their studies) beside it; an .npz file holds all three and needs neither."
        )
    return load_arrays(Path(name), text, ids) if text is not None and ids is not None else load_embeddings(Path(name))


def _aligned(embeddings: "Embeddings", gallery: "Gallery", name: str) -> "Embeddings":
    """Return the gallery's rows of some embeddings, in its order; what lacks is an error, what is over is counted."""
    place = {study: row for row, study in enumerate(embeddings.study_id)}
    missing = [study for study in gallery.study_id if study not in place]
    if missing:
        named = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise UserError(
            f"{name} has no embedding of {len(missing)} of the {len(gallery.study_id)} studies of the split: {named}."
            " Figures over a part would not be comparable: embed them, or set them aside in the manifest (status"
            " `rejected`)."
        )
    extra = len(place) - len(gallery.study_id)
    if extra:
        print(f"{name}: {extra} studies are not in the split '{gallery.description['split']}' and are ignored.")
    return embeddings.only([place[study] for study in gallery.study_id])


def _compared(
    runs: "list[Embeddings]", others: Sequence[str], gallery: "Gallery", ks: Sequence[int], draws: "Draws", right: str
) -> list[dict[str, Any]]:
    from bimcvr.evaluation.result import mean_outcomes
    from bimcvr.metrics.per_query import summary
    from bimcvr.metrics.ranks import WAYS
    from bimcvr.metrics.significance import compare, holm

    mine = mean_outcomes(runs, gallery, ks, right)
    rows: list[dict[str, Any]] = []
    for files in others:
        names = files.split(",")
        mean = mean_outcomes(_runs(names, gallery), gallery, ks, right)
        rows.append(
            {
                "embeddings": _hashes(names),
                "metrics": {way: summary(mean[way]) for way in WAYS},
                "differences": {
                    way: compare(mine[way], mean[way], gallery.patient, draws.seed, draws.resamples) for way in WAYS
                },
            }
        )
    for way in WAYS if len(rows) > 1 else ():
        for figure in rows[0]["differences"][way]:
            corrected = holm({str(i): row["differences"][way][figure]["p"] for i, row in enumerate(rows)})
            for i, row in enumerate(rows):
                row["differences"][way][figure]["p_holm"] = corrected[str(i)]
    return rows


def _facts(names: list[str], seed: int, began: float) -> dict[str, Any]:
    from bimcvr.provenance import git_commit, peak_memory_mb, versions

    return {
        "embeddings": _hashes(names),
        "seed": seed,
        "git_commit": git_commit(),
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 2),
        "peak_memory_mb": peak_memory_mb(),
    }


def _hashes(names: list[str]) -> dict[str, str]:
    from bimcvr.atomic_files import sha256_of

    return {name: sha256_of(Path(name)) for name in names}
