"""All training reports as negatives: what a batch of all of them would give, and what is refused."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bimcvr.cli import main
from bimcvr.contracts import Gallery
from bimcvr.errors import UserError
from bimcvr.models.losses.loss_inputs import LossInputs
from bimcvr.models.losses.objective import Objective, similarity, soft_target
from bimcvr.models.losses.training_targets import TrainingTargets
from bimcvr.models.retriever import Retriever
from helpers.cli import newest_run
from helpers.toy_modules import HashText, PlainConv

ROWS = np.array([3, 4, 7, 8, 9, 12, 15])
WORDS = ["a b", "c d", "a b", "e f", "g h", "c d", "i j"]
# the last row has row 3's report by its id, in other words
GROUP = np.array([0, 1, 2, 3, 4, 5, 0])
BATCH = torch.tensor([0, 1, 4])


def model_of(**options: object) -> Retriever:
    torch.manual_seed(0)
    objective = Objective(consistency=0.0, temperature=0.2, double_reports=False, **options)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Retriever(PlainConv(), HashText(), objective=objective, embed_dim=12)
    nothing = np.zeros(7, bool)
    same = np.unique(WORDS, return_inverse=True)[1]
    names = [str(row) for row in ROWS]
    gallery = Gallery(ROWS, names, GROUP, same, nothing, nothing, names, [frozenset()] * 7, {})
    reports = model.text_encoder(WORDS) if objective.all_reports else None
    model._inputs = LossInputs(objective, TrainingTargets(gallery), model.prompts, model.map_text, reports)
    return model


def loss_of(model: Retriever, target: Tensor | None = None) -> Tensor:
    views = torch.rand(7, 1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(1))[BATCH]
    texts = [WORDS[place] for place in BATCH]
    return model.training_forward(views, texts, target, torch.as_tensor(ROWS)[BATCH]).losses["loss"]


@pytest.mark.parametrize("mixed", [False, True])
def test_it_is_the_loss_against_the_texts_of_all_rows(mixed: bool) -> None:
    target = soft_target(torch.tensor([1, 0, 2]), torch.tensor([0.7, 0.6, 1.0])) if mixed else None
    model = model_of(all_reports=True)
    views = torch.rand(7, 1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(1))[BATCH]
    vectors = model._volume_vectors(views)
    cosines = (
        torch.nn.functional.normalize(vectors.image, dim=-1)
        @ torch.nn.functional.normalize(model.map_text(WORDS), dim=-1).T
    )
    # by hand: rows 0, 2 and 6 have one report, rows 1 and 5 another
    doubles = {0: {2, 6}, 1: {5}, 4: set()}
    slow = torch.zeros(())
    for row, own in enumerate(BATCH.tolist()):
        right = {own: 1.0} if target is None else {int(BATCH[j]): float(target[row, j]) for j in range(3)}
        left_out = set().union(*(doubles[place] for place, share in right.items() if share > 0))
        scores = {place: (cosines[row, place] / 0.2).exp() for place in range(7) if place not in left_out}
        slow = slow - sum(share * (scores[place] / sum(scores.values())).log() for place, share in right.items()) / 3
    assert loss_of(model, target).item() == pytest.approx(slow.item(), rel=1e-5)
    assert loss_of(model_of(), target).item() < slow.item()


def test_the_map_of_texts_learns_from_all_of_them() -> None:
    gradients = []
    for on in (False, True):
        model = model_of(all_reports=on)
        loss_of(model).backward()
        gradients.append(model.project_text.weight.grad)
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4
    # as one batch's columns
    image, text = torch.rand(2, 5), torch.rand(6, 5, requires_grad=True)
    similarity(image, text[:2], 5.0, None, None, text[2:], torch.zeros(2, 4, dtype=torch.bool)).backward()
    other = text.detach().requires_grad_()
    similarity(image, torch.cat([other[:2], other[2:]]), 5.0).backward()
    assert text.grad is not None
    torch.testing.assert_close(text.grad, other.grad)


def test_double_reports_would_be_negatives_of_themselves() -> None:
    with pytest.raises(UserError, match=r"set model\.objective\.double_reports to false"):
        Objective(all_reports=True)


def test_a_run_with_it(tiny_config: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*tiny_config, "--model.objective.double_reports", "false", "--trainer.max_epochs", "1"]
    on = ["--model.objective.all_reports", "true"]
    weights = []
    for name, options in (("off", []), ("on", on), ("alone", [*on, "--data.batch_size", "1"])):
        assert main(["fit", *words, *options, "--runs", str(tmp_path / name)]) == 0
        run = newest_run(tmp_path / name)
        weights.append(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert weights[0].keys() == weights[1].keys()  # no report is in a checkpoint
    assert not torch.equal(weights[0]["project_text.weight"], weights[1]["project_text.weight"])
    capsys.readouterr()
    assert main(["dry-run", *words, *on]) == 0
    assert "the features of 16 training reports" in capsys.readouterr().out
    with pytest.warns(UserWarning, match=r"parts of a study's report \(ContiguousSampler\)"):
        assert main(["fit", *words, *on, "--data.text_sampler", "bimcvr.data.ContiguousSampler"]) == 0
    (tmp_path / "tuned.yaml").write_text("model: {text_encoder: helpers.toy_modules.LearnedText}")
    assert main(["fit", *words, *on, "--config", str(tmp_path / "tuned.yaml")]) == 1
    assert "needs a text encoder that is not trained" in capsys.readouterr().err
