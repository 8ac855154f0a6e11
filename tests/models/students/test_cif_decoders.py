"""Decoders of CIF students: what each position may see, and steps against the whole."""

import math

import pytest
import torch
from torch import Tensor, nn

from distill_asr.models.students.cif_decoders import (
    CifARDecoder,
    CifNARDecoder,
    SelfAttentionLayer,
    sinusoids,
)

WIDTH, VOCABULARY, TOKENS = 8, 7, 5
SIZES = {"attention_heads": 2, "linear_units": 12, "num_blocks": 2}
KINDS = {
    "ar": (CifARDecoder, {}),
    "full": (CifNARDecoder, {}),
    "triangle": (CifNARDecoder, {"attention": "triangle"}),
    "no_positions": (CifNARDecoder, {"positions": False}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def decoder(kind: str) -> nn.Module:
    made, options = KINDS[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return made(VOCABULARY, WIDTH, **SIZES, **options).double().eval()


def inputs(batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cif = torch.randn(batch, TOKENS, WIDTH, generator=generator, dtype=torch.float64)
    history = torch.randint(VOCABULARY, (batch, TOKENS), generator=generator)
    return cif, torch.full((batch,), TOKENS), history


def influence(kind: str) -> tuple[Tensor, Tensor]:
    """Which output position depends on which vector, and on which history token, [U, U] each."""
    made, (cif, lengths, history) = decoder(kind), inputs(1)
    plain = made(cif, lengths, history)[0]
    on_vector, on_token = torch.zeros(2, TOKENS, TOKENS, dtype=torch.bool)
    for place in range(TOKENS):
        changed = cif.clone()
        changed[0, place, 0] += 1  # a norm would not see a change of all
        on_vector[:, place] = (made(changed, lengths, history)[0] != plain).any(dim=-1)[0]
        other = history.clone()
        other[0, place] = (other[0, place] + 1) % VOCABULARY
        on_token[:, place] = (made(cif, lengths, other)[0] != plain).any(dim=-1)[0]
    return on_vector, on_token


def test_what_each_position_depends_on() -> None:
    square = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
    # the autoregressive one sees its own vector and those before, and the tokens before
    expected = {"ar": (square.tril(), square.tril()), "full": (square, ~square)}
    expected |= {"triangle": (square.tril(), ~square), "no_positions": (square, ~square)}
    for kind, (on_vector, on_token) in expected.items():
        found = influence(kind)
        assert torch.equal(found[0], on_vector), kind
        assert torch.equal(found[1], on_token), kind


@each_kind
def test_shapes_and_the_state_before_the_vocabulary(kind: str) -> None:
    made, given = decoder(kind), inputs()
    logits, states = made(*given)
    assert logits.shape == (2, TOKENS, VOCABULARY)
    assert states.shape == (2, TOKENS, WIDTH) == (2, TOKENS, made.width)
    torch.testing.assert_close(states @ made.output.weight.T, logits)
    assert made.output.bias is None


@each_kind
def test_padding_changes_nothing(kind: str) -> None:
    made, (cif, _, history) = decoder(kind), inputs(3)
    lengths = torch.tensor([TOKENS, 3, 0])
    cif[1, 3:], cif[2] = 1e3, 1e3
    logits, _ = made(cif, lengths, history)
    assert bool(torch.isfinite(logits).all())
    for i in (0, 1):
        count = int(lengths[i])
        part = (cif[i : i + 1, :count], lengths[i : i + 1], history[i : i + 1, :count])
        torch.testing.assert_close(made(*part)[0][0], logits[i, :count])


@each_kind
def test_steps_give_what_the_whole_gives(kind: str) -> None:
    made, (cif, lengths, history) = decoder(kind), inputs(3)
    cif = cif[:1].expand(3, -1, -1)  # three hypotheses of one utterance
    whole = made(cif, lengths, history)[0]
    memory, rows = made.start(cif[0]), torch.tensor([0, 1, 2])
    for index in range(TOKENS):
        logits, memory = made.step(memory, index, history[rows, index])
        torch.testing.assert_close(logits, whole[rows, index])
        order = torch.tensor([2, 0, 1]) if index % 2 else torch.tensor([1, 0, 2])
        rows, memory = rows[order], made.select(memory, order)


@each_kind
def test_no_tokens(kind: str) -> None:
    made = decoder(kind)
    cif = torch.zeros(2, 0, WIDTH, dtype=torch.float64, requires_grad=True)
    logits, states = made(cif, torch.zeros(2).long(), torch.zeros(2, 0).long())
    assert logits.shape == (2, 0, VOCABULARY) and states.shape == (2, 0, WIDTH)
    logits.sum().backward()
    assert made.output.weight.grad is not None


@each_kind
def test_every_parameter_learns(kind: str) -> None:
    made, given = decoder(kind).train(), inputs()
    made(*given)[0].square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in made.parameters())


def test_one_autoregressive_position_by_hand() -> None:
    made, (cif, lengths, history) = decoder("ar"), inputs(1)
    embedded = made.embed.weight[history[0]] * math.sqrt(WIDTH)
    previous = torch.cat([torch.zeros(1, WIDTH).double(), cif[0, :-1]])
    x = torch.cat([embedded, previous], dim=1) @ made.join_previous.weight.T
    x = (x + sinusoids(TOKENS, WIDTH, cif)).unsqueeze(0)
    mask = torch.ones(TOKENS, TOKENS).bool().tril()
    for layer in made.layers:
        x, _ = layer(x, mask)
    states = torch.cat([made.norm(x)[0], cif[0]], dim=1) @ made.join_current.weight.T
    torch.testing.assert_close(made(cif, lengths, history)[1][0], states)


def test_attention_layer_is_torchs_own_pre_norm_layer() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        ours = SelfAttentionLayer(WIDTH, 2, 12, 0.1).double().eval()
        theirs = nn.TransformerEncoderLayer(
            WIDTH, 2, 12, batch_first=True, norm_first=True, dtype=torch.float64
        ).eval()
    theirs.self_attn.in_proj_weight.data = ours.query_key_value.weight.data
    theirs.self_attn.in_proj_bias.data = ours.query_key_value.bias.data
    theirs.self_attn.out_proj.load_state_dict(ours.attended.state_dict())
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.feed_forward[0].state_dict())
    theirs.linear1.load_state_dict(ours.feed_forward[1].state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward[4].state_dict())
    x = inputs()[0]
    mask = torch.ones(TOKENS, TOKENS).bool().tril()
    with torch.enable_grad():  # keeps torch from its fused kernel
        torch.testing.assert_close(ours(x, mask)[0], theirs(x, src_mask=~mask))


def test_positions() -> None:
    found = sinusoids(4, 6, torch.zeros(1).double())
    for place in range(4):
        for pair in range(3):
            angle = place / 10000 ** (2 * pair / 6)
            expected = [math.sin(angle), math.cos(angle)]
            assert found[place, 2 * pair : 2 * pair + 2].tolist() == pytest.approx(
                expected, abs=1e-6
            )
    assert sinusoids(3, 5, torch.zeros(1)).shape == (3, 5)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="3 do not divide the width 8"):
        CifARDecoder(VOCABULARY, WIDTH, attention_heads=3)
    with pytest.raises(ValueError, match="'causal'"):
        CifNARDecoder(VOCABULARY, WIDTH, attention="causal", attention_heads=2)
