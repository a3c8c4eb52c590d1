"""The verb `evaluate` from the command line, on anybody's embeddings."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from bimcvr.cli import main
from bimcvr.contracts import Probes, Prompts
from bimcvr.data.counterfactual.changes import changed_reports
from bimcvr.evaluation.embeddings import Embeddings, load_embeddings, save_embeddings
from bimcvr.phantom.cohort.studies import manifest_table, plan_patient
from helpers.cli import bimcvr, message_of
from helpers.toy_modules import HashText

FEW = ["--resamples", "200"]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reports of 120 phantom patients, all in the split test, some flagged; no volumes."""
    folder = tmp_path_factory.mktemp("cohort")
    table = manifest_table([study for patient in range(120) for study in plan_patient(4, patient)])
    flags = ["mismatch_ids" if i % 9 == 0 else "slice_spacing" if i % 9 == 1 else "" for i in range(len(table))]
    table.assign(split="test", flags=flags).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def embedded(manifest: Path, path: Path, noise: float = 1.0, seed: int = 0) -> Path:
    """A model that reads reports as a bag of words, and volumes as their reports with noise."""
    table = pd.read_csv(manifest)
    text = HashText(32)(table["report"].tolist())
    image = text + noise * text.std() * torch.randn(text.shape, generator=torch.Generator().manual_seed(seed))
    save_embeddings(path, Embeddings(table["study_id"].tolist(), image, text))
    return path


@pytest.fixture(scope="module")
def npz(manifest: Path) -> Path:
    return embedded(manifest, manifest.parent / "model.npz")


def test_the_result_names_what_it_is_about(
    npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(npz), "--manifest", str(manifest), "--out", str(tmp_path / "r.json"), *FEW]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    about = result["about"]
    assert (about["split"], about["split_strategy"], about["synthetic"]) == ("test", "column", True)
    assert about["manifest_hash"]
    assert list(about["embeddings"]) == [str(npz)]
    assert {"R@1", "R@5", "R@10", "R@50", "R@100", "MRR", "MdR", "MnR"} == set(result["metrics"]["image_to_text"])
    assert set(result["ceiling"]) == {"text_to_image", "image_to_text"}
    printed = capsys.readouterr().out
    for word in (
        "PHANTOM",
        "chance",
        "ceiling",
        "R@10",
        "shared labels",
        "image to image",
        "counterfactual probes are absent",
    ):
        assert word in printed


def test_the_ceiling_is_of_the_rule_by_report_alone(npz: Path, manifest: Path, tmp_path: Path) -> None:
    assert (
        main(
            [
                "evaluate",
                str(npz),
                "--manifest",
                str(manifest),
                "--right_answers",
                "diagonal",
                "--out",
                str(tmp_path / "r.json"),
                *FEW,
            ]
        )
        == 0
    )
    assert "ceiling" not in json.loads((tmp_path / "r.json").read_text())


def test_extra_studies_are_counted_and_missing_ones_named(
    npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(manifest)
    table[10:].to_csv(tmp_path / "part.csv", index=False)
    assert main(["evaluate", str(npz), "--manifest", str(tmp_path / "part.csv"), *FEW]) == 0
    assert "10 studies are not among the scored rows of the split 'test'" in capsys.readouterr().out
    whole = load_embeddings(npz)
    save_embeddings(tmp_path / "part.npz", whole.only(list(range(3, len(whole.study_id)))))
    assert main(["evaluate", str(tmp_path / "part.npz"), "--manifest", str(manifest), *FEW]) == 1
    message = capsys.readouterr().err
    assert "has no embedding of 3 of the" in message
    assert all(study in message for study in whole.study_id[:3])


def test_order_of_the_file_does_not_matter(npz: Path, manifest: Path, tmp_path: Path) -> None:
    whole = load_embeddings(npz)
    order = torch.randperm(len(whole.study_id), generator=torch.Generator().manual_seed(1)).tolist()
    save_embeddings(tmp_path / "moved.npz", whole.only(order))
    for name, path in (("one", npz), ("two", tmp_path / "moved.npz")):
        assert (
            main(["evaluate", str(path), "--manifest", str(manifest), "--out", str(tmp_path / f"{name}.json"), *FEW])
            == 0
        )
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one["metrics"] == two["metrics"]
    assert one["intervals"] == two["intervals"]


def test_two_arrays_and_a_list_of_ids(npz: Path, manifest: Path, tmp_path: Path) -> None:
    whole = load_embeddings(npz)
    np.save(tmp_path / "i.npy", whole.image.numpy())
    np.save(tmp_path / "t.npy", whole.text.numpy())
    pd.DataFrame({"study_id": whole.study_id}).to_csv(tmp_path / "ids.csv", index=False)
    words = [
        "evaluate",
        str(tmp_path / "i.npy"),
        "--text_embeddings",
        str(tmp_path / "t.npy"),
        "--study_ids",
        str(tmp_path / "ids.csv"),
    ]
    assert main([*words, "--manifest", str(manifest), "--out", str(tmp_path / "a.json"), *FEW]) == 0
    assert main(["evaluate", str(npz), "--manifest", str(manifest), "--out", str(tmp_path / "b.json"), *FEW]) == 0
    a, b = (json.loads((tmp_path / f"{name}.json").read_text())["metrics"] for name in "ab")
    assert a == b


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--manifest", "{manifest}", "--ks", "[5, 500]"], r"R@500 has no meaning in a gallery of"),
        (["--manifest", "{manifest}", "--ks", "[0, 5]"], "both count from 1"),
        (["--manifest", "{manifest}", "--resamples", "0"], "both count from 1"),
        (["--manifest", "{manifest}", "--split", "val"], "Choose another split (all: every accepted row)"),
        (["--manifest", "{manifest}", "--text_embeddings", "t.npy"], "An .npy array of volumes needs --text"),
    ],
)
def test_what_cannot_be_scored(
    words: list[str], said: str, npz: Path, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(npz), *[word.format(manifest=manifest) for word in words]]) == 1
    assert said in capsys.readouterr().err


