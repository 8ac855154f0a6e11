"""Whisper's encoder in a student: features of the clip, frozen layers, their states from disk."""

import pytest
import torch
import transformers

from distill_asr.models.encoders.hf_speech import HFSpeechEncoder
from distill_asr.models.encoders.whisper_layers import WhisperInput

LENGTHS = (16000, 700, 5000)


@pytest.fixture
def whisper(saved):
    def build(**conf: object) -> HFSpeechEncoder:
        return HFSpeechEncoder(1, str(saved("whisper")), **conf)

    return build


def audio() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return 0.1 * torch.randn(len(LENGTHS), max(LENGTHS)), torch.tensor(LENGTHS)


def test_features_are_those_of_the_library(saved, whisper) -> None:
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(saved("whisper"))
    speech, lengths = audio()
    inputs, frames = WhisperInput(whisper().encoders.config)(speech, lengths)
    assert frames.tolist() == [50, 3, 16]
    for row, (length, count) in enumerate(zip(LENGTHS, frames.tolist(), strict=True)):
        expected = extractor(
            speech[row, :length].numpy(), sampling_rate=16000, return_tensors="pt"
        ).input_features[0, :, : 2 * count]
        found = inputs["input_features"][row, :, : 2 * count]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_longest_audio_is_the_window(saved) -> None:
    made = HFSpeechEncoder(1, str(saved("whisper", max_source_positions=75))).eval()
    assert made.max_samples == 24000
    assert made(torch.zeros(1, 24000), torch.tensor([24000]))[0].shape == (1, 75, 16)
    with pytest.raises(ValueError, match=r"24001 samples is longer.*--max-duration 1\.5"):
        made(torch.zeros(1, 24001), torch.tensor([24001]))


def test_frozen_layers_do_not_train(whisper) -> None:
    made = whisper(freeze_layers=2, model_conf={"dropout": 0.5}).train()
    made(*audio())[0].sum().backward()
    trained = {n for n, p in made.named_parameters() if p.grad is not None}
    assert trained and all("layers.2." in n or ".encoder.layer_norm." in n for n in trained)
    assert not made.encoders.encoder.layers[1].training and made.encoders.encoder.layers[2].training


def test_states_of_frozen_layers_stand_for_audio(whisper) -> None:
    made = whisper(freeze_layers=2, cache=True).eval()
    found: list[torch.Tensor] = []
    made.encoders.encoder.layers[1].register_forward_hook(lambda *given: found.append(given[2]))
    speech, lengths = audio()
    expected, frames, _ = made(speech, lengths)
    hidden, again, _ = made(found[0], frames)
    assert torch.equal(again, frames)
    torch.testing.assert_close(hidden, expected)
    with pytest.raises(ValueError, match="takes raw audio"):
        whisper()(found[0], frames)


def test_masks_fall_on_what_the_trained_layers_read(whisper) -> None:
    masking = {"mask_time_prob": 0.5, "mask_time_length": 4, "mask_feature_prob": 0.3}
    made = whisper(freeze_layers=2, model_conf=masking | {"mask_feature_length": 2}).train()
    seen: list[torch.Tensor] = []
    made.encoders.encoder.layers[2].register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    made(*audio())
    assert (seen[0][0] == 0).all(dim=1).any() and (seen[0][0, :50] == 0).all(dim=0).any()
    made.eval()(*audio())
    assert not (seen[1][0] == 0).all(dim=1).any()


@pytest.mark.parametrize(
    ("conf", "named"),
    [
        ({"freeze_layers": 3}, "freeze_layers: 3, expected 0 to 2"),
        ({"cache": True}, "cache: needs freeze_layers"),
        ({"freeze_layers": 1, "lora": {}}, "lora freezes all layers"),
        ({"layer_drop_rate": 0.1}, "layer_drop_rate"),
        ({"do_normalize": True}, "do_normalize"),
    ],
)
def test_bad_arguments(whisper, conf: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        whisper(**conf)
