"""The transducer's loss against the sum over all alignments, one by one."""

import itertools
import math

import pytest
import torch
from espnet2.asr.espnet_model import ESPnetASRModel
from torch import Tensor

from distill_asr.models.students.transducer import TransducerStudent
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.students import tiny_batch, tiny_student

BLANK = 0
PREDICTORS = {
    "stateless": {"embed_size": 8},
    "lstm": {"embed_size": 8, "hidden_size": 12, "num_layers": 2},
}
each_predictor = pytest.mark.parametrize("predictor", sorted(PREDICTORS))


def student(predictor: str = "stateless", **changes: object) -> TransducerStudent:
    return tiny_student(
        "transducer", decoder=predictor, decoder_conf=PREDICTORS[predictor], **changes
    ).eval()


def encoded(frames: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(len(frames), max(frames), 16, generator=generator)
    return values, torch.tensor(frames)


def all_alignments(made: TransducerStudent, frames: Tensor, tokens: list[int]) -> float:
    """Minus log of the summed probability of every way to emit ``tokens`` over ``frames``.

    A way is the frame in which each token is emitted, never going back; every frame ends with
    a blank.
    """
    history = torch.tensor([[BLANK, *tokens]])
    predicted = made.decoder(history)[0]
    scores = made.joint_network(frames[:, None], predicted[None]).log_softmax(-1).tolist()
    total = 0.0
    places = itertools.combinations_with_replacement(range(len(frames)), len(tokens))
    for place in places:
        logarithm, emitted = 0.0, 0
        for time in range(len(frames)):
            while emitted < len(tokens) and place[emitted] == time:
                logarithm += scores[time][emitted][tokens[emitted]]
                emitted += 1
            logarithm += scores[time][emitted][BLANK]
        total += math.exp(logarithm)
    return -math.log(total)


@each_predictor
@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("tokens", [[3], [3, 3], [4, 6, 3]])
def test_equals_the_sum_over_all_alignments(predictor: str, frames: int, tokens: list[int]) -> None:
    made = student(predictor)
    with torch.no_grad():
        values, lengths = encoded([frames])
        text, text_lengths = torch.tensor([tokens]), torch.tensor([len(tokens)])
        loss = made.transducer_loss(values, lengths, text, text_lengths)
        expected = all_alignments(made, values[0], tokens)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@each_predictor
def test_a_batch_is_the_mean_of_its_utterances_whatever_the_padding(predictor: str) -> None:
    made = student(predictor)
    texts, frames = [[3, 4, 5], [6], [4, 4]], [3, 5, 2]
    values, lengths = encoded(frames)
    text = torch.tensor([line + [-1] * (3 - len(line)) for line in texts])
    text_lengths = torch.tensor([3, 1, 2])
    with torch.no_grad():
        alone = [
            all_alignments(made, values[i, :count], texts[i]) for i, count in enumerate(frames)
        ]
        loss = made.transducer_loss(values, lengths, text, text_lengths)
        assert loss.item() == pytest.approx(sum(alone) / 3, rel=1e-5)
        longer = torch.nn.functional.pad(values, (0, 0, 0, 4), value=7.0)
        more = torch.nn.functional.pad(text, (0, 2), value=-1)
        torch.testing.assert_close(made.transducer_loss(longer, lengths, more, text_lengths), loss)
        order = [2, 0, 1]
        shuffled = (values[order], lengths[order], text[order], text_lengths[order])
        torch.testing.assert_close(made.transducer_loss(*shuffled), loss)


def test_an_utterance_without_words_is_all_blank() -> None:
    made = student()
    values, lengths = encoded([3, 3])
    text, text_lengths = torch.tensor([[3, 4], [-1, -1]]), torch.tensor([2, 0])
    with torch.no_grad():
        loss = made.transducer_loss(values, lengths, text, text_lengths).item()
        alone = all_alignments(made, values[0], [3, 4]), all_alignments(made, values[1], [])
    assert loss == pytest.approx(sum(alone) / 2, rel=1e-5)


def test_gradients_do_not_reach_the_padding() -> None:
    values, lengths = encoded([4, 2])
    values.requires_grad_()
    text = torch.tensor([[3, 4], [5, -1]])
    student().transducer_loss(values, lengths, text, torch.tensor([2, 1])).backward()
    assert bool(values.grad[0].any(dim=-1).all())
    assert bool(values.grad[1, :2].any(dim=-1).all())
    assert not values.grad[1, 2:].any()


@each_predictor
def test_the_ctc_is_added_with_its_weight(predictor: str) -> None:
    loss, stats, weight = student(predictor, model_conf={"ctc_weight": 0.2})(**tiny_batch())
    expected = stats["loss_transducer"] + 0.2 * stats["loss_ctc"]
    torch.testing.assert_close(loss.squeeze(), expected.squeeze())
    torch.testing.assert_close(stats["loss"], loss.detach())
    assert 0 <= stats["cer_ctc"] and weight.item() == 2


def test_without_ctc_there_is_none() -> None:
    made = student(model_conf={"ctc_weight": 0.0})
    loss, stats, _ = made(**tiny_batch())
    assert set(stats) == {"loss", "loss_transducer"}
    torch.testing.assert_close(loss, stats["loss_transducer"])
    assert not any(name.startswith("ctc.") for name in made.state_dict())


def test_float32_under_autocast() -> None:
    made = student()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        half = made(**tiny_batch())[0]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, made(**tiny_batch())[0].detach(), rtol=0.02, atol=0.02)