def test_the_manifest_beside_the_embeddings_is_the_default(
    npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a run's folder; and a manifest of other rows is told where the embedded split is."""
    assert main(["evaluate", str(npz), *FEW]) == 0
    beside = capsys.readouterr().out
    assert main(["evaluate", str(npz), "--manifest", str(manifest), *FEW]) == 0
    assert capsys.readouterr().out == beside
    alone = tmp_path / "alone.npz"
    alone.write_bytes(npz.read_bytes())
    assert main(["evaluate", str(alone), *FEW]) == 1
    told = capsys.readouterr().err
    assert "evaluate needs --manifest: the CSV file that names" in told
    assert f"There is no {tmp_path / 'manifest.csv'} beside the embeddings" in told
    table = pd.read_csv(manifest)
    table.assign(study_id=table["study_id"] + "x").to_csv(tmp_path / "other.csv", index=False)
    assert main(["evaluate", str(npz), "--manifest", str(tmp_path / "other.csv"), *FEW]) == 1
    assert f"The split that was embedded is in {manifest}: leave --manifest out" in capsys.readouterr().err


def test_another_split_of_the_manifest_beside_is_said(
    npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(manifest).assign(split=["train"] * 20 + ["test"] * (len(pd.read_csv(manifest)) - 20))
    table.to_csv(tmp_path / "manifest.csv", index=False)
    whole = load_embeddings(npz)
    save_embeddings(tmp_path / "run.npz", whole.only(list(range(20, len(whole.study_id)))))
    assert main(["evaluate", str(tmp_path / "run.npz"), "--split", "train", *FEW]) == 1
    told = capsys.readouterr().err
    assert "They are of another split than 'train': choose theirs with --split" in told
    assert "leave --manifest out" not in told


def test_methods_are_compared_with_intervals_and_corrected_p_values(npz: Path, manifest: Path, tmp_path: Path) -> None:
    seeds = ",".join(str(embedded(manifest, tmp_path / f"worse{seed}.npz", noise=3.0, seed=seed)) for seed in range(2))
    same = embedded(manifest, tmp_path / "same.npz")
    words = ["evaluate", str(npz), "--manifest", str(manifest), "--compare", json.dumps([seeds, str(same)])]
    assert main([*words, "--out", str(tmp_path / "r.json"), *FEW]) == 0
    worse, equal = json.loads((tmp_path / "r.json").read_text())["compared_with"]
    assert len(worse["embeddings"]) == 2
    recall = worse["differences"]["text_to_image"]["R@10"]
    assert recall["difference"] > 0
    assert 0 < recall["interval"][0] <= recall["difference"] <= recall["interval"][1]
    assert recall["p"] <= 0.01
    assert recall["p_holm"] == pytest.approx(2 * recall["p"])
    assert equal["differences"]["image_to_text"]["MdR"] == {
        "difference": 0.0,
        "interval": [0.0, 0.0],
        "p": 1.0,
        "p_holm": 1.0,
    }


def test_raw_against_audited(npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "evaluate",
                str(npz),
                "--manifest",
                str(manifest),
                "--audited",
                "true",
                "--out",
                str(tmp_path / "r.json"),
                *FEW,
            ]
        )
        == 0
    )
    audited = json.loads((tmp_path / "r.json").read_text())["audited"]
    table = pd.read_csv(manifest, keep_default_na=False)
    assert audited["whole"]["n"] == len(table)
    assert audited["sound"]["n"] == audited["whole_cut"]["n"] == (table["flags"] == "").sum()
    assert audited["elsewhere"] == table["flags"].str.startswith("mismatch").sum()
    # a smaller gallery is easier, for chance too
    assert audited["sound"]["chance"]["R@10"] > audited["whole"]["chance"]["R@10"]
    # not equal: rows of one report are cut apart
    assert audited["whole_cut"]["chance"]["R@10"] == pytest.approx(audited["sound"]["chance"]["R@10"], rel=0.1)
    assert audited["whole_cut"]["metrics"]["text_to_image"]["R@1"] > audited["whole"]["metrics"]["text_to_image"]["R@1"]
    share = audited["elsewhere"] / len(table)
    assert audited["ceiling"]["whole"]["text_to_image"]["R@1"] == pytest.approx(100 * (1 - share), abs=1.0)
    assert audited["ceiling"]["sound"]["text_to_image"]["R@1"] == 100.0
    assert "noise ceiling" in capsys.readouterr().out


