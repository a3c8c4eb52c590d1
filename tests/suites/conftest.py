"""A suite of toys on a small phantom cohort, as files, and one undisturbed run of it."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
import yaml
from toy_suite import ABSENT, SMALL

from bimcvr.cli import main
from helpers.cli import TINY
from helpers.forks import fork_server


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained methods with two seeds and two trials, one untrained, one whose weights are absent.

    One untrained of random weights, one whose extra is absent, one that fails.
    """
    folder = tmp_path_factory.mktemp("suite")
    base = yaml.safe_load(TINY)
    del base["trainer"]["max_epochs"]
    base["model"] |= {"probes": False, "keywords": ["atelectasis", "consolidation", "adenopathy"]}
    parts = {
        "base": base,
        "other": {
            "data": {"view_1": {"class_path": "torchio.RandomNoise"}},
            "model": {
                "objective": {
                    "class_path": "bimcvr.models.Objective",
                    "init_args": {"consistency": 0.0, "keywords": 0.1},
                }
            },
        },
        "fixed": {
            "model": {
                "embed_dim": None,
                "map_volumes": False,
                "fusion": "bimcvr.models.FirstView",
                "volume_encoder": {"class_path": "helpers.toy_modules.FixedConv", "init_args": {"dim": 16}},
                "objective": None,
            }
        },
        "absent": {
            "model": {
                "text_encoder": {
                    "class_path": "bimcvr.models.OpenClipText",
                    "init_args": {"model": ABSENT},
                }
            }
        },
        "random": {"model": {"volume_encoder": {"class_path": "helpers.toy_modules.RandomConv"}}},
        "extra": {"model": {"volume_encoder": "helpers.toy_modules.NeedsPeers"}},
        "broken": {"model": {"text_encoder": {"class_path": "helpers.toy_modules.NaNText"}}},
    }
    for name, content in parts.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def row(name: str, title: str, *files: str, **more: object) -> dict[str, object]:
        return {
            "name": name,
            "title": title,
            "files": [f"{file}.yaml" for file in ("base", *files)],
            **{"tables": [2, 3, 4], **more},
        }

    (folder / "suite.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "toys",
                "cohort": {"patients": 50, "seed": 5},
                "budget": {"epochs": 2, "seeds": 2, "learning_rate_factors": [1, 0.3]},
                "options": {"data.strategy": "patient_hash", "data.fractions": [0.4, 0.15, 0.45]},
                "galleries": ["all", "diagonal", "one_per_patient", "one_per_report"],
                "pools": [4, 500],
                "rows": [
                    row("one", "Toy & one", paper=["MedFinder (Resnet-50)", "Clip"]),
                    row("two", "Toy_two", "other"),
                    row("fixed", "Toy untrained", "fixed", train=False),
                    row("absent", "Toy absent", "absent"),
                    row("random", "Toy tower", "fixed", "random", train=False),
                    row("extra", "Toy of an extra", "fixed", "extra", train=False, tables=[]),
                    row("broken", "Toy broken", "broken", seeds=1, paper=["CLIP4clip"]),
                ],
            }
        )
    )
    return folder / "suite.yaml"


@pytest.fixture(scope="session")
def undisturbed(suite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the suite after one whole run.

    Pytest's processes share it, so that they do not crowd out each other.
    """
    folder = tmp_path_factory.getbasetemp()
    out = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "undisturbed"
    with out.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "report.html").is_file():
            fork_server()
            assert main(["benchmark", "--suite", str(suite), "--out", str(out), *SMALL]) == 3
    return out


@pytest.fixture
def with_cohort(undisturbed: Path, tmp_path: Path) -> Path:
    """A new folder whose cohort and cache are there already."""
    shutil.copytree(undisturbed / "cohort-50-5", tmp_path / "out/cohort-50-5")
    return tmp_path / "out"
