"""Students that need the whole utterance recognise all of it again; streaming ones go on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow  # for ESPnet's import


def test_a_whole_utterance_is_recognised_again_every_second() -> None:
    from distill_asr.demo.listeners import WholeListener

    searched: list[int] = []

    def search(speech: torch.Tensor) -> list[SimpleNamespace]:
        searched.append(len(speech))
        return [SimpleNamespace(tokens=[len(speech)])]

    listener = WholeListener("a", search, lambda ids: f"{ids[0]} samples", 16000, "cpu")
    for _ in range(2):  # the second recording knows nothing of the first
        session, found = listener.begin(), []
        for _ in range(24):
            found += session.push(np.zeros(1600, dtype=np.float32))
        found += session.finish()
        assert [(one.text, one.heard, one.final) for one in found] == [
            ("16000 samples", 1.0, False), ("32000 samples", 2.0, False),
            ("38400 samples", 2.4, True)]  # fmt: skip
    assert searched == [16000, 32000, 38400] * 2
    (nothing,) = listener.begin().finish()
    assert (nothing.text, nothing.final) == ("", True)


def test_mistakes_of_all_experiments_come_together(tmp_path) -> None:
    from distill_asr.demo.listeners import load_listeners
    from distill_asr.errors import UserError

    with pytest.raises(UserError) as caught:
        load_listeners([tmp_path / "a", tmp_path / "b"], "cpu")
    assert len(caught.value.problems) >= 2
