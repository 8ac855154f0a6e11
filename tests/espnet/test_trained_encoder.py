"""A trained encoder as a front-end: frozen, from audio or from its own states."""

from pathlib import Path

import pytest
import torch

from distill_asr.espnet.plugin import FRONTENDS
from distill_asr.espnet.trained_encoder import TrainedEncoder, averaged
from distill_asr.testing.speech_models import save_speech_model

SMALL = {"output_size": 8, "attention_heads": 2, "linear_units": 8, "num_blocks": 1}


def frontend(**options: object) -> TrainedEncoder:
    torch.manual_seed(0)
    given = {"encoder": "conformer", "encoder_conf": SMALL, "frontend_conf": {"n_mels": 16}}
    return FRONTENDS["trained_encoder"](**(given | {"normalize": "utterance_mvn"} | options))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_means_of_adjacent_frames(count: int) -> None:
    states, lengths = torch.randn(3, 7, 4, dtype=torch.float64), torch.tensor([7, 5, 1])
    found, counts = averaged(states, lengths, count)
    for row, length, given, there in zip(states, lengths, found, counts, strict=True):
        expected = [part.mean(dim=0) for part in row[:length].split(count)]
        assert there == len(expected)
        torch.testing.assert_close(given[:there], torch.stack(expected))


def test_padding_does_not_enter_the_means() -> None:
    states, lengths = torch.randn(1, 5, 4), torch.tensor([5])
    alone, _ = averaged(states, lengths, 2)
    padded = torch.cat([states, torch.full((1, 4, 4), torch.nan)], dim=1).nan_to_num(1e6)
    among, _ = averaged(padded, lengths, 2)
    torch.testing.assert_close(among[:, :3], alone)


def test_it_stays_as_it_was_trained() -> None:
    made = frontend()
    made.train()
    assert not any(module.training for module in made.modules())
    assert not any(parameter.requires_grad for parameter in made.parameters())
    before = {name: value.clone() for name, value in made.state_dict().items()}
    states, _ = made(0.1 * torch.randn(2, 8000), torch.tensor([8000, 6000]))
    assert not states.requires_grad
    for name, value in made.state_dict().items():
        assert torch.equal(value, before[name]), "batch norms would move in training mode"


def test_its_own_states_give_what_the_audio_gives() -> None:
    speech, lengths = 0.1 * torch.randn(1, 9000), torch.tensor([9000])
    states, frames = frontend()(speech, lengths)
    expected, counts = frontend(average=2)(speech, lengths)
    found, again = frontend(average=2)(states, frames)
    torch.testing.assert_close(found, expected)
    assert torch.equal(again, counts) and frontend().output_size() == found.size(-1) == 8


def test_an_encoder_that_reads_audio(tmp_path: Path) -> None:
    conf = {"model": str(save_speech_model(tmp_path / "tiny", "wav2vec2"))}
    made = frontend(frontend=None, normalize=None, encoder="hf_speech", encoder_conf=conf)
    assert made.frontend is None
    states, lengths = made(0.1 * torch.randn(2, 8000), torch.tensor([8000, 6000]))
    assert states.shape == (2, lengths.max(), made.output_size())
    changes = made.portable_conf()
    assert list(changes) == ["encoder_conf"] and changes["encoder_conf"]["model"] is None
    assert frontend().portable_conf() == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [({"average": 0}, "average: 0"), ({"normalize_conf": {"stats_file": "x"}}, "utterance_mvn")],
)
def test_arguments(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        frontend(**options)
