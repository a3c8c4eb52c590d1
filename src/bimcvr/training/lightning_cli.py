"""LightningCLI over Retriever and CTReportDataModule: what fit, validate, test and predict share."""

import json
import os
import signal
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar

import yaml
from pytorch_lightning import Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, _InstantiatorFn
from pytorch_lightning.loggers import WandbLogger

from bimcvr.atomic_files import require_room, write_json
from bimcvr.data.loading.datamodule import CTReportDataModule
from bimcvr.errors import UserError
from bimcvr.models.retriever import Retriever
from bimcvr.parsing.config_errors import config_files, explain, read_config, value_of
from bimcvr.parsing.home import expand_home
from bimcvr.parsing.option_parser import CONFIG_HELP, complete_switches, rename_options, switches_of
from bimcvr.parsing.trust import names_in, only_trusted, split_trust
from bimcvr.phantom.oracle import phantom_ceiling
from bimcvr.processes.signals import Terminated
from bimcvr.run_folder import (
    choose_run,
    config_beside,
    is_first_process,
    leave_run,
    needs_checkpoint,
    newest_checkpoint,
    refuse_experiment,
    refuse_without_checkpoint,
    remove_empty_run,
    run_in_use,
)
from bimcvr.training.checkpoints import RunCheckpoints, SafeCheckpointIO, missing_checkpoints, progress_of
from bimcvr.training.initial_weights import load_initial_weights
from bimcvr.training.lightning_errors import run_errors, settings_refused
from bimcvr.training.output.run_page import next_steps, write_run_page
from bimcvr.training.preflight import Faults, check_fit, check_window, make_labels, refuse_other_folders
from bimcvr.training.quiet import quieten, summary_of_parts
from bimcvr.training.resume import (
    nothing_left,
    recorded_start,
    refuse_other_folder,
    refuse_other_labels,
    refuse_other_rows,
    refuse_other_settings,
)
from bimcvr.training.run_record import RunRecord, run_loggers
from bimcvr.training.run_seed import refuse_other_seed
from bimcvr.training.split_guard import SplitGuard
from bimcvr.training.terminated import EndOnSigterm
from bimcvr.training.trainer_options import log_every_epoch, unsupported
from bimcvr.training.wandb_examples import WandbExamples

_HELP = {
    "config": CONFIG_HELP,
    # jsonargparse would take a file of the group's settings; `command_line` makes it --ckpt_path
    "checkpoint": "the checkpoint of a trained model: a file, or `best` or `last` of the experiment's newest run",
}

CLI = TypeVar("CLI", bound="RetrieverCLI")


def train(arguments: list[str], kind: "type[RetrieverCLI] | None" = None) -> int:
    """Run one of fit, validate, test and predict with LightningCLI's options; nothing is printed but progress.

    Args:
        arguments: the command line from the verb on.
        kind: the command line's class, where a command adds to it; RetrieverCLI by default.

    Returns:
        The exit code, 0.

    Raises:
        UserError: the configuration is wrong, or the verb cannot do its work.
    """
    try:
        with run_errors():
            cli = command_line(arguments, kind or RetrieverCLI)
    except UserError:
        remove_empty_run()
        raise
    except OSError as error:
        # Lightning's loggers leave a run's files open, whose errors name none
        if error.errno is not None and error.filename is None:
            error.filename = str(run_in_use())
        remove_empty_run()
        raise
    finally:
        leave_run()
    for logger in cli.trainer.loggers:
        if isinstance(logger, WandbLogger) and cli.trainer.is_global_zero:
            logger.experiment.finish()  # else a second verb in this process would log into the first one's run
    return 0


def command_line(arguments: list[str], kind: type[CLI]) -> CLI:
    """Parse a verb's arguments and run it.

    Args:
        arguments: the command line from the verb on.
        kind: RetrieverCLI, or a class derived from it.

    Returns:
        The command line's object, with `model`, `datamodule` and, unless `kind` makes none, `trainer`.

    Raises:
        UserError: the configuration is wrong, or the verb cannot do its work.
    """
    # a sweep's agent gets its runs from the server alone
    os.environ.setdefault("WANDB_MODE", "online" if "WANDB_SWEEP_ID" in os.environ else "offline")
    os.environ.setdefault("WANDB_SILENT", "true")
    quieten()
    arguments = complete_switches(rename_options(arguments, {"--checkpoint": "--ckpt_path"}), kind.switches())
    arguments, found = _with_own_config(arguments)
    for path in config_files(arguments):
        read_config(path)  # what is no YAML is told in one message
    if found is None:
        return _run(arguments, kind)
    trust = [*split_trust(value_of("--trust", arguments) or ""), *names_in(arguments)]
    with only_trusted(found, read_config(found), trust):
        return _run(arguments, kind)


