"""Taps say what the encoder itself says, whichever of ESPnet's encoders it is."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from distill_asr.distill.states import States, TapShape
from distill_asr.models.students.base import Student, probe_taps
from distill_asr.models.students.taps import TapRecorder, encoder_layers, encoder_tap_names
from distill_asr.testing.students import tiny_batch, tiny_student

PLAIN = {"output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2}
BRANCHES = {"output_size": 16, "attention_heads": 2, "num_blocks": 2, "cgmlp_linear_units": 16,
            "cgmlp_conv_kernel": 3}  # fmt: skip
RNN = {"num_layers": 2, "hidden_size": 8, "output_size": 8}
ENCODERS: dict[str, tuple[dict, int, int]] = {  # arguments, layers, step in ms
    "conformer": (PLAIN | {"cnn_module_kernel": 3}, 2, 40),
    "transformer": (PLAIN, 2, 40),
    "branchformer": (BRANCHES, 2, 40),
    "e_branchformer": (BRANCHES | {"linear_units": 16}, 2, 40),
    "rnn": (RNN | {"subsample": [1, 2]}, 1, 20),
    "vgg_rnn": (RNN, 2, 40),
}
each_encoder = pytest.mark.parametrize("encoder", sorted(ENCODERS))


def student(encoder: str, watched: list[str] | None = None) -> Student:
    made = tiny_student("encoder_only", distill={}, encoder=encoder,
                        encoder_conf=ENCODERS[encoder][0]).eval()  # fmt: skip
    if watched is not None:
        made.watch(watched)
    return made


def recorded(made: Student) -> tuple[dict[str, States], torch.Tensor, torch.Tensor]:
    """Taps of a batch of two lengths, and what the encoder returned for it."""
    batch = tiny_batch((16000, 9000))
    with torch.no_grad(), made.taps.recording():
        values, lengths = made.encode(batch["speech"], batch["speech_lengths"])
        return dict(made.taps.states), values, lengths


@each_encoder
def test_names(encoder: str) -> None:
    layers = ENCODERS[encoder][1]
    names = ["encoder", *(f"encoder:{number}" for number in range(1, layers + 1))]
    assert student(encoder).tap_names() == names


@each_encoder
def test_the_encoder_tap_is_what_the_encoder_returns(encoder: str) -> None:
    states, values, lengths = recorded(student(encoder, ["encoder"]))
    assert set(states) == {"encoder"}, "layers are recorded only when asked for"
    assert torch.equal(states["encoder"].values, values)
    assert torch.equal(states["encoder"].lengths, lengths)
    assert states["encoder"].lengths.dtype == torch.int64


@each_encoder
def test_layers_are_recorded_when_asked_for(encoder: str) -> None:
    made = student(encoder)
    asked = made.tap_names()[1:]
    made.watch(asked)
    states, values, lengths = recorded(made)
    assert set(states) == {"encoder", *asked}
    for name in asked:
        tap = states[name]
        assert tap.values.dim() == 3
        assert tap.values.size(0) == 2
        assert int(tap.lengths.max()) <= tap.values.size(1)
        ratio = tap.values.size(1) / values.size(1)
        torch.testing.assert_close(tap.lengths / lengths, torch.full((2,), ratio), atol=0.1, rtol=0)


@pytest.mark.parametrize("encoder", ["conformer", "transformer"])
def test_the_last_layer_is_the_output_before_its_norm(encoder: str) -> None:
    made = student(encoder, ["encoder:1", "encoder:2"])
    states, values, _ = recorded(made)
    torch.testing.assert_close(made.encoder.after_norm(states["encoder:2"].values), values)
    assert not torch.equal(states["encoder:1"].values, states["encoder:2"].values)


@each_encoder
def test_widths_and_steps_are_measured(encoder: str) -> None:
    made = student(encoder)
    names = made.tap_names()
    made.watch(names)
    shapes = probe_taps(made, names, 16000)
    assert shapes["encoder"] == TapShape(made.encoder.output_size(), ENCODERS[encoder][2])
    assert set(shapes) == set(names)


@pytest.mark.parametrize(
    ("layer", "step"),
    [("conv2d1", 10), ("conv2d2", 20), ("conv2d", 40), ("conv2d6", 60), ("conv2d8", 80)],
)
def test_steps_of_subsamplings(layer: str, step: int) -> None:
    conf = PLAIN | {"input_layer": layer}
    made = tiny_student("encoder_only", distill={}, encoder="conformer",
                        encoder_conf=conf | {"cnn_module_kernel": 3})  # fmt: skip
    made.watch(["encoder", "encoder:1"])
    shapes = probe_taps(made, ["encoder", "encoder:1"], 16000)
    assert set(shapes.values()) == {TapShape(16, step)}


def test_steps_follow_the_frame_shift() -> None:
    made = tiny_student("encoder_only", distill={}, frontend_conf={"n_mels": 16, "frame_shift": 5})
    made.watch(["encoder"])
    assert probe_taps(made, ["encoder"], 16000)["encoder"].step_ms == 20


def test_probing_leaves_no_trace() -> None:
    made = tiny_student("ctc", specaug="specaug", specaug_conf={"time_mask_width_range": [0, 5]})
    made.train()
    made.encoder.eval()  # a part frozen by its owner
    made.watch(["encoder"])
    weights = {name: value.clone() for name, value in made.state_dict().items()}
    modes = {name: module.training for name, module in made.named_modules()}
    torch.manual_seed(5), random.seed(5), np.random.seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    probe_taps(made, ["encoder"], 16000)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]
    assert {name: module.training for name, module in made.named_modules()} == modes
    assert all(torch.equal(value, weights[name]) for name, value in made.state_dict().items())
    assert made.taps.states == {}


def test_nothing_is_recorded_outside_of_recording() -> None:
    made = student("conformer", ["encoder", "encoder:1"])
    batch = tiny_batch()
    made.encode(batch["speech"], batch["speech_lengths"])
    assert made.taps.states == {}
    with made.taps.recording():
        made.encode(batch["speech"], batch["speech_lengths"])
        assert set(made.taps.states) == {"encoder", "encoder:1"}
    assert made.taps.states == {}, "a batch is not kept in memory"


def test_an_error_inside_ends_the_recording() -> None:
    made = student("conformer", ["encoder"])
    batch = tiny_batch()
    with pytest.raises(RuntimeError, match="boom"), made.taps.recording():
        made.encode(batch["speech"], batch["speech_lengths"])
        raise RuntimeError("boom")
    assert made.taps.states == {}


def test_a_student_may_give_taps_itself() -> None:
    recorder = TapRecorder()
    states = States(torch.zeros(1, 2, 3), torch.tensor([2]), None)
    recorder.put("cif", states)
    assert recorder.states == {}, "only while recording"
    with recorder.recording():
        recorder.put("cif", states)
        assert recorder.states == {"cif": states}


def test_taps_carry_the_step_once_it_is_known() -> None:
    made = student("conformer", ["encoder"])
    assert recorded(made)[0]["encoder"].step_ms is None
    made.taps.shapes = probe_taps(made, ["encoder"], 16000)
    assert recorded(made)[0]["encoder"].step_ms == 40


def test_an_encoder_that_shows_no_layers_still_has_its_output() -> None:
    assert encoder_layers(nn.Linear(1, 1)) == []
    assert encoder_tap_names(nn.Linear(1, 1)) == ["encoder"]
