"""The road from files to figures, from the command line: fit, test, predict, and every mistake a user makes on it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from bimcvr.cli import main
from bimcvr.evaluation.embeddings import load_embeddings
from helpers.cli import TINY, bimcvr, message_of, newest_run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> Path:
    """The run folder of a finished fit and test."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(TINY)
    options = [
        "--config",
        str(folder / "tiny.yaml"),
        "--data.manifest",
        str(tiny_cohort),
        "--runs",
        str(folder / "runs"),
    ]
    assert main(["fit", *options]) == 0
    run = newest_run(folder / "runs")
    assert main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt")]) == 0
    return run


def test_a_run_folder_holds_everything(trained: Path) -> None:
    for name in (
        "config.yaml",
        "manifest.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "embeddings.npz",
        "result.json",
    ):
        assert (trained / name).is_file(), name
    assert list(trained.glob("logs/version_*/metrics.csv"))
    result = json.loads((trained / "result.json").read_text())
    assert result["n_queries"] == 7
    assert set(result["metrics"]["text_to_image"]) == {"R@1", "R@5", "MRR", "MdR", "MnR"}  # 10 is above the gallery
    about = result["about"]
    assert (about["split"], about["split_strategy"], about["synthetic"]) == ("test", "column", False)
    assert about["text_encoder"] == "HashText"
    assert about["manifest_hash"]
    assert set(pd.read_csv(trained / "manifest.csv")["split"]) == {"train", "val", "test"}


def test_findings_are_classified_by_the_score_that_val_chose(trained: Path) -> None:
    kept = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)["zero_shot_score"]
    table = pd.concat(pd.read_csv(path) for path in trained.glob("logs/version_*/metrics.csv"))
    logged = table[[f"val/zero_shot/{name}" for name in kept["val"]]].dropna().to_numpy().tolist()
    assert pytest.approx(list(kept["val"].values())) in logged
    assert kept["used"] == max(kept["val"], key=kept["val"].get)
    provenance = load_embeddings(trained / "embeddings.npz").provenance or {}
    assert provenance["zero_shot_score"] == kept
    result = json.loads((trained / "result.json").read_text())
    assert "chosen on the run's val" in result["zero_shot_score"][0]
    label = next(iter(result["metrics"]["zero_shot"].values()))
    assert label["AUROC"] == label[f"AUROC_{kept['used']}"]


def test_embeddings_are_in_the_manifests_order(trained: Path) -> None:
    embeddings = load_embeddings(trained / "embeddings.npz")
    assert embeddings.study_id == [f"s{number}" for number in range(23, 30)]
    assert embeddings.image.shape == embeddings.text.shape == (7, 12)
    assert embeddings.prompts is not None
    # three sentences for and three against the paper's keywords and the cohort's three labels
    assert embeddings.prompts.labels == ["atelectasis", "consolidation", "adenopathy", "left", "nodule", "right"]
    assert len(embeddings.prompts.sentence) == 6 * 6
    assert embeddings.probes is not None
    assert {"side", "affirmed", "negated"} & set(embeddings.probes.kind) == {"side", "negated"}
    result = json.loads((trained / "result.json").read_text())
    image, text = (
        part / np.linalg.norm(part, axis=1, keepdims=True)
        for part in (embeddings.image.numpy(), embeddings.text.numpy())
    )
    ranks = ((text @ image.T) > (text * image).sum(1, keepdims=True) + 1e-6).sum(1) + 1
    assert result["metrics"]["text_to_image"]["MnR"] == pytest.approx(ranks.mean())


