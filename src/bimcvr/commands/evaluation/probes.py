"""The verb `probes`: the sentences and changed reports that a model has to embed to be scored in full."""

from pathlib import Path
from typing import Literal

from bimcvr.commands.stdout import say
from bimcvr.data.splits import Strategy


def probes(
    manifest: Path,
    out: Path = Path("probes.csv"),
    split: Literal["train", "val", "test", "all"] = "test",
    strategy: Strategy | None = None,
    split_seed: int = 0,
    fractions: tuple[float, float, float] = (0.7, 0.1, 0.2),
) -> int:
    """Write the texts behind the figures that need more than volumes and reports, as CSV, for a model of your own.

    Embed the column `text` with your model and add to your .npz, in this order: of the rows whose `array` is `prompt`
    the arrays prompt (text), prompt_label (about), prompt_denies (denies, 0 or 1) and prompt_embedding; of those whose
    `array` is `probe` the arrays probe_study (study_id), probe_kind (about) and probe_embedding.

    Args:
        manifest: the manifest, a CSV file; reports and labels are read from it.
        out: where the result is written: a CSV file. It holds reports: keep it where the reports may be.
        split: the split whose rows are used: their reports are changed, their labels asked for.
        strategy: how the manifest is divided; its `split` column by default, and patient_hash for rows without a split.
        split_seed: the seed of the division: of the permutation of `exact`, of the salt of `patient_hash`.
        fractions: the wanted shares of train, val and test.
    """
    import pandas as pd

    from bimcvr.atomic_files import replacing
    from bimcvr.curation.labels.manifest_labels import describe_made, with_labels
    from bimcvr.data.evaluation_rows import counterfactual_probes, split_rows
    from bimcvr.data.manifest import read_manifest, split_list
    from bimcvr.metrics.prompts import prompt_sentences, prompted_labels

    table = with_labels(read_manifest(manifest))
    rows, _ = split_rows(table, split, strategy, split_seed, fractions)
    labels = table.column("labels")
    prompts = zip(*prompt_sentences(prompted_labels([split_list(labels[row]) for row in rows])), strict=True)
    texts = [
        {"array": "prompt", "text": text, "about": label, "denies": int(denies), "study_id": ""}
        for text, label, denies in prompts
    ]
    texts += [
        {"array": "probe", "text": probe.text, "about": probe.kind, "denies": "", "study_id": probe.study_id}
        for probe in counterfactual_probes(table, rows)
    ]
    with replacing(out) as temporary:
        pd.DataFrame(texts).to_csv(temporary, index=False, lineterminator="\n")
    count = sum(text["array"] == "prompt" for text in texts)
    if made := describe_made(table):
        say(made)
    say(f"{out}: {count} prompts, {len(texts) - count} changed reports of {len(rows)} studies.")
    return 0
