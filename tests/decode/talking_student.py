"""A streaming student of random weights that says things in tones, and nothing in silence."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.students import tiny_student

BLANK, RATE, CHUNK = 0, 16000, 4
CONF = {
    "output_size": 16,
    "attention_heads": 2,
    "linear_units": 16,
    "num_blocks": 1,
    "cnn_module_kernel": 3,
    "left_frames": 8,
    "chunk_size": CHUNK,
}
STREAMING = {"encoder": "chunked", "encoder_conf": CONF}


def tones(seconds: float, seed: int = 0) -> Tensor:
    """Another one every tenth of a second, in a little noise."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.arange(int(RATE * seconds))
    pitch = torch.rand(1 + len(samples) // 1600, generator=generator)[samples // 1600]
    wave = 0.3 * torch.sin(2 * torch.pi * (100 + 4000 * pitch) * samples / RATE)
    return wave + 0.01 * torch.randn(len(samples), generator=generator)


def silence(seconds: float) -> Tensor:
    return torch.zeros(int(RATE * seconds))


def teach_to_talk(made: nn.Module) -> nn.Module:
    """Have a random student say things in tones, and nothing in silence, whatever it said last."""
    made.eval()
    joint, samples = made.joint_network, torch.tensor([RATE])
    with torch.no_grad():
        quiet = made.encode(silence(1)[None], samples)[0][0, -1]
        heard = made.encode(tones(1)[None], samples)[0][0, 8:].mean(0)
        # to the joint network silence is 0, and so is what all tones have in common
        common = nn.functional.normalize(heard - quiet, dim=0)
        joint.lin_enc.weight -= torch.outer(joint.lin_enc.weight @ common, common)
        joint.lin_enc.weight *= 10
        joint.lin_enc.bias[:] = -joint.lin_enc.weight @ quiet
        joint.lin_out.weight *= 5
        joint.lin_out.weight[BLANK] = 0
        last = made.decoder(torch.arange(len(TOKENS))[:, None])[:, 0]
        joint.lin_out.bias[BLANK] = joint(quiet, last)[:, 1:].max() + 0.1
    return made


@cache
def student() -> nn.Module:
    return teach_to_talk(tiny_student("transducer", **STREAMING))