def test_an_embedding_blind_to_sides_wins_half_of_the_side_probes(manifest: Path, tmp_path: Path) -> None:
    table = pd.read_csv(manifest, keep_default_na=False)
    asked = {"pleural effusion": ("pleural effusion", "pleural+fluid", "fluid+pleural")}
    changes = [
        (study, change.text)
        for study, report in zip(table["study_id"], table["report"], strict=True)
        for change in changed_reports(report, "en", asked)
        if change.finding
    ]
    assert len(changes) > 10

    def blind(texts: list[str]) -> torch.Tensor:
        return HashText(32)([text.replace("right", "").replace("left", "") for text in texts])

    for reader, expected in ((blind, 50.0), (HashText(32), 100.0)):
        text = reader(table["report"].tolist())
        probes = Probes(
            [study for study, _ in changes],
            ["side: pleural effusion"] * len(changes),
            reader([text for _, text in changes]),
        )
        save_embeddings(tmp_path / "e.npz", Embeddings(table["study_id"].tolist(), text, text, probes=probes))
        assert (
            main(
                [
                    "evaluate",
                    str(tmp_path / "e.npz"),
                    "--manifest",
                    str(manifest),
                    "--out",
                    str(tmp_path / "r.json"),
                    *FEW,
                ]
            )
            == 0
        )
        result = json.loads((tmp_path / "r.json").read_text())
        low, high = result["intervals"]["probes"]["side: pleural effusion"]["won"]
        assert result["metrics"]["probes"]["side: pleural effusion"]["won"] == expected
        assert low <= expected <= high


def test_probes_lists_every_text_that_a_model_has_to_embed(manifest: Path, tmp_path: Path) -> None:
    assert main(["probes", str(manifest), "--out", str(tmp_path / "texts.csv")]) == 0
    texts = pd.read_csv(tmp_path / "texts.csv", keep_default_na=False)
    prompts = texts[texts["array"] == "prompt"]
    assert {"atelectasis", "pleural effusion"} <= set(prompts["about"])
    assert "normal" not in set(prompts["about"])
    assert set(prompts["denies"]) == {"0", "1"}
    assert {"side", "negated", "affirmed", "size", "lobe", "side: pleural effusion"} <= set(texts["about"])
    # a model of one's own embeds them, and is scored in full
    read = HashText(16)
    table, probe = pd.read_csv(manifest), texts[texts["array"] == "probe"]
    np.savez(
        tmp_path / "mine.npz",
        study_id=table["study_id"].to_numpy(str),
        image=read(table["report"].tolist()).numpy(),
        text=read(table["report"].tolist()).numpy(),
        prompt=prompts["text"].to_numpy(str),
        prompt_label=prompts["about"].to_numpy(str),
        prompt_denies=prompts["denies"].to_numpy(str),
        prompt_embedding=read(prompts["text"].tolist()).numpy(),
        probe_study=probe["study_id"].to_numpy(str),
        probe_kind=probe["about"].to_numpy(str),
        probe_embedding=read(probe["text"].tolist()).numpy(),
    )
    words = [
        "evaluate",
        str(tmp_path / "mine.npz"),
        "--manifest",
        str(manifest),
        "--out",
        str(tmp_path / "r.json"),
        "--resamples",
        "50",
    ]
    assert main(words) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["notes"] == []
    assert {"keyword", "zero_shot", "label_relevance", "probes"} < set(result["metrics"])


