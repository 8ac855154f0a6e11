"""The CIF student's loss, its taps, and what it makes of awkward utterances."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from distill_asr.distill.block import DistillBlock
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.facts import TeacherFacts
from distill_asr.distill.losses import MSE, Contrastive
from distill_asr.distill.matching.token import TokenMatcher
from distill_asr.errors import UserError
from distill_asr.espnet.task import build_untrained
from distill_asr.models.students.cif import CIFStudent, cross_entropy_sums
from distill_asr.testing.fixtures import TOKENS, tiny_config
from distill_asr.testing.students import tiny_batch

END = len(TOKENS) - 1
SMALL = {"attention_heads": 2, "linear_units": 12, "num_blocks": 1}
QUIET = {"dropout_rate": 0.0, "positional_dropout_rate": 0.0}
# a rate that leaves more frames than tokens, and no batch statistics
ENCODER = {
    "encoder": "transformer",
    "encoder_conf": {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2,
        "attention_dropout_rate": 0.0, **QUIET,
    },
}  # fmt: skip
DECODERS = {"cif_ar": SMALL | QUIET, "cif_nar": SMALL | {"dropout_rate": 0.0}}
each_decoder = pytest.mark.parametrize("decoder", DECODERS)


def student(decoder: str = "cif_ar", seed: int = 0, **changes: Any) -> CIFStudent:
    conf = {"weights_conf": {"dropout_rate": 0.0}} | changes.pop("model_conf", {})
    parts = {"decoder": decoder, "decoder_conf": DECODERS[decoder], "model_conf": conf}
    config = tiny_config("ctc", **(ENCODER | parts | changes)) | {"model": "cif"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_untrained(config)


def batch(**options: Any) -> dict[str, Any]:
    return {k: v for k, v in tiny_batch(**options).items() if not k.startswith("targets")}


def both_levels(made: CIFStudent, width: int = 6) -> dict[str, Distiller]:
    """Acoustic and linguistic level, as arXiv 2301.13003 has them."""
    made.watch(["cif", "decoder"])
    levels = {"acoustic": ("cif", Contrastive(0.1)), "linguistic": ("decoder", MSE("sum"))}
    return {
        name: Distiller(
            DistillBlock("bert", tap, name, weight=0.1, reduce="pair"),
            TokenMatcher(),
            nn.Linear(made.token_taps()[tap].width, width),
            loss,
            TeacherFacts(width, None),
        )
        for name, (tap, loss) in levels.items()
    }


def with_targets(given: dict[str, Any], width: int = 6) -> dict[str, Any]:
    """A text teacher's states for [CLS], every token and [SEP]."""
    lengths = given["text_lengths"] + 2
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(len(lengths), int(lengths.max()), width, generator=generator)
    return given | {"targets_bert": states, "targets_bert_lengths": lengths}


@each_decoder
def test_the_loss_is_the_sum_of_its_parts_per_token(decoder: str) -> None:
    made = student(decoder, model_conf={"ctc_weight": 0.2, "quantity_weight": 3.0})
    loss, stats, weight = made(**batch())
    parts = stats["loss_ce"] + 3.0 * stats["loss_quantity"] + 0.2 * stats["loss_ctc"]
    torch.testing.assert_close(loss.squeeze(), parts.squeeze())
    torch.testing.assert_close(stats["loss"], loss.detach())
    assert weight.item() == 3 + 4 + 2  # tokens, an end token in each of two
    assert stats["unfired"].item() == 0 and 0 <= stats["acc"].item() <= 1


def test_terms_by_hand() -> None:
    made, given = student().eval(), batch()
    encoded, lengths = made.encode(given["speech"], given["speech_lengths"])
    targets = [[*row[:n], END] for row, n in zip(given["text"].tolist(), (3, 4), strict=True)]
    tokens = sum(map(len, targets))
    alpha = made.weights(encoded, lengths)
    quantity = sum(abs(alpha[i].sum().item() - len(row)) for i, row in enumerate(targets))
    ctc = nn.functional.ctc_loss(
        made.ctc.ctc_lo(encoded).log_softmax(-1).transpose(0, 1),
        torch.tensor([token for row in targets for token in row]),
        lengths,
        torch.tensor([len(row) for row in targets]),
        reduction="sum",
    )
    _, stats, _ = made(**given)
    assert stats["loss_quantity"].item() == pytest.approx(quantity / tokens, rel=1e-5)
    assert stats["loss_ctc"].item() == pytest.approx(ctc.item() / tokens, rel=1e-5)
    likelihood = 0.0
    for i, row in enumerate(targets):  # one by one, so without any padding
        count = int(lengths[i])
        cif = made.integrate(
            encoded[i : i + 1, :count], lengths[i : i + 1], torch.tensor([len(row)])
        )
        logits, _ = made.decoder(cif.states, cif.lengths, torch.tensor([[END, *row[:-1]]]))
        log_probs = logits[0].log_softmax(-1)
        likelihood -= sum(log_probs[u, token].item() for u, token in enumerate(row))
    assert stats["nll"].item() == pytest.approx(likelihood / tokens, rel=1e-5)


