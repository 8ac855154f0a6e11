"""Begins a training, continues it, or finds that it is done."""

from __future__ import annotations

from contextlib import nullcontext

from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.record import write_done
from distill_asr.train.config import TrainConfig, TrainOptions
from distill_asr.train.identity import Identity, is_done
from distill_asr.train.initial import with_initial_parts


def run_training(options: TrainOptions) -> bool:
    """Train, or continue, or do nothing where the same training is done.

    Returns
    -------
    Whether there was something to do.

    Raises
    ------
    UserError : see ``training.train``; or paths that ESPnet cannot take.
    """
    _check_paths(options)
    config = TrainConfig.read(options.config, options.overrides)
    if options.init is not None:
        config = with_initial_parts(config, options.init, options.init_parts)
    identity = Identity.of(config, options)
    experiment = options.experiment
    if is_done(experiment, identity):
        return False
    from distill_asr.train.training import train  # ESPnet; what is done does not wait for it

    with experiment.lock("training") if options.leads else nullcontext():
        train(config, options, identity)
        if options.leads:
            files = ModelConfig.read(experiment.directory).files
            write_done(experiment, identity.fingerprint, files)
    return True


def _check_paths(options: TrainOptions) -> None:
    """ESPnet joins these paths with other things by a character that they must not have."""
    problems = []
    output, init = str(options.experiment.directory), options.init
    if "," in output:
        problems.append(f"--output {output}: ESPnet splits paths at commas; use another name")
    if init is not None and ":" in str(init.directory):
        problems.append(
            f"--init {init.directory}: ESPnet splits it at colons; rename that directory"
        )
    if problems:
        raise UserError(problems)
