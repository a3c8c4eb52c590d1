"""The statistics of whitening are taken without gradients."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bimcvr.models.retriever import Retriever
from helpers.toy_modules import PlainConv


class WatchedText(nn.Module):
    """Notes whether gradients are on."""

    dim = 4

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def forward(self, texts: list[str]) -> Tensor:
        self.seen.append(torch.is_grad_enabled())
        return torch.randn(len(texts), 4)


def test_training_texts_are_read_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimcvr.models.retriever.check_parts", lambda *_, **__: None)  # it needs a whole trainer
    text = WatchedText()
    model = Retriever(PlainConv(), text, embed_dim=4, whiten_text=True)
    gallery = SimpleNamespace(rows=[0, 1, 2], group=[0, 1, 2], same_text=[0, 1, 2], labels=[frozenset()] * 3)
    model._trainer = SimpleNamespace(  # type: ignore[assignment]
        world_size=1,
        datamodule=SimpleNamespace(
            gallery=lambda _: gallery,
            cutmix=0.0,
            views=[None],
            grid=None,
            batch_size=2,
            train_dataset=lambda: SimpleNamespace(reports=lambda: ["a", "b", "c"]),
        ),
    )
    model.on_fit_start()
    assert text.seen == [False]