def test_label_smoothing_goes_to_the_other_tokens() -> None:
    logits = torch.randn(1, 2, 5, generator=torch.Generator().manual_seed(0)).double()
    targets, lengths = torch.tensor([[3, 0]]), torch.tensor([2])
    wanted = torch.full((2, 5), 0.1 / 4).double()
    wanted[0, 3] = wanted[1, 0] = 0.9
    entropy, likelihood, _ = cross_entropy_sums(logits, targets, lengths, 0.1)
    log_probs = logits[0].log_softmax(-1)
    torch.testing.assert_close(entropy, -(wanted * log_probs).sum())
    torch.testing.assert_close(likelihood, -(log_probs[0, 3] + log_probs[1, 0]))
    torch.testing.assert_close(cross_entropy_sums(logits, targets, lengths, 0.0)[0], likelihood)


@each_decoder
def test_every_parameter_learns(decoder: str) -> None:
    made = student(decoder, model_conf={"pool_after": [1]})
    made.attach(both_levels(made))
    made(**with_targets(batch()))[0].backward()
    assert [name for name, p in made.named_parameters() if p.grad is None] == []
    assert all(bool(torch.isfinite(p.grad).all()) for p in made.parameters())


def test_without_ctc_there_is_none() -> None:
    made = student(model_conf={"ctc_weight": 0.0})
    assert "loss_ctc" not in made(**batch())[1]
    assert not any(name.startswith("ctc.") for name in made.state_dict())


# -- taps ---------------------------------------------------------------------------------


def taps(made: CIFStudent, given: dict[str, Any]) -> dict:
    with made.taps.recording():
        made.asr_loss(**given)
        return dict(made.taps.states)


@each_decoder
def test_token_taps_have_a_state_a_token_and_the_end(decoder: str) -> None:
    made, given = student(decoder), batch()
    assert made.tap_names() == ["encoder", "encoder:1", "encoder:2", "ctc", "cif", "decoder"]
    made.watch(["encoder:1", "cif", "decoder"])
    for mode in (made.train(), made.eval()):  # transcripts are known in both
        found = taps(mode, given)
        for name, shape in made.token_taps().items():
            assert found[name].step_ms is shape.step_ms is None
            assert found[name].lengths.tolist() == [4, 5]
            assert found[name].values.shape == (2, 5, shape.width)
        assert {"encoder", "encoder:1", "ctc"} <= set(found)
    assert made.taps.states == {}


