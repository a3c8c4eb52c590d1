"""The shipped suite of peers with towers of reduced size and random weights, on a few phantoms."""

from pathlib import Path
from typing import Any

import yaml

from helpers import peer_files
from helpers.cli import EXPERIMENTS, TESTS

SMALL = TESTS / "experiments/small"
OURS = {
    "paper": ["ResNet3D", "OpenClipText"],
    "strong": ["WindowChannels", "OpenClipText", "TokenAttention"],
}


def write_peer_suite(folder: Path, ct_clip: bool) -> Path:
    """Write it, each row with the shipped files and one more over them; returns the suite's file.

    Args:
        folder: where; it also gets vocabularies and small language models, for which no random weights can stand.
        ct_clip: whether CT-CLIP's code can be imported; its rows are left out otherwise.
    """
    shipped = yaml.safe_load((EXPERIMENTS / "suites/peers.yaml").read_text())
    peer_files.write_vocabulary(folder / "cxr-bert")
    peer_files.write_qwen3(folder / "qwen3")
    peer_files.write_longformer(folder / "longformer")
    rows = [row for row in shipped["rows"] if ct_clip or not row["name"].startswith("ctclip")]
    for row in rows:
        files = [str((EXPERIMENTS / "suites" / file).resolve()) for file in row["files"]]
        if row["name"] in OURS:
            files += [str(SMALL / f"{name}.yaml") for name in OURS[row["name"]]]
            row["title"] += ", a small one"
            over: dict[str, Any] = {"data": {"size": [16, 32, 32]}}
        else:
            over = smaller(row["name"], files[-1], folder)
        path = folder / f"{row['name']}.yaml"
        path.write_text(yaml.safe_dump(over))
        row["files"] = [*files, str(path)]
    options = shipped["options"] | {
        "data.fractions": [0.5, 0.15, 0.35],
        "data.batch_size": 4,
        "data.num_workers": 0,
        "model.probes": False,
        "trainer.precision": "32-true",
        "trainer.sync_batchnorm": False,  # torch has it on GPUs only
        "trainer.accelerator": "cpu",
        "trainer.logger": False,
        "trainer.enable_model_summary": False,
    }
    suite = shipped | {
        "cohort": {"patients": 30, "seed": 3},
        "budget": {"epochs": 1, "seeds": 1, "learning_rate_factors": [1]},
        "options": options,
        "pools": [8, 128],
        "rows": rows,
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite))
    return folder / "suite.yaml"


def smaller(name: str, shipped: str, folder: Path) -> dict[str, Any]:
    """Return what goes over a shipped experiment: its towers small and of random weights, on a small grid."""
    tokenizer = {"tokenizer": str(folder / "cxr-bert")}
    volume, text, size = {
        "colipri": (
            {"reduced": peer_files.COLIPRI},
            {**tokenizer, "reduced": peer_files.COLIPRI_TEXT},
            [32, 32, 32],
        ),
        "spectre": (
            {"reduced": peer_files.SPECTRE, "size": [64, 128, 128]},
            {"language_model": str(folder / "qwen3")},
            [64, 128, 128],
        ),
        "merlin": (
            {"reduced": peer_files.MERLIN},
            {"language_model": str(folder / "longformer")},
            peer_files.MERLIN["size"],
        ),
        "ctclip": (
            {"reduced": peer_files.CT_CLIP},
            {**tokenizer, "reduced": peer_files.CT_CLIP_TEXT},
            [20, 60, 60],
        ),
    }[name.removesuffix("_head")]
    model = yaml.safe_load(Path(shipped).read_text())["model"]
    if name.endswith("_head"):
        arguments = model["volume_encoder"]["init_args"]
        arguments["encoder"]["init_args"] |= {"random_weights": True, **volume}
        arguments["folder"] = str(folder / "features")
        encoder = model["volume_encoder"]
    else:
        encoder = {"class_path": model["volume_encoder"], "init_args": {"random_weights": True, **volume}}
    texts = {"class_path": model["text_encoder"], "init_args": {"random_weights": True, **text}}
    return {"data": {"size": size}, "model": {"volume_encoder": encoder, "text_encoder": texts}}
