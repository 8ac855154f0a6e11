"""Search over a CIF student against all sequences there are."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from distill_asr.decode.cif_search import CifSearch
from distill_asr.decode.search import Hypothesis
from distill_asr.espnet.task import build_untrained
from distill_asr.models.students.cif_decoders import CifARDecoder, CifNARDecoder
from distill_asr.testing.fixtures import tiny_config

VOCABULARY, WIDTH, BLANK, END = 5, 8, 0, 4
SIZES = {"attention_heads": 2, "linear_units": 12, "num_blocks": 1}
KINDS = {"ar": CifARDecoder, "nar": CifNARDecoder}
each_kind = pytest.mark.parametrize("kind", KINDS)


class Student(nn.Module):
    """As much of a student as a search needs after the encoder."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.blank_id, self.sos, self.eos = BLANK, END, END
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            self.decoder = KINDS[kind](VOCABULARY, WIDTH, **SIZES)
        self.decoder.output.weight.data *= 4  # opinions, so that beams have something to lose


def fired(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def search(kind: str, cif: Tensor, beam_size: int, nbest: int = 1) -> list[Hypothesis]:
    with torch.no_grad():
        return CifSearch(Student(kind).eval(), beam_size, nbest).search(cif)


def all_sequences(kind: str, cif: Tensor) -> dict[tuple[int, ...], float]:
    """Log-probability of every token sequence that is complete."""
    decoder, found = Student(kind).eval().decoder, {}
    words = [token for token in range(VOCABULARY) if token not in (BLANK, END)]
    for length in range(len(cif) + 1):
        for tokens in itertools.product(words, repeat=length):
            whole = [*tokens, END][: len(cif)]
            history = torch.tensor([[END, *whole[:-1]]])
            # the decoder that looks everywhere must see all vectors
            padded = torch.cat([history, torch.full((1, len(cif) - len(whole)), END)], dim=1)
            with torch.no_grad():
                logits, _ = decoder(cif[None], torch.tensor([len(cif)]), padded)
            log_probs = logits[0].log_softmax(dim=-1)
            found[tokens] = sum(float(log_probs[u, token]) for u, token in enumerate(whole))
    return found


@each_kind
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_wide_beam_finds_the_best_of_all(kind: str, count: int) -> None:
    for seed in range(3):
        every = all_sequences(kind, fired(count, seed))
        best = sorted(every.items(), key=lambda item: -item[1])[:5]
        found = search(kind, fired(count, seed), beam_size=200, nbest=5)
        assert [tuple(one.tokens) for one in found] == [tokens for tokens, _ in best]
        for one, (_, score) in zip(found, best, strict=True):
            assert one.score == pytest.approx(score, abs=1e-4)


@each_kind
@pytest.mark.parametrize("beam_size", [1, 2, 3])
def test_a_narrow_beam_finds_sequences_with_their_scores(kind: str, beam_size: int) -> None:
    every = all_sequences(kind, fired(4))
    found = search(kind, fired(4), beam_size, nbest=beam_size)
    assert 1 <= len(found) <= beam_size
    for one in found:
        assert one.score == pytest.approx(every[tuple(one.tokens)], abs=1e-4)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert len({tuple(one.tokens) for one in found}) == len(found)


@each_kind
def test_greedy_takes_the_best_token_each_time(kind: str) -> None:
    cif, made = fired(5), Student(kind).eval()
    tokens, memory, last = [], made.decoder.start(cif), END
    with torch.no_grad():
        for index in range(5):
            logits, memory = made.decoder.step(memory, index, torch.tensor([last]))
            logits[0, BLANK] = float("-inf")
            last = int(logits[0].argmax())
            if last == END:
                break
            tokens.append(last)
    assert search(kind, cif, beam_size=1)[0].tokens == tokens


@pytest.mark.parametrize("count", [0, 1, 7, 30])
def test_all_at_once_is_token_by_token(count: int, monkeypatch) -> None:
    cif = fired(count, seed=count)
    at_once = search("nar", cif, 1)
    monkeypatch.setattr(CifNARDecoder, "autoregressive", True)
    stepwise = search("nar", cif, 1)
    assert [one.tokens for one in at_once] == [one.tokens for one in stepwise]
    assert at_once[0].score == pytest.approx(stepwise[0].score, abs=1e-5)


@each_kind
def test_cut_at_the_end_token(kind: str) -> None:
    made = Student(kind).eval()
    made.decoder.output.weight.data.zero_()
    bias = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 0.0, 5.0]))
    made.decoder.output.bias = bias
    with torch.no_grad():
        assert CifSearch(made, 1, 1).search(fired(4))[0].tokens == []
        bias[:] = torch.tensor([9.0, 0.0, 5.0, 0.0, 0.0])  # the blank is no token
        assert CifSearch(made, 1, 1).search(fired(4))[0].tokens == [2, 2, 2, 2]


@each_kind
def test_nothing_fired(kind: str) -> None:
    assert search(kind, fired(0), beam_size=3, nbest=2) == [Hypothesis([], 0.0)]


@pytest.mark.parametrize("decoder", ["cif_ar", "cif_nar"])
def test_from_audio(decoder: str) -> None:
    config = tiny_config("ctc", decoder=decoder, decoder_conf=SIZES, model_conf={})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = build_untrained(config | {"model": "cif"}).eval()
        speech = 0.1 * torch.randn(16000)
    recognise = CifSearch(made, beam_size=3, nbest=2)
    with torch.no_grad():
        encoded, lengths = made.encode(speech[None], torch.tensor([16000]))
        count = int(made.integrate(encoded, lengths).lengths)
    assert count > 2
    found = recognise(speech)
    assert len(found) == 2
    assert all(len(one.tokens) <= count and made.eos not in one.tokens for one in found)
    assert recognise(speech) == found  # nothing is carried over
    assert recognise(speech[:800]) == [Hypothesis([], 0.0, [])]  # 50 ms
    with torch.no_grad():
        made.weights.project.bias -= 50
    assert recognise(speech) == [Hypothesis([], 0.0, [])]  # nothing fires
