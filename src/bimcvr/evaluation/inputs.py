"""What an evaluation needs: the gallery of a split, and the embeddings of its studies from one or several files."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bimcvr.atomic_files import sha256_of
from bimcvr.contracts import Gallery
from bimcvr.data.evaluation_rows import evaluation_gallery, split_rows
from bimcvr.data.manifest import Manifest
from bimcvr.data.splits import Fractions, Strategy
from bimcvr.data.trained_rows import describe_seen, refuse_seen, report_hashes
from bimcvr.errors import UserError
from bimcvr.evaluation.embeddings import Embeddings, load_arrays, load_embeddings
from bimcvr.evaluation.galleries import GalleryChoice, chosen_gallery


class LoadedRuns(NamedTuple):
    """The runs of one method.

    Attributes:
        runs: The embeddings of each file, with the gallery's rows in its order.
        ignored: By file, how many of its studies are not scored.
    """

    runs: list[Embeddings]
    ignored: dict[str, int]


def gallery_of_split(
    manifest: Manifest,
    split: str,
    strategy: Strategy | None,
    seed: int,
    fractions: Fractions,
    ks: Sequence[int],
    choice: GalleryChoice = "all",
) -> Gallery:
    """Return the rows to score.

    Args:
        manifest: The dataset.
        split: train, val, test or all.
        strategy: How the manifest is divided; its `split` column by default.
        seed: Of the division.
        fractions: The wanted shares of train, val and test.
        ks: The K of R@K that the user asked for.
        choice: Which of the split's rows.

    Raises:
        UserError: There is no row to score, or a K exceeds the gallery.
    """
    rows, assignment = split_rows(manifest, split, strategy, seed, fractions)
    gallery = chosen_gallery(evaluation_gallery(manifest, rows, assignment, split), choice)
    size = len(gallery.rows)
    if not size:
        raise UserError(
            f"{manifest.path} has no row to score: every status is something else than `ok` or empty. Accept rows in"
            " its column `status`."
        )
    if max(ks, default=1) > size:
        raise UserError(f"R@{max(ks)} has no meaning in a gallery of {size}: leave that K out.")
    return gallery


def load_runs(files: Sequence[str], gallery: Gallery, text: Path | None = None, ids: Path | None = None) -> LoadedRuns:
    """Load the embeddings of one method from one or several files, aligned with the gallery.

    Args:
        files: `.npz` files, one for each run; or one `.npy` array (N, E) of the volumes.
        gallery: The rows to score.
        text: An `.npy` array (N, E) of the reports, only beside an `.npy` array of volumes.
        ids: The list of their studies, only beside an `.npy` array of volumes.

    Raises:
        UserError: A file cannot be read, or a study of the split has no embedding.
    """
    if len(files) > 1 and any(file.endswith(".npy") for file in files):
        raise UserError(
            f"{', '.join(files)}: several runs cannot share one --text_embeddings and --study_ids. Make an .npz file of"
            " each: numpy.savez('run1.npz', study_id=…, image=…, text=…)."
        )
    loaded = {file: _load(file, text, ids) for file in files}
    runs = [_aligned(embeddings, gallery, file) for file, embeddings in loaded.items()]
    extra = {file: len(embeddings.study_id) - len(gallery.study_id) for file, embeddings in loaded.items()}
    return LoadedRuns(runs, {file: count for file, count in extra.items() if count})


def check_same_texts(runs: Sequence[Embeddings], files: Sequence[str], gallery: Gallery) -> None:
    """Refuse runs whose prompts or probes are of different texts: a mean over them would be meaningless.

    Args:
        runs: The embeddings of one method in several runs.
        files: Their names.
        gallery: The rows to score; probes of other studies do not matter.

    Raises:
        UserError: Two runs hold different texts.
    """
    in_split = set(gallery.study_id)
    prompts = {
        file: Counter(
            {
                f"'{label}'{' denied' if denies else ''}"
                for label, denies in zip(run.prompts.label, run.prompts.denies, strict=True)
            }
        )
        for file, run in zip(files, runs, strict=True)
        if run.prompts
    }
    probes = {
        file: Counter(
            f"'{kind}' of {study}"
            for kind, study in zip(run.probes.kind, run.probes.study_id, strict=True)
            if study in in_split
        )
        for file, run in zip(files, runs, strict=True)
        if run.probes
    }
    for what, texts in (("prompts", prompts), ("probes", probes)):
        for (first, texts_of_first), (second, texts_of_second) in itertools.pairwise(texts.items()):
            odd = sorted([*(texts_of_first - texts_of_second), *(texts_of_second - texts_of_first)])
            if odd:
                raise UserError(
                    f"{first} and {second} hold different {what}: {'; '.join(odd[:3] + ['…'] * (len(odd) > 3))} not in"
                    " both. Embed the same texts in every run, or score the runs apart."
                )


def check_unseen(
    runs: Sequence[Embeddings], manifest: Manifest, gallery: Gallery, allowed: bool
) -> dict[str, int | dict[str, int]]:
    """Refuse rows that the embeddings' models were trained on, as far as their files tell.

    Args:
        runs: The embeddings of one method, with the gallery's rows in its order.
        manifest: The dataset.
        gallery: The rows to score.
        allowed: Score them all the same.

    Returns:
        What a result has to state, nothing where there is nothing: `trained_on`, how many rows were trained on and how
        many more are of patients that were trained on; `namesakes`, how many only have the names of such rows.

    Raises:
        UserError: There are such rows, and they are not allowed.
    """
    seen = np.zeros(len(gallery.rows), dtype=np.uint8)
    for run in runs:
        if run.trained is not None and run.seen is not None:
            seen = np.maximum(seen, np.maximum(run.seen, run.trained.seen(manifest, gallery.rows, {})))
    if not allowed:
        refuse_seen(
            seen,
            gallery.study_id,
            f"The split '{gallery.description['split']}' of {manifest.path} is not the one of the model's training",
            "Choose the split of its run (the run's manifest.csv has it), or add --allow_trained_rows, and the result"
            " will say so.",
        )
    namesakes = max(
        (run.trained.namesakes(manifest, gallery.rows, seen) for run in runs if run.trained is not None), default=0
    )
    return {
        **({"trained_on": describe_seen(seen)} if seen.any() else {}),
        **({"namesakes": namesakes} if namesakes else {}),
    }


def check_same_reports(runs: Sequence[Embeddings], files: Sequence[str], manifest: Manifest, gallery: Gallery) -> None:
    """Refuse embeddings of other reports than the manifest's: another version of the cohort, or another gallery.

    Args:
        runs: The embeddings of one method, with the gallery's rows in its order.
        files: Their names.
        manifest: The dataset.
        gallery: The rows to score.

    Raises:
        UserError: A study's report is not the one that was embedded, as far as the files tell.
    """
    reports = manifest.column("report")
    wanted = report_hashes(reports[row] for row in gallery.rows)
    for run, file in zip(runs, files, strict=True):
        other = [] if run.reports is None else np.flatnonzero(run.reports != wanted).tolist()
        if other:
            names = ", ".join([gallery.study_id[row] for row in other[:3]] + ["…"] * (len(other) > 3))
            raise UserError(
                f"{file} was made from other reports than {manifest.path} has: those of {len(other)} of"
                f" {len(wanted)} studies differ ({names}). Embed this manifest, or score with the embedded one."
            )


def made_by(runs: Sequence[Embeddings]) -> dict[str, str]:
    """Return the encoders that made the embeddings of a method, as far as its files agree and tell."""
    told = [run.provenance or {} for run in runs]
    return {
        name: told[0][name]
        for name in ("volume_encoder", "text_encoder")
        if isinstance(told[0].get(name), str) and all(one.get(name) == told[0][name] for one in told)
    }


def grid_facts(runs: Sequence[Embeddings]) -> dict[str, Any]:
    """Return what a result states of the grid of a method's volumes; nothing where its files do not agree, or know.

    Args:
        runs: The embeddings of one method.
    """
    grids = {run.grid for run in runs}
    grid = grids.pop() if len(grids) == 1 else None
    return grid.facts() if grid else {}


def grid_notes(methods: Sequence[tuple[Sequence[str], Sequence[Embeddings]]]) -> list[str]:
    """Return a note where runs or methods saw the volumes on different grids, as far as their files tell.

    Args:
        methods: Of each method the names of its files and its embeddings.
    """
    files: dict[str, list[str]] = {}
    for names, runs in methods:
        for name, run in zip(names, runs, strict=True):
            if run.grid is not None:
                files.setdefault(str(run.grid), []).append(name)
    if len(files) < 2:
        return []
    listed = "; ".join(f"{grid}: {', '.join(names)}" for grid, names in files.items())
    return [f"the volumes were seen on different grids, so a difference is also one of the grids ({listed})"]


def file_hashes(files: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each file, by its name."""
    return {file: sha256_of(Path(file)) for file in files}


