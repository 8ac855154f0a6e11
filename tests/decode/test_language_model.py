"""Shallow fusion with real language models of ESPnet's, saved to disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from distill_asr.decode.cif_search import CifSearch
from distill_asr.decode.language_model import LanguageModel, PrefixScorer, load_language_model
from distill_asr.decode.search import TransducerSearch
from distill_asr.errors import UserError
from distill_asr.espnet.task import build_untrained
from distill_asr.testing.fixtures import TOKENS, tiny_config
from distill_asr.testing.language_models import save_language_model
from distill_asr.testing.students import tiny_student

KINDS = ("seq_rnn", "transformer")
AVERAGED = "valid.loss.ave.pth"
FAVOURITE = TOKENS.index("c")
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Function that gives a language model of a kind, perhaps with a favourite token."""

    def get(kind: str, favourite: str | None = None) -> torch.nn.Module:
        directory = save_language_model(tmp_path_factory.mktemp("lm"), kind, favourite=favourite)
        return load_language_model(directory, AVERAGED, TOKENS)

    return get


def speech(samples: int = 9000, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def transducer() -> torch.nn.Module:
    made = tiny_student("transducer").eval()
    with torch.no_grad():
        made.joint_network.lin_out.weight *= 2
    return made


def cif(decoder: str) -> torch.nn.Module:
    conf = {"attention_heads": 2, "linear_units": 12, "num_blocks": 1}
    config = tiny_config("ctc", decoder=decoder, decoder_conf=conf, model_conf={})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = build_untrained(config | {"model": "cif"}).eval()
    made.decoder.output.weight.data *= 4
    made.decoder.output.weight.data[made.eos] = 0  # rarely the best
    return made


STUDENTS = {
    "transducer": lambda lm: TransducerSearch(transducer(), 3, 3, lm),
    "cif_ar": lambda lm: CifSearch(cif("cif_ar"), 3, 3, lm),
    "cif_nar": lambda lm: CifSearch(cif("cif_nar"), 3, 3, lm),
}
each_student = pytest.mark.parametrize("student", STUDENTS)


@each_student
@each_kind
def test_weight_0_changes_nothing(load, student: str, kind: str) -> None:
    plain = STUDENTS[student](None)(speech())
    fused = STUDENTS[student](LanguageModel(load(kind), 0.0))(speech())
    assert plain == fused and any(one.tokens for one in plain)


@pytest.mark.parametrize("student", ["cif_ar", "cif_nar"])
@each_kind
def test_cif_takes_what_it_likes_where_tokens_fire(load, student: str, kind: str) -> None:
    plain = STUDENTS[student](None)(speech())[0].tokens
    fused = STUDENTS[student](LanguageModel(load(kind, "c"), 3.0))(speech())[0].tokens
    assert len(fused) > 2 and set(fused) == {FAVOURITE} != set(plain)


@each_kind
def test_a_transducer_in_two_minds_takes_what_it_likes(load, kind: str) -> None:
    made = in_two_minds("b", "c")
    for favourite, weight, said in (("c", 0.0, "b"), ("c", 0.3, "c"), ("b", 0.3, "b")):
        search = TransducerSearch(made, 2, 1, LanguageModel(load(kind, favourite), weight))
        assert search(speech())[0].tokens == [TOKENS.index(said)]


def in_two_minds(first: str, second: str) -> torch.nn.Module:
    """A transducer that says one token, ``first`` a little rather than ``second``."""
    made = tiny_student("transducer").eval()
    joint = made.joint_network
    with torch.no_grad():
        for layer in (joint.lin_enc, joint.lin_dec, joint.lin_out):
            layer.weight.zero_()
            layer.bias.zero_()
        made.decoder.embed.weight[1:] = 10.0  # after a token ...
        joint.lin_dec.weight.fill_(1.0)
        joint.lin_out.weight[0] = 2.0  # ... only blanks
        joint.lin_out.bias[:] = -5.0
        joint.lin_out.bias[TOKENS.index(first)] = 5.0
        joint.lin_out.bias[TOKENS.index(second)] = 4.9
    return made


@each_kind
def test_cif_scores_are_sums_of_both(load, kind: str) -> None:
    """Acoustic score of the sequence found, and the language model's over the same whole."""
    made, lm = cif("cif_ar"), load(kind)
    for found in CifSearch(made, 3, 3, LanguageModel(lm, 0.7))(speech()):
        with torch.no_grad():
            encoded, lengths = made.encode(speech()[None], torch.tensor([9000]))
            fired = made.integrate(encoded, lengths)
            whole = torch.tensor([[*found.tokens, made.eos][: int(fired.lengths)]])
            states = fired.states[:, : whole.size(1)]
            logits, _ = made.decoder(states, torch.tensor([whole.size(1)]), made.history(whole))
            prior, _ = lm(made.history(whole), None)
        both = logits.log_softmax(-1) + 0.7 * prior.log_softmax(-1)
        score = both.gather(2, whole.unsqueeze(2)).sum()
        assert found.score == pytest.approx(float(score), abs=1e-3)


def test_a_cif_token_comes_out_where_it_fires(load) -> None:
    made = cif("cif_ar")
    with torch.no_grad():
        encoded, lengths = made.encode(speech()[None], torch.tensor([9000]))
        shares = made.integrate(encoded, lengths).weights[0]  # [U, T]
    ends = [int(row.nonzero().max()) for row in shares]
    for found in CifSearch(made, 3, 3)(speech()):
        assert found.frames == ends[: len(found.tokens)] and found.tokens


@each_kind
def test_prefixes_one_by_one_and_together(load, kind: str) -> None:
    """What a transducer's search hears, prefix by prefix and again, equals the batch's scores."""
    lm = load(kind)
    prefixes = torch.tensor([[7, 3, 4], [7, 5, 5], [7, 3, 6]])
    batched, states, scorer = LanguageModel(lm, 0.5), None, PrefixScorer(lm)
    kept: list = [None] * len(prefixes)
    with torch.no_grad():
        for end in range(1, 4):
            together, states = batched.score(prefixes[:, :end], states)
            for row, prefix in enumerate(prefixes[:, :end]):
                scores, state = scorer.score(prefix, kept[row], None)
                assert scorer.score(prefix, kept[row], None) == (scores, state)
                torch.testing.assert_close(0.5 * torch.tensor(scores), together[row])
                kept[row] = state


def test_a_transducer_asks_once_for_a_prefix_and_keeps_none_for_later(load) -> None:
    lm, calls = load("transformer"), []
    search = TransducerSearch(transducer(), 3, 3, LanguageModel(lm, 0.3))
    lm.encoder.register_forward_hook(lambda *_: calls.append(1))
    first, second = search(speech(seed=1)), search(speech(seed=2))
    assert search(speech(seed=1)) == first and search(speech(seed=2)) == second
    assert len(search.scorer._known) < 60


def test_mistakes(tmp_path: Path) -> None:
    good = save_language_model(tmp_path / "good")

    def problem(directory: Path, checkpoint: str = AVERAGED, tokens: list[str] = TOKENS) -> str:
        with pytest.raises(UserError) as caught:
            load_language_model(directory, checkpoint, tokens)
        assert len(caught.value.problems) == 1
        return caught.value.problems[0]

    assert "entry 3 is 'a', the student's is 'x' (8 and 8 entries)" in problem(
        good, tokens=[*TOKENS[:3], "x", *TOKENS[4:]]
    )
    assert "entry 7 is '<sos/eos>', the student's is nothing" in problem(good, tokens=TOKENS[:7])
    assert "no such file" in problem(good, "other.pth")
    (good / "half.pth").write_bytes((good / AVERAGED).read_bytes()[:1000])
    assert "damaged or cut short" in problem(good, "half.pth")
    torch.save({"lm": TransducerSearch}, good / "code.pth")
    assert "cannot be read" in problem(good, "code.pth")
    torch.save({"lm.other": torch.zeros(3)}, good / "other.pth")
    assert "does not fit" in problem(good, "other.pth")

    config = yaml.safe_load((good / "config.yaml").read_text())
    for change, said in (
        ({"lm": None}, "lm: None; expected seq_rnn or transformer"),
        ({"lm": "transformer_opt"}, "lm: transformer_opt; expected"),
        ({"token_list": "tokens.txt"}, "expected the list itself, found 'tokens.txt'"),
        ({"lm_conf": {"units": 3}}, "no language model that this ESPnet can build"),
    ):
        (good / "config.yaml").write_text(yaml.safe_dump(config | change))
        assert said in problem(good)
