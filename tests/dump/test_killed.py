"""kill -9 of the whole command, at any moment, again and again."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress

import pytest


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
    for fifth in range(5):
        subprocess.run(["rm", "-rf", place.targets], check=True)
        process = place.start(*more)
        with suppress(subprocess.TimeoutExpired):
            process.wait((fifth + rng.random()) / 5 * duration)
        with suppress(ProcessLookupError):  # it was quicker
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found.append(sum(name.endswith(".ark") for name in place.files()))
        process = place.start(*more)
        assert process.wait(120) == 0, process.stderr.read()
        assert place.files() == undisturbed
    assert len(set(found)) > 1, found  # the moments were different ones