def test_both_levels_are_added_and_learnt() -> None:
    torch.manual_seed(0)  # of heads, SpecAugment and negatives
    made, given = student(), with_targets(batch())
    made.attach(both_levels(made))
    optimiser = torch.optim.Adam(made.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        loss, stats, _ = made(**copy.deepcopy(given))
        expected = stats["loss_asr"] + 0.1 * (
            stats["distill/acoustic"] + stats["distill/linguistic"]
        )
        torch.testing.assert_close(loss.detach().squeeze(), expected.squeeze())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append([stats[f"distill/{name}"].item() for name in ("acoustic", "linguistic")])
    first, last = torch.tensor(losses[:5]).mean(dim=0), torch.tensor(losses[-5:]).mean(dim=0)
    assert bool((last < 0.7 * first).all()), (first, last)


def test_targets_of_another_text_name_the_utterance() -> None:
    made, given = student(), with_targets(batch())
    made.attach(both_levels(made))
    given["targets_bert_lengths"] = given["targets_bert_lengths"] - torch.tensor([0, 1])
    with pytest.raises(UserError, match="utt1: 5 student tokens, 4 from the teacher"):
        made(**given)


def test_an_utterance_with_more_tokens_than_frames_teaches_nothing_at_token_level() -> None:
    made, given = student(), batch(samples=(16000, 3000))  # 3000 samples leave 4 frames
    made.attach(both_levels(made))
    given["text"] = torch.full((2, 9), 4)
    given["text_lengths"] = torch.tensor([9, 9])
    found = taps(made, given)
    assert found["cif"].lengths.tolist() == found["decoder"].lengths.tolist() == [10, 0]
    loss, stats, _ = made(**with_targets(given))
    assert bool(torch.isfinite(loss)) and 0 < stats["unfired"].item() < 0.5
    loss.backward()


# -- pooling, padding, precision ------------------------------------------------------------


def test_pooling_lowers_the_rate() -> None:
    given = batch()
    encoded = student().eval().encode(given["speech"], given["speech_lengths"])
    pooled = student(model_conf={"pool_after": [1, 2]}).eval()
    _, lengths = pooled.encode(given["speech"], given["speech_lengths"])
    assert lengths.tolist() == [-(-n // 4) for n in encoded[1].tolist()]
    pooled.watch(["encoder:1", "encoder:2"])
    found = taps(pooled, given)
    assert found["encoder"].values.size(1) == found["encoder:2"].values.size(1)
    assert found["encoder:1"].values.size(1) == -(-encoded[0].size(1) // 2)


@each_decoder
def test_padding_of_the_batch_changes_nothing(decoder: str) -> None:
    made, given = student(decoder).eval(), batch(samples=(16000, 9600))
    padded = dict(given)
    padded["text"] = nn.functional.pad(given["text"], (0, 7), value=-1)
    padded["speech"] = nn.functional.pad(given["speech"], (0, 7))  # no frame more
    with torch.no_grad():
        plain, more = made(**given)[1], made(**padded)[1]
    for name in plain:
        torch.testing.assert_close(more[name], plain[name], atol=1e-5, rtol=1e-5, msg=name)


@each_decoder
def test_half_precision_gives_float32_losses(decoder: str) -> None:
    made = student(decoder).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, stats, _ = made(**batch())
    assert loss.dtype == torch.float32
    assert stats["unfired"].item() == 0  # weights are summed in float64
    loss.backward()
    full = made(**batch())[0]
    torch.testing.assert_close(loss.detach(), full.detach(), rtol=0.05, atol=0.05)


def test_a_batch_in_which_nothing_fires() -> None:
    made = student()
    encoded = torch.randn(2, 5, 16)
    with torch.no_grad():
        made.weights.project.bias -= 50
    cif = made.integrate(encoded, torch.tensor([5, 3]))
    assert cif.lengths.tolist() == [0, 0]
    loss, stats, _ = made(**batch())
    assert stats["unfired"].item() == 1
    loss.backward()
    assert all(p.grad is not None for p in made.parameters())
    assert bool(torch.isfinite(loss))


@each_decoder
def test_an_utterance_of_50_ms_beside_others(decoder: str) -> None:
    made, given = student(decoder), batch(samples=(16000, 800))
    made.attach(both_levels(made))
    _, lengths = made.encode(given["speech"], given["speech_lengths"])
    assert lengths.tolist()[1] < 5, "fewer frames than its four tokens and the end"
    loss, stats, _ = made(**with_targets(given))
    assert bool(torch.isfinite(loss)) and stats["unfired"].item() > 0
    loss.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in made.parameters())


def test_an_hour_of_frames() -> None:
    made = student("cif_nar").eval()
    hidden = torch.randn(1, 45000, 16, generator=torch.Generator().manual_seed(0))
    cif: Tensor = made.integrate(hidden, torch.tensor([45000]), torch.tensor([12000]))
    assert cif.lengths.tolist() == [12000]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"decoder": "transformer", "decoder_conf": {}}, "cif_ar, cif_nar"),
        ({"model_conf": {"weights": "gru", "weights_conf": {}}}, "'gru'"),
        ({"model_conf": {"pool_after": [3]}}, "3 given, but TransformerEncoder shows 2"),
    ],
)
def test_mistakes(changes: dict, named: str) -> None:
    parts = ENCODER | {"decoder": "cif_nar", "decoder_conf": SMALL} | changes
    with pytest.raises(ValueError, match=named):
        build_untrained(tiny_config("ctc", **parts) | {"model": "cif"})


@each_decoder
def test_both_levels_are_a_config(decoder: str) -> None:
    levels = {
        "acoustic": {
            "teacher": "bert", "tap": "cif", "match": "token", "loss": "contrastive",
            "loss_conf": {"temperature": 0.1}, "reduce": "pair",
        },
        "linguistic": {
            "teacher": "bert", "tap": "decoder", "match": "token", "loss": "mse",
            "loss_conf": {"reduce_dim": "sum"}, "weight": 0.01, "reduce": "pair",
        },
    }  # fmt: skip
    made = student(
        decoder, distill=levels, distill_teachers={"bert": {"width": 6, "step_ms": None}}
    )
    spoken = batch()
    lengths = spoken["text_lengths"] + 2  # [CLS] and [SEP]
    spoken |= {"targets_bert": torch.randn(len(lengths), int(lengths.max()), 6)}
    loss, stats, _ = made.train()(**spoken, targets_bert_lengths=lengths)
    loss.backward()
    for name in levels:
        assert stats[f"distill/{name}"] > 0
        assert made.distillers[name].head.weight.grad.abs().sum() > 0