def _load(file: str, text: Path | None, ids: Path | None) -> Embeddings:
    arrays = file.endswith(".npy")
    if arrays != (text is not None) or arrays != (ids is not None):
        raise UserError(
            "An .npy array of volumes needs --text_embeddings (an .npy array of reports) and --study_ids (the list"
            " of their studies) beside it; an .npz file holds all three and needs neither."
        )
    return load_arrays(Path(file), text, ids) if text is not None and ids is not None else load_embeddings(Path(file))


def _aligned(embeddings: Embeddings, gallery: Gallery, file: str) -> Embeddings:
    """Return the gallery's rows of a file's embeddings, in the gallery's order."""
    position = {study: row for row, study in enumerate(embeddings.study_id)}
    missing = [study for study in gallery.study_id if study not in position]
    if missing:
        names = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise UserError(
            f"{file} has no embedding of {len(missing)} of the {len(gallery.study_id)} studies of the split: {names}."
            " Metrics over a part would not be comparable: embed them, or set them aside in the manifest (status"
            f" `rejected`).{_embedded_split(Path(file), gallery, len(missing))}"
        )
    return embeddings.only([position[study] for study in gallery.study_id])


def _embedded_split(file: Path, gallery: Gallery, missing: int) -> str:
    """Return a sentence on where the split of a file's studies is, as far as that is known."""
    beside, scored = file.parent / "manifest.csv", gallery.description.get("manifest")
    if beside.is_file() and Path(str(scored)).absolute() != beside.absolute():
        return f" The split that was embedded is in {beside}: leave --manifest out to score it."
    if missing == len(gallery.study_id):
        return f" They are of another split than '{gallery.description.get('split')}': choose theirs with --split."
    return ""
