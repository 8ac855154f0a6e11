"""The manifest: round trip, and statistics over several targets."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distill_asr.errors import UserError
from distill_asr.targets import Manifest, pooled_statistics
from distill_asr.targets.manifest import STD_FLOOR, Source
from distill_asr.targets.writer import TargetWriter
from distill_asr.testing.targets import target_settings


def test_round_trip(make_targets: Callable) -> None:
    directory, _, manifest = make_targets()
    assert Manifest.load(directory) == manifest
    assert (manifest.width, manifest.step_ms, manifest.layers) == (3, 20.0, (2,))
    assert manifest.weights_sha256 == "f" * 64


def test_statistics_are_over_all_frames(make_targets: Callable) -> None:
    _, states, manifest = make_targets()
    frames = np.concatenate(list(states.values())).astype(np.float64)
    assert manifest.frames == len(frames) == 35
    np.testing.assert_allclose(manifest.mean, frames.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(manifest.std, frames.std(axis=0), rtol=1e-12)


def test_statistics_are_of_what_will_be_read(make_targets: Callable) -> None:
    _, states, manifest = make_targets(codec={"name": "fp16"})
    frames = np.concatenate(list(states.values()))
    decoded = frames.astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(manifest.mean, decoded.mean(axis=0), rtol=1e-13)
    assert (manifest.mean != frames.astype(np.float64).mean(axis=0)).all()


def test_pooled_statistics_weigh_by_frames(make_targets: Callable) -> None:
    _, few, first = make_targets("train", {"a": 640})
    _, many, second = make_targets("unlabelled", {"b": 16000, "c": 2240})
    frames = np.concatenate([*few.values(), *many.values()]).astype(np.float64)
    mean, std = pooled_statistics([first, second])
    np.testing.assert_allclose(mean, frames.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, frames.std(axis=0), rtol=1e-11)


def test_a_dimension_that_never_moves_has_the_floor(make_targets: Callable) -> None:
    _, _, manifest = make_targets()
    still = dataclasses.replace(manifest, std=[0.0, 1.0, 2.0])
    assert pooled_statistics([still])[1].tolist() == [STD_FLOOR, 1.0, 2.0]


def test_statistics_of_different_teachers_are_not_pooled(make_targets: Callable) -> None:
    _, _, one = make_targets("train")
    _, _, other = make_targets("unlabelled", weights_sha256="0" * 64, layers=(7,))
    with pytest.raises(UserError) as caught:
        pooled_statistics([one, other])
    (problem,) = caught.value.problems
    assert "weights_sha256" in problem and "layers (7,) instead of (2,)" in problem


def test_unfinished_foreign_and_broken_manifests(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    path = directory / "manifest.json"
    content = json.loads(path.read_text())

    def problem() -> str:
        with pytest.raises(UserError) as caught:
            Manifest.load(directory)
        return str(caught.value)

    path.write_text(json.dumps(content | {"format": 99}))
    assert "format 99, this version reads format " in problem()
    path.write_text(json.dumps(content | {"surprise": 1}))
    assert "surprise" in problem()
    path.write_text(json.dumps({k: v for k, v in content.items() if k != "layers"}))
    assert "layers" in problem()
    for key, value in (
        ("width", "3"), ("mean", [1.0]), ("mean", None), ("std", [float("nan")] * 3),
        ("frames", 0), ("codec", "fp32"), ("codec", {}), ("step_ms", -1),
        ("shards", [content["shards"][0] | {"file": "../targets.0000.ark"}]),
        ("source", content["source"] | {"text": "../text"}),
    ):  # fmt: skip
        path.write_text(json.dumps(content | {key: value}))
        assert str(path) in problem() and "dump again with --overwrite" in problem()
    path.write_text(json.dumps(content, indent=1).replace('"mean": [\n  ', '"mean": [\n  1'))
    assert "damaged or changed by hand" in problem()
    for broken in ("{", "[]", "\N{REPLACEMENT CHARACTER}"):
        path.write_text(broken)
        assert str(path) in problem()
    path.unlink()
    assert "never dumped or the dump is unfinished" in problem()


def test_order_within_a_shard_does_not_show_in_the_last_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    states = {f"u{i}": rng.normal(3, 1, (7 + i, 5)).astype(np.float32) for i in range(9)}
    found = []
    for name, order in ("forth", sorted(states)), ("back", sorted(states, reverse=True)):
        writer = TargetWriter(tmp_path / name, target_settings())
        writer.write_shard(0, "", [(u, states[u]) for u in order])
        manifest = writer.finish(1, "t", "m", 20.0, Source(9, "", ""))
        found.append((manifest.mean, manifest.std))
    assert found[0] == found[1]