def _run(arguments: list[str], kind: type[CLI]) -> CLI:
    _Parser.created.clear()
    _Parser.words = arguments
    try:
        return kind(
            Retriever,
            CTReportDataModule,
            save_config_callback=RunRecord,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults={"num_sanity_val_steps": 0, "log_every_n_steps": 10},
            seed_everything_default=0,
            parser_class=_Parser,
            auto_configure_optimizers=False,
            args=arguments,
        )
    except ValueError as error:
        if isinstance(error.__cause__, UserError):  # a part of several possible types refuses its arguments
            raise error.__cause__ from error
        raise


class RetrieverCLI(LightningCLI):
    """LightningCLI with one folder a run, and flags that beat a checkpoint's hyper-parameters."""

    @classmethod
    def switches(cls) -> frozenset[str]:
        """Return the options that are true or false, without Lightning's own: each may stand alone."""
        own = frozenset({"--log_examples", "--allow_trained_rows"})
        return own | switches_of(CTReportDataModule, "data.") | switches_of(Retriever, "model.")

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning's is static, and called on self
        """Return the verb that is called, alone: a parser of all options takes a tenth of a second to build."""
        called = _Parser.words[0]
        return {called: LightningCLI.subcommands()[called]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's folder and the choice of checkpoints."""
        parser.add_argument(
            "--experiment", type=str, default="run", help="the name of the experiment: its folder in `runs`"
        )
        parser.add_argument("--runs", type=str, default="runs", help="the folder of all runs")
        parser.add_argument(
            "--log_examples",
            type=bool,
            default=False,
            help="put slices and report text into W&B's table of examples, not only study ids and labels",
        )
        parser.add_argument(
            "--trust",
            type=str,
            default="",
            help="classes, modules or packages of others whose code a checkpoint may run, with commas between",
        )
        parser.add_argument(
            "--allow_trained_rows",
            type=bool,
            default=False,
            help="evaluate rows that the model was trained on; the result then says how many there are",
        )
        parser.add_argument(
            "--init_from",
            type=str | None,
            default=None,
            help="a checkpoint whose weights a new `fit` begins with; its run stays as it is",
        )
        parser.add_lightning_class_args(RunCheckpoints, "checkpoint")
        for action in parser._actions:
            action.help = _HELP.get(action.dest, action.help)
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)

    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's hyper-parameters beat the flags. Here the config and the flags decide.
        pass

    def _set_seed(self) -> None:
        config = self.config[self.subcommand]
        seed = config.seed_everything
        if isinstance(seed, bool) or not 0 <= seed < 2**32:
            raise UserError(
                f"seed_everything is {str(seed).lower()}: a run has a seed, by which it can be made again. Give a"
                " number from 0 to 4294967295."
            )
        refuse_other_seed(_Parser.words, seed)
        super()._set_seed()

    def _add_instantiators(self) -> None:
        super()._add_instantiators()
        self.faults = Faults()

        for key, kind in (("model", Retriever), ("data", CTReportDataModule)):
            make = self.faults.maker(_InstantiatorFn(cli=self, key=key))
            self.parser.add_instantiator(make, kind, subclasses=False)
        self.parser.add_instantiator(self.faults.made, object)

    def before_instantiate_classes(self) -> None:
        """Look for what is wrong with the settings alone."""
        verb = str(self.subcommand)
        self._look_at_settings()
        if verb != "fit":
            self.faults.tell()
            self.choose_folder()

    def _look_at_settings(self) -> None:
        config = expand_home(self.config[verb := str(self.subcommand)])
        if verb != "fit" and value_of("--init_from", _Parser.words) is not None:
            self.faults.add([f"--init_from is the start of a new `fit`; {verb} takes its weights by --checkpoint."])
        self.faults.of(refuse_other_folders, config)
        self.faults.of(refuse_experiment, config.experiment)
        self.faults.add(unsupported(config.trainer, trains=verb == "fit"))

    def instantiate_classes(self) -> None:
        """Make model, data and trainer; of a `fit` all that is wrong is told before its folder is made."""
        with self.faults.told_first():
            self.config_init = self.parser.instantiate(self.config)
        self.datamodule, self.model = self._get(self.config_init, "data"), self._get(self.config_init, "model")
        self.look_ahead()
        self.faults.tell()
        make_labels(self.datamodule)
        self.start()

    def look_ahead(self) -> None:
        """Look for all that would end a `fit` later."""
        if self.subcommand == "fit":
            made = self.config_init["fit"]
            callbacks = [*_as_list(made.trainer.callbacks), *_as_list(made.checkpoint)]
            self.kept = check_fit(self.faults, self.model, self.datamodule, self.config["fit"].trainer, callbacks)

    def start(self) -> None:
        """Make the run's folder and the trainer."""
        if self.subcommand == "fit":
            self.choose_folder()
            for name in ("ckpt_path", "init_from"):
                self.config_init["fit"][name] = self.config["fit"][name]
        self._add_configure_optimizers_method_to_model(self.subcommand)
        self.trainer = self.instantiate_trainer()

    def choose_folder(self) -> None:
        """Decide the run folder and the checkpoint."""
        verb = str(self.subcommand)
        config = self.config[verb]
        self.run, config.ckpt_path = choose_run(
            verb, config.ckpt_path, Path(config.runs), config.experiment, int(config.seed_everything)
        )
        self.complete = False
        if verb == "fit" and config.ckpt_path:
            given = {name: config[name] for name in ("runs", "experiment") if value_of(f"--{name}", _Parser.words)}
            refuse_other_folder(self.run, **given)
            config.init_from = recorded_start(self.run, config.init_from)
            settings = yaml.safe_load(self._parser("fit").dump(config, skip_none=False))
            refuse_other_settings(self.run, settings)
            self.complete = nothing_left(self.run, progress_of(Path(config.ckpt_path)), settings)
        if verb == "test":
            config.verbose = False  # the command prints the result as a table

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer, with the run folder, loggers that need no login and checkpoints written atomically."""
        refuse_without_checkpoint(str(self.subcommand), self.config[self.subcommand].ckpt_path, self.model.zero_shot())
        check_window(self.model, self.datamodule)
        if self.subcommand == "fit":
            trained = sum(part.numel() * part.element_size() for part in self.model.parameters() if part.requires_grad)
            if is_first_process():
                # best, last and the one that is being written; the optimiser's states come on top
                require_room(self.run, 3 * trained, "the run's checkpoints")
            if resumed := self.config["fit"].ckpt_path:
                self.datamodule.divide()
                refuse_other_rows(self.run, self.datamodule.manifest, self.datamodule.split.names)
                refuse_other_labels(Path(resumed), self.datamodule.manifest)
            elif start := self._get(self.config_init, "init_from"):
                load_initial_weights(Path(start), self.model, self.datamodule)
        config = self._get(self.config_init, "trainer")
        callbacks = [
            *(own := _as_list(config.callbacks)),
            *summary_of_parts(own, config.enable_model_summary),
            SplitGuard(self._get(self.config_init, "allow_trained_rows")),
            WandbExamples(self._get(self.config_init, "log_examples")),
            EndOnSigterm(),
        ]
        with settings_refused():
            trainer = super().instantiate_trainer(
                callbacks=callbacks,
                default_root_dir=str(self.run),
                logger=run_loggers(self.run, config.logger),
                plugins=[*_as_list(config.plugins), SafeCheckpointIO()],
                **kwargs,
            )
        if self.subcommand == "fit":
            log_every_epoch(trainer, len(self.datamodule.split.rows("train")) // self.datamodule.batch_size)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        if self.complete:  # nothing would be trained, and the record of what was trained rewritten
            return
        try:
            super()._run_subcommand(subcommand)
        except Terminated:
            if (launcher := self.trainer.strategy.launcher) is not None:
                launcher.kill(signal.SIGKILL)  # the other processes would tell of a lost connection
            raise

    def remark(self) -> str:
        """Return what a `fit` left behind and how to go on, or what it did not do or is missing."""
        if self.complete:
            return f"The run {self.run} is complete: there was nothing left to train, and nothing was changed."
        return missing_checkpoints(self.trainer) or next_steps(self.run)

    def after_fit(self) -> None:
        """Draw the curves, and write the run's page."""
        if self.trainer.is_global_zero:
            kept = next(one for one in self.trainer.checkpoint_callbacks if isinstance(one, RunCheckpoints))
            write_run_page(self.run, self.datamodule, {"monitor": kept.monitor, "score": kept.best_score})

    def after_test(self) -> None:
        """Add the oracle's ceiling to the result of a phantom."""
        data = self.datamodule
        if self.trainer.is_global_zero and (ceiling := phantom_ceiling(data.manifest, data.split.rows("test"))):
            result = json.loads(self.result_path.read_text(encoding="utf-8"))
            write_json(self.result_path, {**result, "ceiling": ceiling})

    @property
    def result_path(self) -> Path:
        """The file that `test` writes."""
        return self.run / "result.json"


