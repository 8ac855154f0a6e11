"""kill -9 of the whole command, at any moment, again and again."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest


def arks(place) -> int:
    """How many shards are there; files may come and go while it counts."""
    names = (name for _, _, files in os.walk(place.targets) for name in files)
    return sum(name.endswith(".ark") for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--nj", 2)], ids=["one process", "two workers"])
def test_killed_at_five_random_moments(place, undisturbed, more: tuple) -> None:
    place.configure(pause=0.1)
    begin = time.monotonic()
    whole = place.start(*more)
    assert whole.wait(120) == 0, whole.stderr.read()
    duration = time.monotonic() - begin
    assert place.files() == undisturbed

    rng = random.Random(0)
    found = []
    for finished in (0, 0, 1, 1, 2):  # shards that are there before the kill
        subprocess.run(["rm", "-rf", place.targets], check=True)
        process = place.start(*more)
        while arks(place) < finished and process.poll() is None:
            time.sleep(0.01)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.random() * (0.2 if finished else duration / 2))
        with suppress(ProcessLookupError):  # it was quicker
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found.append(arks(place))
        process = place.start(*more)
        assert process.wait(120) == 0, process.stderr.read()
        assert place.files() == undisturbed
    assert len(set(found)) > 1, found  # the moments were different ones
