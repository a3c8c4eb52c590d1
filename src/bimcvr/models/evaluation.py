"""Writing what `test` and `predict` leave in the run folder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pytorch_lightning import Trainer
from torch import Tensor

from bimcvr.contracts import Gallery
from bimcvr.files import write_json
from bimcvr.metrics.embeddings import Embeddings, save_embeddings
from bimcvr.metrics.result import build_result
from bimcvr.provenance import git_commit, peak_memory_mb, versions


@dataclass(frozen=True)
class Outputs:
    """The embeddings of one evaluation.

    Attributes:
        gallery: the rows.
        image: (N, E) float32.
        text: (N, E) float32.
        prompts: P pairs of a label and the sentence that asks for it.
        prompt: (P, E) float32, None without prompts.
    """

    gallery: Gallery
    image: Tensor
    text: Tensor
    prompts: list[tuple[str, str]]
    prompt: Tensor | None


def write_outputs(outputs: Outputs, trainer: Trainer, facts: dict[str, object] | None) -> None:
    """Write `embeddings.npz`, and `result.json` where there are facts for it, into the run folder.

    Args:
        outputs: the embeddings.
        trainer: its `default_root_dir` is the run folder.
        facts: what the result says about the run (checkpoint, encoder, seconds); None writes no result.
    """
    folder = Path(trainer.default_root_dir)
    save_embeddings(folder / "embeddings.npz", _as_embeddings(outputs))
    if facts is None:
        return
    result = build_result(outputs.image, outputs.text, outputs.gallery, outputs.prompts, outputs.prompt)
    result["about"] = {
        **outputs.gallery.description, **facts, "git_commit": git_commit(), "versions": versions(), "peak_memory_mb": peak_memory_mb(),
        "config": str(folder / "config.yaml"), "device": trainer.strategy.root_device.type, "processes": trainer.world_size,
    }
    write_json(folder / "result.json", result)


def _as_embeddings(outputs: Outputs) -> Embeddings:
    prompted = outputs.prompt is not None
    return Embeddings(
        study_id=np.array(outputs.gallery.study_id, dtype=np.str_),
        image=outputs.image.numpy(),
        text=outputs.text.numpy(),
        prompt=np.array([sentence for _, sentence in outputs.prompts], dtype=np.str_) if prompted else None,
        prompt_label=np.array([label for label, _ in outputs.prompts], dtype=np.str_) if prompted else None,
        prompt_embedding=outputs.prompt.numpy() if outputs.prompt is not None else None,
    )
