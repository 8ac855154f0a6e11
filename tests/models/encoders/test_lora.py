"""Adapters: they alone learn, all of them, and start from nothing."""

import builtins

import pytest
import torch

from distill_asr.errors import UserError
from distill_asr.models.encoders.hf_speech import FAMILIES, HFSpeechEncoder


def speech() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(2, 8000, generator=generator), torch.tensor([8000, 6000])


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_alone_learn_and_every_one_is_heard(saved, family: str) -> None:
    plain = HFSpeechEncoder(1, str(saved(family))).eval()
    made = HFSpeechEncoder(1, str(saved(family)), lora={"r": 2}).eval()
    torch.testing.assert_close(made(*speech())[0], plain(*speech())[0])
    learning = {n: p for n, p in made.named_parameters() if p.requires_grad}
    assert len(learning) == 3 * 2 * 2  # layers, targets, two matrices
    assert all("lora_" in name for name in learning)
    made(*speech())[0].square().sum().backward()
    heard = [name for name, p in learning.items() if "lora_B" in name and p.grad.abs().sum() > 0]
    assert len(heard) == 3 * 2


def test_layers_may_be_named(saved) -> None:
    lora = {"r": 3, "alpha": 6, "dropout": 0.1, "targets": ["output_dense"]}
    made = HFSpeechEncoder(1, str(saved()), lora=lora)
    adapted = {name for name, p in made.named_parameters() if p.requires_grad}
    assert len(adapted) == 3 * 2 and all("output_dense" in name for name in adapted)


@pytest.mark.parametrize(
    ("family", "target", "named"),
    [
        ("wav2vec2", "query", "lora.targets: no layer 'query'"),
        ("wavlm", "q_proj", "q_proj of wavlm bypasses adapters"),
    ],
)
def test_layers_that_cannot_be_adapted(saved, family: str, target: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        HFSpeechEncoder(1, str(saved(family)), lora={"targets": [target]})


def test_without_peft(saved, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: object) -> object:
        if name == "peft":
            raise ImportError(name)
        return real(name, *args)

    path = str(saved())
    HFSpeechEncoder(1, path)  # what the library itself imports is imported now
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"pip install distill_asr\[lora\]"):
        HFSpeechEncoder(1, path, lora={})