def test_evaluation_does_not_depend_on_the_batch(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt"), "--data.eval_batch_size", "5"]) == 0
    one, other = (json.loads((folder / "result.json").read_text())["metrics"] for folder in (trained, run))
    assert one == other


def test_predict_embeds_any_manifest_without_split_or_patients(
    trained: Path, tiny_cohort: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    table = pd.read_csv(tiny_cohort)[["study_id", "volume", "report"]].iloc[[4, 2, 7]]
    table.to_csv(tmp_path / "mine.csv", index=False)
    words = [
        "predict",
        "--ckpt_path",
        str(run / "checkpoints/best.ckpt"),
        "--data.manifest",
        str(tmp_path / "mine.csv"),
        "--data.root",
        str(tiny_cohort.parent),
    ]
    assert main(words) == 0
    assert load_embeddings(run / "embeddings_mine.npz").study_id == ["s4", "s2", "s7"]


def test_fit_on_a_runs_own_config_gives_the_same_figures(trained: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(trained / "config.yaml"), "--runs", str(tmp_path / "runs")]) == 0
    again = newest_run(tmp_path / "runs")
    columns = ["val/score", "val/text_to_image/R@1", "val/image_to_text/MnR"]
    first, second = (
        pd.concat(pd.read_csv(path) for path in run.glob("logs/version_0/metrics.csv"))[columns].dropna()
        for run in (trained, again)
    )
    pd.testing.assert_frame_equal(first.reset_index(drop=True), second.reset_index(drop=True))


def test_flags_beat_the_checkpoints_hyperparameters(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    flags = ["--model.prompts", '["only {}."]', "--model.keywords", '["mass"]', "--model.probes", "false"]
    assert main(["test", "--ckpt_path", str(run / "checkpoints/best.ckpt"), *flags]) == 0
    embeddings = load_embeddings(run / "embeddings.npz")
    assert embeddings.prompts is not None
    assert embeddings.prompts.sentence == [
        "only mass.",
        "There is no mass.",
        "No mass is seen.",
        "No findings of mass.",
    ]
    assert embeddings.probes is None
    assert yaml.safe_load((run / "config_test.yaml").read_text())["model"]["prompts"] == ["only {}."]


def test_a_checkpoint_holds_no_text_encoder_and_loads_without_pickle(trained: Path) -> None:
    import torch

    from bimcvr.models.retriever import Retriever

    state = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert any(name.startswith("volume_encoder.") for name in state)
    model = Retriever.load_from_checkpoint(trained / "checkpoints/best.ckpt", map_location="cpu")
    assert model.embed_text(["a nodule"]).shape == (1, 12)


MISTAKES = {
    "a wrong key on the command line": (["--model.embed_dims", "3"], "embed_dims.*embed_dim"),
    "a wrong key of a part": (["--model.volume_encoder.dims", "3"], "no key 'dims'.*helpers.toy_modules.PlainConv"),
    "a wrong value": (["--model.embed_dim", "six"], "'model.embed_dim' cannot be used. Its value is six"),
    "a wrong class_path": (["--model.volume_encoder", "helpers.toy_modules.PlainConf"], "PlainConf"),
    "a module that is absent": (["--model.volume_encoder", "no_such.Thing"], "no_such"),
    "a batch above the training set": (
        ["--data.batch_size", "17"],
        r"batch of 17 .* larger than the training set \(16 studies\).*16 or less",
    ),
    "an unknown strategy": (["--data.strategy", "random"], "random"),
    "a split by patient without patients": (["--data.strategy", "patient_hash"], "patient_id"),
    "a manifest that is absent": (["--data.manifest", "nowhere.csv"], r"nowhere\.csv"),
    "a left-right flip": (
        ["--data.view_1", "torchio.RandomFlip", "--data.view_1.axes", "[0]"],
        "data.view_1.*left–right",
    ),
    "text that is not finite": (["--model.text_encoder", "helpers.toy_modules.NaNText"], "not finite"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_in_one_message(
    mistake: str, tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, told = MISTAKES[mistake]
    if "patient" in mistake:
        table = pd.read_csv(tiny_cohort).drop(columns=["patient_id", "split"])
        table.to_csv(tmp_path / "m.csv", index=False)
        words = [*words, "--data.manifest", str(tmp_path / "m.csv"), "--data.root", str(tiny_cohort.parent)]
    assert main(["fit", *tiny_config, *words]) == 1
    assert_told(capsys.readouterr().err, told)


def assert_told(error: str, told: str) -> None:
    import re

    assert re.search(told, error.replace("\n", " ")), error
    assert "Traceback" not in error
    message = error[error.index("bimcvr fit:") :]
    assert "usage:" not in message
    assert len(message) < 1200


MANIFEST_MISTAKES = {
    "report": (lambda t: t.rename(columns={"report": "raport"}), "'report'.*'raport'"),
    "twice": (lambda t: pd.concat([t, t.iloc[[3]]]), "'s3' appears in rows 4, 31"),
    "unknown split": (lambda t: t.assign(split="training"), "the split 'training' is unknown"),
    "empty split": (lambda t: t.assign(split=t["split"].replace("val", "train")), "split 'val'.*is empty"),
    "missing file": (
        lambda t: t.assign(volume=t["volume"].replace("s5.nii.gz", "gone.nii.gz")),
        r"s5: missing_file.*gone\.nii\.gz",
    ),
}


@pytest.mark.parametrize("mistake", MANIFEST_MISTAKES)
def test_a_bad_manifest_ends_in_one_message(
    mistake: str, tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, told = MANIFEST_MISTAKES[mistake]
    change(pd.read_csv(tiny_cohort)).to_csv(tmp_path / "m.csv", index=False)
    words = ["--data.manifest", str(tmp_path / "m.csv"), "--data.root", str(tiny_cohort.parent)]
    assert main(["fit", *tiny_config, *words]) == 1
    assert_told(capsys.readouterr().err, told)


def test_a_truncated_volume_stops_or_is_set_aside_with_its_reason(
    tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = tmp_path / "cohort"
    shutil.copytree(tiny_cohort.parent, cohort)
    broken = cohort / "s2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:3000])
    words = ["fit", *tiny_config, "--data.manifest", str(cohort / "manifest.csv")]
    assert main(words) == 1
    assert_told(capsys.readouterr().err, r"s2: truncated.*skip_refused true")
    assert main([*words, "--data.skip_refused", "true"]) == 0
    table = pd.read_csv(newest_run(tmp_path / "runs") / "manifest.csv", keep_default_na=False).set_index("study_id")
    assert (table.loc["s2", "status"], table.loc["s2", "flags"], table.loc["s2", "split"]) == (
        "rejected",
        "truncated",
        "",
    )


def test_a_wrong_key_in_a_file_names_key_nearest_and_file(tiny_config: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model:\n  embed_dims: 3\n")
    done = bimcvr("fit", *tiny_config, "--config", tmp_path / "mine.yaml")
    assert done.returncode == 1
    message = message_of(done)
    assert "embed_dims" in message
    assert "'model.embed_dim'" in message
    assert "mine.yaml" in message
    assert "usage:" not in done.stderr


@pytest.mark.parametrize(
    ("verb", "words", "told"),
    [
        ("fti", [], "Did you mean 'fit'"),
        ("test", [], "needs a checkpoint"),
        ("test", ["--ckpt_path", "gone.ckpt"], "no checkpoint at gone.ckpt"),
    ],
)
def test_usage_mistakes(
    verb: str, words: list[str], told: str, tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, *(tiny_config if verb != "fti" else []), *words]) in (1, 2)
    assert told in capsys.readouterr().err


def test_a_manifest_of_three_columns_is_enough(
    tiny_config: list[str], tiny_cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the README writes it: no patients are made up, in the split or in a result."""
    table = pd.read_csv(tiny_cohort)
    table["volume"] = [str(tiny_cohort.parent / name) for name in table["volume"]]
    table[["study_id", "volume", "report"]].to_csv(tmp_path / "three.csv", index=False)
    words = [*tiny_config, "--data.manifest", str(tmp_path / "three.csv"), "--data.fractions", "[0.5, 0.25, 0.25]"]
    with pytest.warns(UserWarning, match="names no patients"):
        assert main(["fit", *words]) == 0
    run = newest_run(tmp_path / "runs")
    capsys.readouterr()
    assert main(["test", "--checkpoint", str(run / "checkpoints/best.ckpt")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "split test by study_hash, salt 0" in printed
    assert "no patient_id (each study its own patient)" in printed
    assert "95 % intervals by study" in printed
    result = json.loads((run / "result.json").read_text())
    assert result["n_patients"] is None
    assert "bootstrap over studies" in result["interval"]
    page = tmp_path / "r.html"
    words = ["evaluate", str(run / "embeddings.npz"), "--manifest", str(run / "manifest.csv"), "--resamples", "50"]
    assert main([*words, "--html", str(page)]) == 0
    assert "bootstrap over studies with a fixed gallery" in page.read_text()
    assert "patients, in both directions" not in page.read_text()
