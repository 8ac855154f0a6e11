"""Recognisers as teachers: posteriors and paths are what the recogniser itself computes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("espnet2")
from distill_asr.errors import UserError
from distill_asr.experiments.export.espnet_model import export_model
from distill_asr.experiments.recogniser import AVERAGED, lattice_path
from distill_asr.experiments.student import load_student
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.recognisers import save_recogniser


def waveforms(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


AUDIO = waveforms(16000, 9000, 12345)
WORDS = ["ab cd", "a", "dd ab c"]


def config(model: Path, output: str = "posteriors", **options: str) -> TeacherConfig:
    return TeacherConfig("t.yaml", "recogniser", str(model), output=output, **options)


@pytest.fixture(scope="module")
def transducer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_recogniser(tmp_path_factory.mktemp("transducer"))


class TestPosteriors:
    def test_are_those_of_the_student(self, transducer: Path) -> None:
        teacher = load_teacher(config(transducer))
        student, _ = load_student(transducer, AVERAGED)
        assert teacher.reads == "audio" and teacher.width == len(TOKENS)
        for waveform, found in zip(AUDIO, teacher.states(AUDIO), strict=True):
            speech = torch.from_numpy(waveform)[None]
            with torch.no_grad():
                encoded, lengths = student.encode(speech, torch.tensor([len(waveform)]))
                expected = student.ctc.log_softmax(encoded)[0].numpy()
            assert len(found) == int(lengths) and found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-5)
            np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)

    def test_batch_equals_single(self, transducer: Path) -> None:
        teacher = load_teacher(config(transducer))
        for waveform, found in zip(AUDIO, teacher.states(AUDIO), strict=True):
            np.testing.assert_array_equal(found, teacher.states([waveform])[0])

    def test_facts(self, transducer: Path) -> None:
        teacher = load_teacher(config(transducer))
        assert (teacher.step_ms, teacher.max_size) == (40.0, None)
        assert teacher.tokens == tuple(TOKENS) and teacher.blank_id == 0
        assert teacher.size(AUDIO[1]) == 9000
        assert len(teacher.states(waveforms(teacher.min_samples))[0]) == 1
        with pytest.raises(ValueError, match="shorter than"):
            teacher.states(waveforms(teacher.min_samples - 1))

    @pytest.mark.parametrize("changes", [{"model_conf": {"ctc_weight": 0.0}}, None])
    def test_need_a_ctc(self, tmp_path: Path, changes: dict | None) -> None:
        model = "encoder_only" if changes is None else "transducer"
        save_recogniser(tmp_path, model, **(changes or {"token_list": TOKENS}))
        lacks = r"posteriors given, but .* has no CTC; use one with ctc_weight above 0"
        with pytest.raises(UserError, match=lacks):
            load_teacher(config(tmp_path))


class TestPath:
    def test_goes_through_the_students_own_lattice(self, transducer: Path) -> None:
        teacher = load_teacher(config(transducer, "path"))
        assert teacher.reads == "audio+text" and teacher.width == 3 + len(TOKENS)
        assert (teacher.step_ms, teacher.size((AUDIO[1], "a"))) == (40.0, 9000)
        student, _ = load_student(transducer, AVERAGED)
        paths = teacher.states(list(zip(AUDIO, WORDS, strict=True)))
        for waveform, words, path in zip(AUDIO, WORDS, paths, strict=True):
            symbols = [TOKENS.index("<space>" if c == " " else c) for c in words]
            history = torch.tensor([[0, *symbols]])
            with torch.no_grad():
                encoded, _ = student.encode(
                    torch.from_numpy(waveform)[None], torch.tensor([len(waveform)])
                )
                lattice = student.joint_network(
                    encoded.unsqueeze(2), student.decoder(history).unsqueeze(1)
                )[0]
            scores = lattice.log_softmax(dim=-1).numpy()  # [T, U + 1, V], all of it
            t, u = path[:, 0].astype(int), path[:, 1].astype(int)
            np.testing.assert_allclose(path[:, 3:], scores[t, u], atol=1e-5)
            np.testing.assert_array_equal(path[:, 2], scores[t, u].argmax(axis=-1))
            assert len({*zip(t, u, strict=True)}) == len(path) > 1

    def test_needs_a_transducer(self, tmp_path: Path) -> None:
        with pytest.raises(
            UserError, match="is not a transducer; use one, or `output: posteriors`"
        ):
            load_teacher(config(save_recogniser(tmp_path, "ctc"), "path"))

    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 6), st.integers(0, 4), st.integers(2, 5), st.integers(0, 2**31))
    def test_laws_of_the_walk(self, frames: int, tokens: int, symbols: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        lattice = torch.randn(frames, tokens + 1, symbols, generator=generator)
        path = lattice_path(
            lambda t, u: lattice[int(t), int(u)], torch.arange(frames)[:, None],
            torch.arange(tokens + 1)[:, None], blank=1,
        )  # fmt: skip
        t, u, symbol = path[:, :3].long().unbind(1)
        assert (t[0], u[0]) == (0, 0) and len(path) <= frames + tokens
        blank = symbol == 1
        np.testing.assert_array_equal(t.diff(), blank[:-1].long())
        np.testing.assert_array_equal(u.diff(), (~blank[:-1]).long())
        # it stops where its next step leaves the lattice, not before
        assert t[-1] == frames - 1 if blank[-1] else u[-1] == tokens
        torch.testing.assert_close(path[:, 3:], lattice[t, u].log_softmax(-1))

    def test_a_walk_by_hand(self) -> None:
        blank, a, b = (torch.eye(3)[i] * 9 for i in range(3))
        lattice = [[a, blank, b], [b, b, blank], [a, a, blank]]  # [t][u]
        path = lattice_path(
            lambda t, u: lattice[int(t)][int(u)], torch.arange(3)[:, None],
            torch.arange(3)[:, None], blank=0,
        )  # fmt: skip
        assert path[:, :3].tolist() == [[0, 0, 1], [0, 1, 0], [1, 1, 2], [1, 2, 0], [2, 2, 0]]


class TestFingerprint:
    def test_of_what_decides_the_numbers(self, transducer: Path, tmp_path: Path) -> None:
        def fingerprint(directory: Path, output: str = "posteriors") -> str:
            return load_teacher(config(directory, output)).fingerprint

        same = save_recogniser(tmp_path / "same", max_epoch=7, output_dir="elsewhere")
        assert fingerprint(same) == fingerprint(transducer)
        tokens = [*TOKENS[:3], "x", *TOKENS[4:]]
        others = [
            fingerprint(transducer, "path"),
            fingerprint(save_recogniser(tmp_path / "a", seed=1)),
            fingerprint(save_recogniser(tmp_path / "b", token_list=tokens)),
        ]
        assert len({fingerprint(transducer), *others}) == 4


class TestDirectories:
    def test_stock_espnet(self, tmp_path: Path) -> None:
        stock = {"n_fft": 400, "hop_length": 160, "n_mels": 16}
        ours = save_recogniser(tmp_path / "ours", "ctc", frontend="default", frontend_conf=stock)
        export_model(ours, tmp_path / "stock")
        assert yaml.safe_load((tmp_path / "stock/config.yaml").read_text())["model"] == "espnet"
        expected = load_teacher(config(ours))
        found = load_teacher(config(tmp_path / "stock"))  # its only checkpoint: model.pth
        for one, other in zip(found.states(AUDIO), expected.states(AUDIO), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_files_named_from_the_root_of_the_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As ESPnet's published models are: exp/asr/config.yaml names exp/stats/..."""
        stats = tmp_path / "model/exp/stats/feats_stats.npz"
        stats.parent.mkdir(parents=True)
        ones = np.ones(16)
        np.savez(stats, count=10, sum=10 * ones, sum_square=30 * ones)
        normalize = {"stats_file": "exp/stats/feats_stats.npz"}
        monkeypatch.chdir(tmp_path / "model")
        save_recogniser(Path("exp/asr"), "ctc", normalize="global_mvn", normalize_conf=normalize)
        monkeypatch.chdir(tmp_path)
        teacher = load_teacher(config(tmp_path / "model/exp/asr"))
        assert np.isfinite(teacher.states(AUDIO)[0]).all()
        stats.unlink()
        with pytest.raises(UserError, match=r"feats_stats.npz exists neither at that path"):
            load_teacher(config(tmp_path / "model/exp/asr"))

    def test_missing_says_how_to_get_one(self, tmp_path: Path) -> None:
        with pytest.raises(UserError) as caught:
            load_teacher(config(tmp_path))
        (problem,) = caught.value.problems
        assert f"t.yaml: model: {tmp_path} holds no config.yaml" in problem
        assert "distill-asr train" in problem and "hf download" in problem

    def test_checkpoint_must_be_clear(self, tmp_path: Path) -> None:
        save_recogniser(tmp_path, "ctc")
        (tmp_path / AVERAGED).rename(tmp_path / "3epoch.pth")
        assert load_teacher(config(tmp_path)).width == len(TOKENS)
        (tmp_path / "4epoch.pth").write_bytes((tmp_path / "3epoch.pth").read_bytes())
        with pytest.raises(UserError, match=r"holds 2 of them \(3epoch.pth, 4epoch.pth\)"):
            load_teacher(config(tmp_path))
        assert load_teacher(config(tmp_path, checkpoint="4epoch.pth")).width == len(TOKENS)
        with pytest.raises(UserError, match=r"5epoch.pth: no such file"):
            load_teacher(config(tmp_path, checkpoint="5epoch.pth"))

    def test_weights_of_another_shape(self, tmp_path: Path) -> None:
        save_recogniser(tmp_path, "ctc")
        path = tmp_path / "config.yaml"
        path.write_text(path.read_text().replace("num_blocks: 2", "num_blocks: 1"))
        with pytest.raises(UserError, match="does not fit the config"):
            load_teacher(config(tmp_path))

    def test_another_sampling_rate(self, tmp_path: Path) -> None:
        save_recogniser(tmp_path, "ctc", frontend_conf={"n_mels": 16, "fs": 8000})
        with pytest.raises(UserError, match="needs audio at 8000 Hz, but prepared"):
            load_teacher(config(tmp_path))

    def test_device_that_is_not_there(self, transducer: Path) -> None:
        with pytest.raises(UserError, match="--device cuda:99"):
            load_teacher(config(transducer), "cuda:99")
