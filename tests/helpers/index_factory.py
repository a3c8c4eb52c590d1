"""Small indexes made of made-up studies, and a text encoder that needs no weights."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bimcvr.contracts import Prompts
from bimcvr.metrics.prompts import prompt_sentences
from bimcvr.models.embedder import FileVector
from bimcvr.search.index.schema import StudyRecord
from bimcvr.search.index.writer import IndexWriter
from helpers.toy_modules import HashText

DIM = 16
FINDINGS = ("pleural effusion", "atelectasis", "nodule", "emphysema")


class WordEncoder:
    """A bag-of-words encoder with the interface of `Embedder`."""

    affirm = ("There is {}.", "{} is seen.")

    def __init__(self) -> None:
        self._text = HashText(DIM)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._text([text.lower().replace(".", "") for text in texts]).numpy()

    def encode_file(self, path: Path) -> FileVector:
        return FileVector(vector_of(path.name), "Half of it is cut away." if path.name.startswith("cut") else "")


def vector_of(name: str) -> np.ndarray:
    """A vector that is a function of a name."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def study(name: str, version: int = 0, **cells: str) -> StudyRecord:
    """A study whose vectors and report follow from its name and version."""
    number = int(name[1:])
    finding, denied = FINDINGS[number % 4], FINDINGS[(number + 1) % 4]
    report = f"There is {finding}. No {denied} in case{number} version{version}."
    row = {
        "study_id": name,
        "volume": f"{name}.nii.gz",
        "report": report,
        "patient_id": f"p{number // 2}",
        "age": str(20 + number),
        "source": "phantom",
    } | cells
    text = WordEncoder().embed_texts([row["report"]])[0]
    pictures = {"axial": b"a" + name.encode(), "coronal": b"c", "sagittal": b"s"}
    return StudyRecord(
        row,
        vector_of(f"{name}i{version}"),
        text,
        (finding,),
        f"/data/{name}.nii.gz",
        {"native_spacing": [1.0, 0.7, 0.7]},
        pictures,
        f"c{version}",
        f"v{version}",
    )


def prompts() -> Prompts:
    """The prompts of all findings."""
    sentences, of, denies = prompt_sentences(FINDINGS, WordEncoder.affirm)
    return Prompts(sentences, of, denies, torch.from_numpy(WordEncoder().embed_texts(sentences)))


def make_index(folder: Path, studies: Sequence[StudyRecord], with_prompts: bool = True) -> Path:
    """Write an index in one go."""
    with IndexWriter(folder, DIM, {"split": "all"}) as writer:
        writer.put(studies)
        writer.finish({}, {}, prompts() if with_prompts else None)
    return folder
