"""Parts and callbacks that would lose their training, or end in a traceback: one message before the first step."""

import pytest

from bimcvr.cli import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model.volume_encoder", "UnregisteredConv"], "are no parameters of it"),
        (["--model.volume_encoder", "DetachedConv"], "does not depend on them"),
        (["--model.volume_encoder", "DoubleConv"], "DoubleConv (model.volume_encoder) returned float64"),
        (
            ["--model.volume_encoder", "BrokenConv"],
            "BrokenConv, which the configuration names, cannot be made: KeyError",
        ),
        (
            ["--model.volume_encoder", "FixedBatchConv"],
            "FixedBatchConv (model.volume_encoder) failed on a tensor (8, 1,",
        ),
        (["--model.volume_encoder", "StatefulConv"], "volume_encoder._extra_state is dict"),
        (["--trainer.callbacks", "PathKeeper"], "the state of PathKeeper could not be read again"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_it_is_told(tiny_config: list[str], capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    option, name = words
    assert main(["fit", *tiny_config, option, f"helpers.toy_modules.{name}"]) == 1
    assert told in " ".join(capsys.readouterr().err.split())
