"""What the first process of a training prepares, for the others that share its directory.

A training on several hosts, or with one process a device, starts this program once a process. The
first one (``TrainOptions.leads``) writes what ESPnet reads and measures statistics. The others
wait for it and write nothing.
"""

from __future__ import annotations

import json
import time

from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.io.locks import is_held
from distill_asr.train.identity import Identity, same_experiment

_PATIENCE = 600.0  # seconds until the first process must have begun
_PAUSE = 0.2  # seconds between looks


def command_of_first(experiment: Experiment, identity: Identity, statistics: bool) -> list[str]:
    """Wait until the first process has prepared this training.

    Parameters
    ----------
    experiment : the directory that all processes share.
    identity : of this training; another one's preparation does not count.
    statistics : whether it measures statistics of the features as well.

    Returns
    -------
    ESPnet's command line, but for the options that the user gives ESPnet.

    Raises
    ------
    UserError : the first process ended before, or has not begun within ten minutes.
    """
    begun, deadline = False, time.monotonic() + _PATIENCE
    while True:
        held = is_held(experiment.directory)
        measured = not statistics or experiment.statistics.parents[1].exists()
        ready = measured and experiment.espnet_command.exists()
        if ready and same_experiment(experiment, identity):
            return list(json.loads(experiment.espnet_command.read_text(encoding="utf-8")))
        if begun and not held:
            raise UserError(
                f"{experiment.directory}: the first process of this training (rank 0) ended before "
                "it had prepared the data; see its error"
            )
        if not begun and time.monotonic() > deadline:
            raise UserError(
                f"{experiment.directory}: no process of rank 0 has begun this training within "
                f"{_PATIENCE / 60:.0f} minutes; start one with the same --output"
            )
        begun = begun or held
        time.sleep(_PAUSE)
