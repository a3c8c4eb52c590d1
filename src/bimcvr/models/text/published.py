"""What a model's folder says about its texts, in sentence-transformers' files: modules, pooling, length, prompts."""

import json
from pathlib import Path
from typing import Any, Literal, cast

from bimcvr.errors import UserError
from bimcvr.hub import REPAIR

Pooling = Literal["mean", "cls", "lasttoken"]

LEAST_TOKENS = 3

_RUN = ("Transformer", "Pooling", "Normalize")
# of the transformer's module; the first that is there counts, as there
_SETTINGS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
# arguments that sentence-transformers would pass on to the library that loads model and tokenizer
_ARGUMENTS = ("model_args", "tokenizer_args", "config_args", "model_kwargs", "processor_kwargs", "config_kwargs")


class Published:
    """The settings that a model was published with.

    Args:
        top: the model's folder.
        transformer: the folder of config.json, weights and tokenizer: the same, or below it in older layouts.

    Raises:
        UserError: a file is damaged, or asks for something that is not done here.
    """

    def __init__(self, top: Path, transformer: Path) -> None:
        self._top = top
        self._modules = _modules(top)
        files = (transformer / f"sentence_{name}_config.json" for name in _SETTINGS)
        self._settings_file = next(
            (path for path in files if path.is_file()), transformer / "sentence_bert_config.json"
        )
        self._settings: dict[str, Any] = _json(self._settings_file, {})
        for key in _ARGUMENTS:
            if self._settings.get(key):
                raise self._refusal(self._settings_file, f"passes {key} on to the library that loads it")
        described = top / "config_sentence_transformers.json"
        if _json(described, {}).get("truncate_dim") is not None:
            raise self._refusal(described, "keeps a part of each vector only (truncate_dim)")
        for folder in {top, transformer}:
            if (folder / "adapter_config.json").is_file():
                raise self._refusal(folder / "adapter_config.json", "is an adapter to the weights of another one")
        if self._settings.get("transformer_task", "feature-extraction") != "feature-extraction":
            raise self._refusal(self._settings_file, f"is for {self._settings['transformer_task']}")

    def lower_case(self) -> bool:
        """Return whether texts are lowercased before they are cut into tokens."""
        return bool(self._settings.get("do_lower_case"))

    def length(self) -> int | None:
        """Return how many tokens of a text are read, None where the folder does not say."""
        length = self._settings.get("max_seq_length")
        if length is not None and (type(length) is not int or length < LEAST_TOKENS):
            raise UserError(
                f"{self._settings_file}: max_seq_length is {length!r}; a whole number from {LEAST_TOKENS} is needed: a"
                f" word between two marks. {REPAIR}"
            )
        return length

    def prompt(self, wanted: str | None = None) -> str:
        """Return what is put before every text.

        Args:
            wanted: the name of one of the folder's prompts; None takes its default prompt, if it has one.

        Raises:
            UserError: it has no such prompt.
        """
        path = self._top / "config_sentence_transformers.json"
        config: dict[str, Any] = _json(path, {})
        name, prompts = config.get("default_prompt_name"), config.get("prompts") or {}
        if wanted is not None and wanted not in prompts:
            known = f"its prompts are {', '.join(sorted(prompts))}" if prompts else "it has none"
            raise UserError(
                f"{path}: the model has no prompt named '{wanted}' ({known}). Give one of them as `prompt_name`, or"
                " the words themselves as `prompt`."
            )
        name = wanted or name
        if name is None:
            return ""
        if name not in prompts:
            raise self._refusal(path, f"has the default prompt '{name}', which is not among its prompts")
        self.refuse_prompt_left_out(path)
        return str(prompts[name])

    def refuse_prompt_left_out(self, path: Path | None = None) -> None:
        """Refuse a prompt where the folder's pooling leaves its tokens out.

        Args:
            path: the file that has the prompt; the pooling's own where the user gave it.

        Raises:
            UserError: its pooling does.
        """
        if not self._pooling_config().get("include_prompt", True):
            raise self._refusal(path or self._pooling_file(), "has a prompt that its pooling leaves out")

    def normalizes(self) -> bool:
        """Return whether vectors are scaled to length 1."""
        return "Normalize" in self._modules

    def pooling(self) -> Pooling:
        """Return how the tokens of a text become one vector: by their mean where the folder does not say."""
        config = self._pooling_config()
        if "pooling_mode" in config:
            mode = config["pooling_mode"]
            modes = mode if isinstance(mode, list) else [mode]
        else:  # as older versions of sentence-transformers wrote it: one switch a mode
            switches = {
                "pooling_mode_mean_tokens": "mean",
                "pooling_mode_cls_token": "cls",
                "pooling_mode_lasttoken": "lasttoken",
            }
            chosen = [key for key, on in config.items() if key.startswith("pooling_mode_") and on]
            modes = [switches.get(key, key) for key in chosen]
        if modes and modes not in (["mean"], ["cls"], ["lasttoken"]):
            raise UserError(
                f"{self._pooling_file()} asks for the pooling {' and '.join(modes)}, which is not supported here."
                " Choose a model that pools by mean, cls or lasttoken, or set `pooling`."
            )
        return cast(Pooling, modes[0] if modes else "mean")

    def _pooling_file(self) -> Path:
        return self._modules.get("Pooling", self._top / "1_Pooling") / "config.json"

    def _pooling_config(self) -> dict[str, Any]:
        return cast(dict[str, Any], _json(self._pooling_file(), {}))

    def _refusal(self, path: Path, what: str) -> UserError:
        return UserError(f"{path}: the model {what}, which is not supported here. Choose another model.")


def transformer_folder(model: str) -> str:
    """Return where a model's config and weights lie: in older layouts in a folder below the model's, 0_Transformer.

    Args:
        model: a folder, or a hub id, which is returned as it is.
    """
    top = Path(model).expanduser()
    below = _modules(top).get("Transformer", top) if top.is_dir() else top
    return model if below == top else str(below)


def _modules(folder: Path) -> dict[str, Path]:
    """Read the list of sentence-transformers modules, and refuse those that are not run here."""
    path = folder / "modules.json"
    try:
        modules = {str(module["type"]).rsplit(".", 1)[-1]: folder / str(module["path"]) for module in _json(path, [])}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is no list of modules with `type` and `path`. {REPAIR}") from error
    unknown = sorted(set(modules) - set(_RUN))
    if unknown:
        raise UserError(
            f"The model in {folder} has a module of the kind {unknown[0]}, which is not "
            "supported here. Choose one made of Transformer, Pooling and Normalize only."
        )
    if list(modules) != [name for name in _RUN if name in modules]:
        raise UserError(
            f"{path} runs its modules in the order {', '.join(modules)}, which is not supported here. Choose a model of"
            " Transformer, Pooling and Normalize in this order."
        )
    return modules


def _json(path: Path, absent: Any) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else absent
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}). {REPAIR}") from error
    if type(content) is not type(absent):
        raise UserError(f"{path} holds no {'list' if isinstance(absent, list) else 'mapping'}. {REPAIR}")
    return content
