"""The verbs `fit`, `validate`, `test` and `predict`, all with LightningCLI's options."""

import json
from typing import Any

from pytorch_lightning import Trainer

from bimcvr.commands.stdout import say, width
from bimcvr.evaluation.text_table import format_result
from bimcvr.models.run_outputs import embeddings_path
from bimcvr.run_folder import is_first_process
from bimcvr.training.lightning_cli import RetrieverCLI, train


def fit(arguments: list[str]) -> int:
    """Train a retriever on a manifest.

    Args:
        arguments: the command line from the verb on.

    Returns:
        The exit code, 0.
    """
    return train(arguments, _PrintingCLI)


def validate(arguments: list[str]) -> int:
    """Score a checkpoint on the split `val`; arguments and exit code as of `fit`."""
    return train(arguments, _PrintingCLI)


def test(arguments: list[str]) -> int:
    """Score a checkpoint on the split `test` and print the result; arguments and exit code as of `fit`."""
    return train(arguments, _PrintingCLI)


def predict(arguments: list[str]) -> int:
    """Write a checkpoint's embeddings of any manifest; arguments and exit code as of `fit`."""
    return train(arguments, _PrintingCLI)


class _PrintingCLI(RetrieverCLI):
    """Prints where a run's files lie, and the result of a test."""

    def choose_folder(self) -> None:
        config = self.config[self.subcommand]
        resumes = config.ckpt_path == "last"
        super().choose_folder()
        if resumes and not config.ckpt_path and is_first_process():
            seed, experiment = config.seed_everything, self.run.parent
            say(f"No checkpoint of seed {seed} in {experiment} yet: starting from the beginning.")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        trainer = super().instantiate_trainer(**kwargs)
        if is_first_process():
            say(f"run folder: {self.run}")
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        super()._run_subcommand(subcommand)
        if subcommand == "fit" and is_first_process():
            say(self.remark())

    def after_test(self) -> None:
        super().after_test()
        if self.trainer.is_global_zero:
            result = json.loads(self.result_path.read_text(encoding="utf-8"))
            say(f"\n{format_result(result, width())}\n\nresult: {self.result_path}")

    def after_predict(self) -> None:
        if self.trainer.is_global_zero:
            say(f"embeddings: {embeddings_path(self.trainer)}")