class _Parser(LightningArgumentParser):
    """Reports a wrong configuration in one paragraph."""

    created: ClassVar[list["_Parser"]] = []
    words: ClassVar[list[str]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.created.append(self)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)  # one attempt within a union of types: another may succeed
        told = explain(message, {action.dest for parser in self.created for action in parser._actions}, self.words)
        raise UserError(told) from ex


def _with_own_config(arguments: list[str]) -> tuple[list[str], Path | None]:
    """Start validate, test and predict from the config beside the checkpoint where none is named; return it too."""
    verb, *rest = arguments
    if verb == "fit" or config_files(rest):
        return arguments, None
    path = value_of("--ckpt_path", rest)
    if path in ("best", "last"):
        experiment = value_of("--experiment", rest)
        if experiment is None:
            raise UserError(
                f"--checkpoint {path} is the newest run's of an experiment: name it with --experiment or by its"
                " --config, or give the checkpoint's file."
            )
        runs, seed = value_of("--runs", rest) or "runs", value_of("--seed_everything", rest) or "0"
        path = str(newest_checkpoint(path, Path(runs) / experiment, seed))
        rest = [*rest, "--ckpt_path", path]
    elif not path and not rest:
        raise UserError(needs_checkpoint(verb))
    config = config_beside(path) if path else None
    return ([verb, "--config", str(config), *rest] if config else arguments), config


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
