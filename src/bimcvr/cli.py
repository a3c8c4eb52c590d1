"""The command line, `bimcvr VERB`. A verb's module is imported only when the verb is called."""

import contextlib
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence

from bimcvr import __version__
from bimcvr.errors import UserError, printable, system_problem
from bimcvr.extras import MissingExtra
from bimcvr.presets import resolve_presets
from bimcvr.processes.lifeline import children_end_with_this_process, end_with_launcher
from bimcvr.processes.signals import STOPPED, Terminated, terminated_by_signal

# group: verb: (module:function, what it does)
GROUPS = {
    "Dataset": {
        "make-manifest": (
            "bimcvr.commands.dataset.make_manifest:make_manifest",
            "pair a folder of volumes with a table of reports",
        ),
        "label": ("bimcvr.commands.dataset.label:label", "write the findings that the reports state into a manifest"),
        "curate": (
            "bimcvr.commands.dataset.curate:curate",
            "turn an archive into a manifest: read, check, anonymise, translate, label, split",
        ),
        "review": (
            "bimcvr.commands.dataset.review:review",
            "answer the questions of curate's review queue, on a page of this machine",
        ),
        "audit": (
            "bimcvr.commands.dataset.audit:audit",
            "check every row of a manifest: flags with evidence, a page, the noise ceiling",
        ),
        "stats": (
            "bimcvr.commands.dataset.stats:stats",
            "describe a manifest: Table 1, samples, words, labels, splits, reviewers",
        ),
        "cache": (
            "bimcvr.commands.dataset.cache:cache",
            "resample a manifest's volumes to the model's grid ahead of training",
        ),
        "preview": (
            "bimcvr.commands.dataset.preview:preview",
            "draw what the model sees of a manifest, as a PNG sheet",
        ),
        "phantom": ("bimcvr.commands.dataset.phantom:phantom", "make a synthetic cohort of chest CTs with reports"),
    },
    "Training": {
        "fit": ("bimcvr.commands.training.train:fit", "train a retriever on a manifest"),
        "validate": ("bimcvr.commands.training.train:validate", "score a checkpoint on the validation split"),
        "test": (
            "bimcvr.commands.training.train:test",
            "score a checkpoint on the test split; write embeddings.npz and result.json",
        ),
        "predict": (
            "bimcvr.commands.training.train:predict",
            "write a checkpoint's embeddings of any manifest: embeddings_<manifest>.npz",
        ),
        "dry-run": (
            "bimcvr.commands.training.dry_run:dry_run",
            "estimate the parameters, memory, disk and time of a fit before it starts",
        ),
        "sweep": (
            "bimcvr.commands.training.sweep:sweep",
            "search hyper-parameters by a W&B sweep file: on W&B, or on this machine with --local",
        ),
    },
    "Evaluation": {
        "embed": (
            "bimcvr.commands.evaluation.embed:embed",
            "write the vectors of a scan or a manifest by published models or a checkpoint, with a receipt",
        ),
        "evaluate": (
            "bimcvr.commands.evaluation.evaluate:evaluate",
            "score any model's embeddings against a manifest; compare methods",
        ),
        "probes": (
            "bimcvr.commands.evaluation.probes:probes",
            "write the prompts and changed reports that a model of your own has to embed",
        ),
        "benchmark": (
            "bimcvr.commands.evaluation.benchmark:benchmark",
            "run a suite of experiments: Tables 1 to 4, figures, a page",
        ),
    },
    "Search": {
        "index": (
            "bimcvr.commands.search.index:index",
            "make a manifest's studies searchable, from a checkpoint or any model's embeddings",
        ),
        "search": ("bimcvr.commands.search.search:search", "find similar cases by text, volume, study or keyword"),
        "localise": (
            "bimcvr.commands.search.localise:localise",
            "say where in a volume a model looks for a text: a place in mm, a map as NIfTI",
        ),
        "serve": ("bimcvr.commands.search.serve:serve", "serve the search page and its API on this machine"),
    },
    "Help": {
        "doctor": (
            "bimcvr.commands.doctor:doctor",
            "check this machine: packages, weights, GPU, cache, checkpoint; say how to mend each failure",
        ),
        "demo": (
            "bimcvr.commands.demo:demo",
            "run the whole pipeline on a phantom cohort: make it, train, test, index, search",
        ),
    },
}
VERBS = {verb: entry for verbs in GROUPS.values() for verb, entry in verbs.items()}
LIGHTNING = ("fit", "dry-run", "validate", "test", "predict")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        arguments: the command line without the program's name; sys.argv by default.

    Returns:
        The exit code: 0 done, 1 failed, 2 usage, 3 done with items set aside, 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    end_with_launcher()
    _make_streams_safe()
    if arguments is None and not sys.flags.safe_path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # classes of the working folder, for the script as for `python -m`
    words = resolve_presets(list(sys.argv[1:] if arguments is None else arguments))
    foreign = next((word for word in words if not word.isprintable() and _is_no_text(word)), None)
    if foreign is not None:
        print(
            f"bimcvr: the word {foreign!a} has bytes that are not UTF-8. Type it in a UTF-8 terminal.", file=sys.stderr
        )
        return 2
    if not words or words[0] in ("-h", "--help", "help"):
        _show(_help())
        return 0 if words else 2
    if words[0] == "--version":
        _show(__version__)
        return 0
    verb = words[0]
    if verb not in VERBS:
        from bimcvr.suggest import did_you_mean

        print(
            f"There is no verb '{verb}'.{did_you_mean(verb, VERBS, 0.6)} `bimcvr --help` lists them all.",
            file=sys.stderr,
        )
        return 2
    try:
        with terminated_by_signal(), children_end_with_this_process(), _flushed():
            code = _run(verb, words)
        return code
    except MissingExtra as error:
        print(f"\nbimcvr {verb} {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        _close_stdout()
        print(f"\nbimcvr {verb}: the program that read its output has ended.", file=sys.stderr)
        return 1
    except (UserError, OSError, MemoryError) as error:
        told = _told(error)
        if not told:
            raise
        print(f"\nbimcvr {verb}: {printable(told)}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, Terminated) as stop:
        by = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        print(
            f"\nbimcvr {verb}: stopped by {by.name}. Run the same command again to resume where possible.",
            file=sys.stderr,
        )
        return STOPPED[by]


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    """Write what is printed before the block is left: a full disk or a closed pipe is told now, not by Python's end."""
    try:
        yield
    finally:
        if sys.stdout:
            sys.stdout.flush()


def _show(text: str) -> None:
    """Print a text that ends a call; a reader that has seen enough of it, as `head`, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _close_stdout()


def _close_stdout() -> None:
    """Let nothing be written to a pipe that nobody reads: Python's own flush at the end would fail over it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_no_text(word: str) -> bool:
    """Return whether a word has bytes in no encoding that Python knows it by, and is not the name of a file either."""
    return any("\udc80" <= letter <= "\udcff" for letter in word) and not os.path.exists(word.partition("=")[2] or word)


def _told(error: Exception) -> str:
    """Return an error as the user reads it; empty for one that is a fault of this program."""
    if isinstance(error, MemoryError):
        return f"There is not enough memory ({error}). Use smaller batches or fewer processes at a time."
    if isinstance(error, OSError):
        return system_problem(error) if error.errno is not None else ""
    return str(error)


def _make_streams_safe() -> None:
    """Let a stream that is not UTF-8 show what it cannot write as an escape, instead of ending the verb."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def verb_function(verb: str) -> Callable[..., int]:
    """Import and return the function of a verb."""
    module, name = VERBS[verb][0].split(":")
    function: Callable[..., int] = getattr(importlib.import_module(module), name)
    return function


def _run(verb: str, words: list[str]) -> int:
    if verb in LIGHTNING and (done := _before_lightning(verb, words[1:])) is not None:
        return done
    function = verb_function(verb)
    # joblib replaces a worker whose memory has grown, as it does while reading volumes, and loses none of its work
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given to the executor")
    if verb in LIGHTNING:
        return function([verb, "--help"] if "--help-all" in words else words)
    from bimcvr.parsing.option_parser import call_with_options

    return call_with_options(function, verb, words[1:])


def _before_lightning(verb: str, words: list[str]) -> int | None:
    """Answer `--help`, and refuse what is certainly wrong, without the seconds that Lightning's import takes."""
    early = importlib.import_module("bimcvr.commands.training.early_check")
    if "--help" in words or "-h" in words:
        _show(early.common_options(verb, VERBS[verb][1]))
        return 0
    if "--help-all" not in words:
        early.refuse_early(verb, words)
    return None


def _help() -> str:
    groups = (
        "\n".join([f"{group}:", *(f"  {verb:<13} {summary}" for verb, (_, summary) in verbs.items())])
        for group, verbs in GROUPS.items()
    )
    return "\n\n".join(
        [
            "usage: bimcvr VERB [options]",
            "Retrieval between 3D CT volumes and radiology reports.",
            *groups,
            "`bimcvr VERB --help` lists a verb's options. `python -m bimcvr` is the same program.",
        ]
    )