def test_stands_on_espnets_names() -> None:
    made = student()
    assert isinstance(made, ESPnetASRModel)
    parts = {name.split(".")[0] for name in made.state_dict()}
    assert parts - {"frontend"} == {"encoder", "decoder", "joint_network", "ctc"}
    assert made.blank_id == TOKENS.index("<blank>") == BLANK


def test_the_predictor_follows_the_student_to_its_device() -> None:
    """ESPnet's predictors remember where they were built and make their first state there."""
    made = student("lstm")
    made.decoder.device = torch.device("meta")  # built elsewhere, then moved here
    assert bool(torch.isfinite(made(**tiny_batch())[0]))


def test_the_text_matters_and_is_left_as_it_was() -> None:
    made = student()
    values, lengths = encoded([3, 3])
    text, text_lengths = torch.tensor([[3, 4], [5, -1]]), torch.tensor([2, 1])
    with torch.no_grad():
        loss = made.transducer_loss(values, lengths, text, text_lengths)
        other = made.transducer_loss(values, lengths, text.clamp(min=6), text_lengths)
    assert loss != other
    assert text.tolist() == [[3, 4], [5, -1]]


def test_the_auxiliary_ctc_gives_shrink_matching_its_path() -> None:
    block = {"teacher": "teacher", "tap": "encoder", "match": "shrink", "loss": "mse"}
    made = student(distill={"x": block}).train()
    loss, _, _ = made(**tiny_batch())
    loss.backward()
    assert made.distillers["x"].head.weight.grad.abs().sum() > 0
    assert type(made.distillers["x"].head).__name__ == "ProjectionHead", "published with it"


# -- one-best paths of a recogniser --------------------------------------------------

PATH = {"teacher": "big", "tap": "logits", "match": "path", "loss": "kl"}


def taught(**changes: object) -> TransducerStudent:
    """A student with one distiller on its lattice."""
    facts = {"big": {"width": 3 + len(TOKENS), "step_ms": 40.0}}
    return tiny_student("transducer", {"path": PATH | changes}, facts)


def own_path(made: TransducerStudent, batch: dict, count: int) -> dict:
    """The batch with what the student itself says at the first nodes of each utterance."""
    with torch.no_grad():
        encoded, lengths = made.encode(batch["speech"], batch["speech_lengths"])
        predicted = made.predict(batch["text"], batch["text_lengths"])
        rows = []
        for b in range(len(lengths)):
            nodes = [(t, min(t, int(batch["text_lengths"][b]))) for t in range(count)]
            said = torch.stack(
                [made.joint_network(encoded[b, t], predicted[b, u]) for t, u in nodes]
            )
            place = torch.tensor([(*node, 0) for node in nodes], dtype=torch.float32)
            rows.append(torch.cat([place, said.log_softmax(-1)], dim=1))
    given = {"targets_big": torch.stack(rows), "targets_big_lengths": torch.tensor([count] * 2)}
    return {k: v for k, v in batch.items() if not k.startswith("targets_")} | given


def test_a_student_that_says_what_its_teacher_says_has_nothing_to_learn() -> None:
    made = taught().eval()
    batch = own_path(made, tiny_batch(), 6)
    assert made(**batch)[1]["distill/path"].item() == pytest.approx(0.0, abs=1e-5)
    batch["targets_big"][0, 2, 3:] = torch.randn(len(TOKENS)).log_softmax(0)
    assert made(**batch)[1]["distill/path"].item() > 1e-3


def test_paths_teach_encoder_predictor_and_joint_network() -> None:
    made = taught(reduce="sum", match_conf={"delay": 80.0, "window": 40.0}, weight=0.5).train()
    batch = own_path(made, tiny_batch(), 6)
    batch["targets_big"][..., 3:] = torch.randn(2, 6, len(TOKENS)).log_softmax(-1)
    loss, stats, _ = made(**batch)
    expected = stats["loss_asr"] + 0.5 * stats["distill/path"]
    torch.testing.assert_close(loss.detach().reshape(()), expected.reshape(()))
    made.zero_grad()
    with made.taps.recording():  # the term alone
        made.asr_loss(**batch)
        terms, _ = made._distill(batch, {})
    terms["path"].backward()
    for part in (made.encoder, made.decoder, made.joint_network):
        assert any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())


def test_padding_changes_nothing_of_the_path_term() -> None:
    made = taught().eval()
    batch = own_path(made, tiny_batch(samples=(16000, 16000)), 6)
    batch["targets_big"][..., 3:] = torch.randn(2, 6, len(TOKENS)).log_softmax(-1)
    term = made(**batch)[1]["distill/path"]
    padded = dict(batch)
    padded["targets_big"] = torch.nn.functional.pad(batch["targets_big"], (0, 0, 0, 4), value=9.0)
    padded["text"] = torch.nn.functional.pad(batch["text"], (0, 3), value=-1)
    torch.testing.assert_close(made(**padded)[1]["distill/path"], term)


def test_posteriors_of_a_ctc_teach_the_auxiliary_ctc() -> None:
    block = {"teacher": "big", "tap": "ctc", "match": "ctc", "loss": "kl"}
    made = tiny_student(
        "transducer", {"x": block}, {"big": {"width": len(TOKENS), "step_ms": 40.0}}
    )
    made.eval()
    batch = tiny_batch(teachers={"big": len(TOKENS)}, step_ms=40.0)
    with torch.no_grad():
        encoded, lengths = made.encode(batch["speech"], batch["speech_lengths"])
        said = made.ctc.log_softmax(encoded)
    batch |= {"targets_big": said, "targets_big_lengths": lengths}
    assert made(**batch)[1]["distill/x"].item() == pytest.approx(0.0, abs=1e-5)
