"""Pooling between encoder layers: rates, padding, positions."""

import pytest
import torch
from torch import nn

from distill_asr.espnet.task import build_untrained
from distill_asr.models.students.pooling import pool_after, pool_time
from distill_asr.models.students.taps import encoder_layers
from distill_asr.testing.fixtures import tiny_config

ENCODERS = {
    "conformer": {"cnn_module_kernel": 3},
    "transformer": {},
    "e_branchformer": {"cgmlp_conv_kernel": 3, "cgmlp_linear_units": 8},
}
each_encoder = pytest.mark.parametrize("name", ENCODERS)


def encoder(name: str, layers: int = 3, **changes: object) -> nn.Module:
    conf = {"output_size": 8, "attention_heads": 2, "linear_units": 8, "num_blocks": layers}
    conf |= {"input_layer": "linear"} | ENCODERS[name] | changes
    config = tiny_config("ctc", encoder=name, encoder_conf=conf)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_untrained(config).encoder.eval()


def test_the_larger_of_two_frames_valid_or_not() -> None:
    states = torch.tensor(
        [[[1.0], [-2.0], [-3.0], [9.0], [9.0]], [[0.0], [1.0], [2.0], [3.0], [-4]]]
    )
    mask = torch.tensor([[[True] * 3 + [False] * 2], [[True] * 5]])
    pooled, valid = pool_time(states, mask)
    assert pooled[..., 0].tolist() == [[1.0, -3.0, 0.0], [1.0, 3.0, -4.0]]
    assert valid.tolist() == [[[True, True, False]], [[True, True, True]]]


@each_encoder
def test_the_rate_is_halved_where_asked(name: str) -> None:
    made, frames = encoder(name), torch.tensor([13, 6, 1])
    seen: list[int] = []
    pool_after(made, [1, 2])
    for layer in encoder_layers(made):
        layer.register_forward_hook(
            lambda module, args, output: seen.append(
                (output[0][0] if isinstance(output[0], tuple) else output[0]).size(1)
            )
        )
    states = torch.randn(3, 13, 16, generator=torch.Generator().manual_seed(0))
    encoded, lengths, _ = made(states, frames)
    assert seen == [7, 4, 4]
    assert encoded.shape == (3, 4, 8)
    assert lengths.tolist() == [4, 2, 1]


def test_padding_changes_nothing() -> None:
    made = encoder("transformer")
    pool_after(made, [1, 3])
    states = torch.randn(2, 13, 16, generator=torch.Generator().manual_seed(0))
    states[1, 6:] = 50.0
    encoded, lengths, _ = made(states, torch.tensor([13, 6]))
    alone, _, _ = made(states[1:, :6], torch.tensor([6]))
    torch.testing.assert_close(encoded[1, : int(lengths[1])], alone[0])


@pytest.mark.parametrize("kind", ["latest", "legacy"])
def test_relative_positions_are_those_of_an_input_of_that_rate(kind: str) -> None:
    made, taken = encoder("conformer", rel_pos_type=kind), []
    pool_after(made, [1])
    encoder_layers(made)[1].register_forward_pre_hook(lambda module, args: taken.append(args))
    made(torch.randn(1, 12, 16), torch.tensor([12]))
    (states, relative), _ = taken[0]
    assert states.shape == (1, 6, 8)
    table = next(part for part in made.embed.modules() if hasattr(part, "extend_pe"))
    assert torch.equal(relative, table(states)[1])


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="4 given, but ConformerEncoder shows 3 layers"):
        pool_after(encoder("conformer"), [1, 4])
    plain = nn.Module()
    plain.encoders = nn.ModuleList([nn.Linear(2, 2)])
    pool_after(plain, [1])
    with pytest.raises(ValueError, match="Linear cannot be pooled"):
        plain.encoders[0](torch.zeros(1, 2))
