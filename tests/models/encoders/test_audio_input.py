"""What pretrained models read is what their own feature extractors give."""

from pathlib import Path

import pytest
import torch
import transformers

from distill_asr.models.encoders.audio_input import FilterbankInput, WaveformInput, standardised
from distill_asr.testing.speech_models import save_speech_model

LENGTHS = (16000, 7001, 560, 12345)


def noise(lengths: tuple[int, ...] = LENGTHS, fill: float = 0.0) -> tuple[torch.Tensor, ...]:
    """A padded batch with offsets and different levels, so that padding would show."""
    generator = torch.Generator().manual_seed(0)
    speech = torch.full((len(lengths), max(lengths) + 7), fill)
    for row, length in enumerate(lengths):
        values = 0.02 + 0.05 * (row + 1) * torch.randn(length, generator=generator)
        speech[row, :length] = values
    return speech, torch.tensor(lengths)


@pytest.mark.parametrize("do_normalize", [True, False])
def test_waveforms(tmp_path: Path, do_normalize: bool) -> None:
    path = save_speech_model(tmp_path, "wav2vec2", do_normalize=do_normalize)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    model = transformers.AutoModel.from_pretrained(path)
    taken = WaveformInput(model, do_normalize)
    assert taken.min_samples == 400
    speech, lengths = noise(fill=float("nan"))
    inputs, frames = taken(speech, lengths)
    assert inputs["attention_mask"].sum(dim=1).tolist() == list(LENGTHS)
    assert torch.equal(frames, model._get_feat_extract_output_lengths(lengths))
    assert taken.padding.frames == frames.tolist()
    for row, length in enumerate(LENGTHS):
        alone = extractor(speech[row, :length].numpy(), sampling_rate=16000)["input_values"][0]
        found = inputs["input_values"][row]
        torch.testing.assert_close(found[:length], torch.from_numpy(alone), atol=1e-5, rtol=1e-5)
        assert not found[length:].any()


def test_filterbanks() -> None:
    extractor = transformers.SeamlessM4TFeatureExtractor()
    taken = FilterbankInput(160, do_normalize=True)
    speech, lengths = noise()
    inputs, frames = taken(speech, lengths)
    for row, length in enumerate(LENGTHS):
        alone = extractor(speech[row, :length].numpy(), sampling_rate=16000)
        valid = int(alone["attention_mask"].sum())
        expected = torch.as_tensor(alone["input_features"][0][:valid])
        assert frames[row] == valid == inputs["attention_mask"][row].sum()
        found = inputs["input_features"][row]
        torch.testing.assert_close(found[:valid], expected, atol=2e-3, rtol=0)
        assert not found[valid:].any()


def test_the_shortest_audio_has_two_vectors() -> None:
    taken = FilterbankInput(160, do_normalize=True)
    assert taken.min_samples == 560
    speech, lengths = noise((560,))
    inputs, frames = taken(speech, lengths)
    assert frames.tolist() == [1]
    assert torch.isfinite(inputs["input_features"]).all()


def test_an_odd_width() -> None:
    with pytest.raises(ValueError, match="width 81"):
        FilterbankInput(81, do_normalize=True)


@pytest.mark.parametrize("correction", [0, 1])
def test_standardised(correction: int) -> None:
    values = 3 + 2 * torch.randn(2, 50, 4)
    values[1, 20:] = 0
    found = standardised(values, torch.tensor([50, 20]), correction)
    for row, length in ((0, 50), (1, 20)):
        valid = found[row, :length]
        torch.testing.assert_close(valid.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
        variance = valid.var(dim=0, correction=correction)
        torch.testing.assert_close(variance, torch.ones(4), atol=1e-4, rtol=0)
    assert not found[1, 20:].any()
