"""The weights of another run, with which a new one begins."""

from pathlib import Path

from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.errors import UserError
from bimcvr.models.checkpoint import read_checkpoint
from bimcvr.models.retriever import Retriever


def load_initial_weights(checkpoint: Path, model: Retriever, data: CTReportDataModule) -> None:
    """Load the weights of a checkpoint, and nothing else of its run but which rows they were trained on.

    Args:
        checkpoint: a checkpoint of `fit`.
        model: the model of the new run.
        data: its data module.

    Raises:
        UserError: the file is absent or no checkpoint, or its model has other parts.
    """
    content = read_checkpoint(checkpoint, mmap=False)
    weights = content["state_dict"]
    data.load_trained_rows(content.get(CTReportDataModule.__qualname__, {}))
    weights.pop("first_sd", None)  # a statistic of the first steps of a run, by which a collapse is noticed
    own = {name: value for name, value in model.state_dict().items() if name != "first_sd"}
    odd = sorted(own.keys() ^ weights.keys()) or [name for name in own if own[name].shape != weights[name].shape]
    if odd:
        shapes = [str(list(part[odd[0]].shape)) if odd[0] in part else "absent" for part in (weights, own)]
        raise UserError(
            f"The weights of {checkpoint} are those of another model: {len(odd)} tensors differ, among them {odd[0]}"
            f" ({shapes[0]} there, {shapes[1]} here). Give the new run the same `model` settings as that run's"
            " config.yaml has."
        )
    model.load_state_dict(weights, strict=False)
