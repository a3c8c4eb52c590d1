"""What Lightning, torch and W&B raise for a setting, a machine or a signal, as one message or the right exit code."""

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException

from bimcvr.errors import UserError

_RUNTIME_ERRORS = {
    "DataLoader worker": (
        "A process that loads data was killed, as the system does when the memory is full. Continue with --checkpoint"
        " last, with a smaller data.num_workers or a machine with more memory."
    ),
    "parameters that were not used in producing the loss": (
        "A part of the model has parameters that the loss does not depend on, so that the processes wait for their"
        " gradients: freeze them (requires_grad_(False)), or set trainer.strategy to ddp_find_unused_parameters_true."
    ),
    "backward through the graph a second time": (
        "A part of the model keeps tensors of an earlier step together with how they were computed. Keep them by"
        " `detach()`."
    ),
    "does not have a deterministic implementation": "{message}",
}
"""Texts by which errors of torch are known, and what they mean here."""

_REFUSED = "Lightning refuses these settings: {message}"


@contextlib.contextmanager
def settings_refused() -> Iterator[None]:
    """Turn what the Trainer and its parts raise, when they are made, into one message.

    Raises:
        UserError: a setting is wrong, or a package that it needs is absent.
    """
    try:
        yield
    except UserError:
        raise
    except (MisconfigurationException, ValueError, TypeError, AttributeError, ImportError) as error:
        raise UserError(f"The trainer cannot be made of these settings: {_last_reason(str(error))}") from error


@contextlib.contextmanager
def run_errors() -> Iterator[None]:
    """Turn what a run raises for its settings or its machine into one message, and leave mistakes of code alone.

    Raises:
        UserError: a setting is wrong, memory is full, a worker was killed, or W&B does not take the run.
        KeyboardInterrupt: Ctrl-C, for which Lightning exits with 1.
    """
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise
    except torch.OutOfMemoryError as error:
        raise UserError(
            "The GPU's memory is full. Lower data.batch_size (or data.eval_batch_size, if this happened in an"
            " evaluation), or set trainer.precision to bf16-mixed; `dry-run` estimates what fits."
        ) from error
    except RuntimeError as error:
        found = next((meaning for begin, meaning in _RUNTIME_ERRORS.items() if begin in str(error)), None)
        if found is None and not _raised_by_lightning(error):
            raise
        raise UserError((found or _REFUSED).format(message=_one_line(error))) from error
    except Exception as error:
        wandb = sys.modules.get("wandb.errors")  # imported where a run logs to it
        if wandb is not None and isinstance(error, wandb.Error):
            raise UserError(
                f"W&B does not take this run ({_one_line(error)}). Log in with `wandb login`, or unset WANDB_MODE to"
                " keep the log on this machine."
            ) from error
        if str(error).startswith("Does not validate against any of the Union subtypes"):
            # the parser's way to say that a class could not be made, such as a logger whose package is absent
            raise UserError(
                f"The configuration names something that cannot be made: {_last_reason(str(error))}"
            ) from error
        if _raised_by_lightning(error):
            raise UserError(_REFUSED.format(message=_one_line(error))) from error
        if isinstance(error, UserError | MemoryError) or (made := _being_made(error)) is None:
            raise
        raise UserError(
            f"{made.__module__}.{made.__qualname__}, which the configuration names, cannot be made:"
            f" {type(error).__name__}: {_one_line(error)}"
        ) from error


def _being_made(error: Exception) -> type | None:
    """Return the class whose constructor raised an error, where the parser was making a part; the innermost."""
    made = [
        frame.f_locals.get("class_type")
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "made"
    ]
    named = [item for item in made if isinstance(item, type) and not item.__module__.startswith("bimcvr.data.loading")]
    return named[-1] if named else None


def _raised_by_lightning(error: Exception) -> bool:
    """Return whether Lightning itself refuses something, rather than code that it calls."""
    if not isinstance(error, MisconfigurationException | RuntimeError | ValueError | TypeError | ImportError):
        return False
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return modules[-1].startswith(("pytorch_lightning.", "lightning_fabric."))


def _last_reason(text: str) -> str:
    """Return what went wrong at last, where a parser lists all types that a value is not."""
    reasons = re.findall(r"Problem with given class_path '([\w.]+)':\s*([^\n]+)", text)
    return f"{reasons[-1][0]}: {reasons[-1][1]}" if reasons else _one_line(text)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:500]