def test_it_loads_neither_lightning_nor_open_clip(npz: Path, manifest: Path) -> None:
    import subprocess
    import sys

    code = (
        f"import sys; from bimcvr.cli import main; assert main(['evaluate', {str(npz)!r}, '--manifest',"
        f" {str(manifest)!r}, '--resamples', '20']) == 0; print([name for name in ('pytorch_lightning', 'open_clip',"
        " 'torchmetrics', 'torchio', 'monai', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_malformed_file_ends_in_one_message(manifest: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", study_id=np.array(["a"]), image=np.full((1, 2), np.nan), text=np.ones((1, 2)))
    done = bimcvr("evaluate", tmp_path / "e.npz", "--manifest", manifest)
    assert done.returncode == 1
    assert "1 of 1 image embeddings are not finite (study a)" in message_of(done)


def test_several_npy_runs_cannot_share_one_text(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "evaluate",
                "i1.npy,i2.npy",
                "--text_embeddings",
                "t.npy",
                "--study_ids",
                "ids.csv",
                "--manifest",
                str(manifest),
            ]
        )
        == 1
    )
    assert "Make an .npz file of each" in capsys.readouterr().err


def test_one_other_method_needs_no_list_and_every_file_is_hashed(npz: Path, manifest: Path, tmp_path: Path) -> None:
    whole, other = (
        load_embeddings(npz),
        [str(embedded(manifest, tmp_path / f"{seed}.npz", seed=seed)) for seed in (1, 2)],
    )
    files = {"i.npy": whole.image.numpy(), "t.npy": whole.text.numpy(), "ids.npy": np.array(whole.study_id)}
    for name, array in files.items():
        np.save(tmp_path / name, array)
    image, text, ids = (str(tmp_path / name) for name in files)
    words = [
        "evaluate",
        image,
        "--text_embeddings",
        text,
        "--study_ids",
        ids,
        "--manifest",
        str(manifest),
        "--compare",
        ",".join(other),
    ]
    assert main([*words, "--out", str(tmp_path / "r.json"), *FEW]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert set(result["about"]["embeddings"]) == {image, text, ids}
    (compared,) = result["compared_with"]
    assert set(compared["embeddings"]) == set(other)
    assert all(
        len(digest) == 64 for digest in [*compared["embeddings"].values(), *result["about"]["embeddings"].values()]
    )


def test_audited_prints_the_recalls_that_there_are(
    npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        str(npz),
        "--manifest",
        str(manifest),
        "--audited",
        "--ks",
        "[5]",
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert main([*words, *FEW]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "R@5" in printed[next(number for number, line in enumerate(printed) if line.startswith("noise ceiling")) + 1]


def test_a_manifest_with_every_row_set_aside(
    npz: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_csv(manifest).assign(status="rejected").to_csv(tmp_path / "m.csv", index=False)
    assert main(["evaluate", str(npz), "--manifest", str(tmp_path / "m.csv"), "--split", "all"]) == 1
    assert "has no row to score" in capsys.readouterr().err


def test_seeds_with_other_probes_or_prompts_are_refused(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(manifest)
    text = HashText(8)(table["report"].tolist())
    ids = table["study_id"].tolist()
    for name, kind, label in (("a", "side", "mass"), ("b", "size", "mass"), ("c", "side", "cyst")):
        save_embeddings(
            tmp_path / f"{name}.npz",
            Embeddings(ids, text, text, Prompts(["x"], [label], [False], text[:1]), Probes(ids[:1], [kind], text[1:2])),
        )
    for other, said in (
        ("b", f"hold different probes: 'side' of {ids[0]}; 'size' of {ids[0]} not in both"),
        ("c", "hold different prompts: 'cyst'; 'mass' not in both"),
    ):
        assert main(["evaluate", f"{tmp_path}/a.npz,{tmp_path}/{other}.npz", "--manifest", str(manifest), *FEW]) == 1
        assert said in capsys.readouterr().err


def test_languages_with_a_region_are_read_and_others_left_out(manifest: Path, tmp_path: Path) -> None:
    table = pd.read_csv(manifest)
    table.assign(language=["EN", "en-US", "en_GB", "fr"] + [""] * (len(table) - 4)).to_csv(
        tmp_path / "m.csv", index=False
    )
    with pytest.warns(UserWarning, match=r"1 reports are in languages without rules .*\(fr\)"):
        assert main(["probes", str(tmp_path / "m.csv"), "--out", str(tmp_path / "texts.csv")]) == 0
    probed = set(pd.read_csv(tmp_path / "texts.csv")["study_id"].dropna())
    assert table["study_id"][3] not in probed
    assert set(table["study_id"][:3]) <= probed


def test_probes_divides_as_evaluate_does(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--strategy", "exact", "--split_seed", "3", "--fractions", "[0.5, 0.2, 0.3]"]
    assert main(["probes", str(manifest), "--out", str(tmp_path / "texts.csv"), *words]) == 0
    assert f"of {round(0.3 * len(pd.read_csv(manifest)))} studies" in capsys.readouterr().out
