"""A dump of speech targets against loops over transformers' model: float32, all cores.

A model with random weights reads utterances of 2 to 15 s. The plain loop takes one at a time, the
padded one batches in the order of the files. Where s3prl is installed, its extraction from a HuBERT
of the base shape is a third one. All arms take turns, a part of the utterances each, so
that whatever else the machine does hits all. Ours is what `distill-asr dump` runs: audio read from
files, targets written to disk. Models are loaded before. On a GPU, the loops take a share of the
utterances, and the model is also run alone, on input that is there already.

    python bench/dump_speech.py
    python bench/dump_speech.py --dtype float32 --model wavlm --profile
    python bench/dump_speech.py --device cuda --nj 8 --utterances 3600 --shape large --compile
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill_asr.data.datadir import DataDir
from distill_asr.dump.machine import usable_cores
from distill_asr.dump.run import dump_sets
from distill_asr.dump.workers import Processes
from distill_asr.io.audio import SAMPLE_RATE, read_audio
from distill_asr.pretrained.precision import has_bfloat16, relative_error
from distill_asr.targets import TargetReader
from distill_asr.teachers import TeacherConfig
from distill_asr.testing.data_dirs import write_data_dir

LIMITS = {"bfloat16": 3.0, "float32": 1.15}  # ours over the plain loop, on CPU
_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}
_TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_TINY |= {"intermediate_size": 32, "conv_dim": (8,) * 7, "num_conv_pos_embedding_groups": 2}
_WAVEFORM = {"base": {}, "large": _LARGE, "tiny": _TINY}
_WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8}
_WHISPER_BASE |= {"encoder_ffn_dim": 2048, "num_mel_bins": 80, "decoder_layers": 1}
_WHISPER_BASE |= {"decoder_attention_heads": 8}
_WHISPER_LARGE = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20}
_WHISPER_LARGE |= {"encoder_ffn_dim": 5120, "num_mel_bins": 128, "decoder_layers": 1}
_WHISPER_LARGE |= {"decoder_attention_heads": 20}
_WHISPER = {"base": _WHISPER_BASE, "large": _WHISPER_LARGE}
SHAPES = {"hubert": _WAVEFORM, "wavlm": _WAVEFORM, "whisper": _WHISPER}
CLASSES = {
    "hubert": ("HubertConfig", "HubertModel"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
    "whisper": ("WhisperConfig", "WhisperModel"),
}
PADDED = 8  # utterances of a batch of the padded loop
PROFILED = 16  # utterances
LOOPED = 16  # on CUDA the loops take one of so many
REPEATS = 10  # of the model alone
SHARE = 0.5  # of the bfloat16 matmul rate, on CUDA
ERROR = 0.01


def main() -> int:
    """Print both rates and their ratio; 1 where it is under the limit."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        config = make_teacher(root / "model", options)
        parts = make_data(root, options)
        plain = PlainLoop(config.model, options)
        theirs = S3prlLoop(root / "s3prl.pt", options.device) if has_s3prl(options) else None
        devices = [options.device] * options.nj
        with closing(Processes(config, devices, options.threads)) as workers:
            rates, error = measure(parts, plain, theirs, config, workers, options)
        status = report(parts, rates, error, plain, options)
        if options.device.startswith("cuda"):
            print_alone(config, parts[1:], plain, options)
        if options.profile:
            print_profile(config, parts[1:], options)
        return status


def parse() -> argparse.Namespace:
    """Options; the defaults take about two minutes on two cores."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--utterances", type=int, default=60)
    parser.add_argument("--seconds", type=float, nargs=2, default=(2.0, 15.0))
    parser.add_argument("--parts", type=int, default=3, help="turns of each arm")
    parser.add_argument("--model", choices=sorted(SHAPES), default="hubert")
    parser.add_argument("--shape", choices=("base", "large", "tiny"), default="base")
    parser.add_argument("--profile", action="store_true", help="the teacher's operations after it")
    parser.add_argument("--compile", action="store_true", help="`compile: true` of the teacher")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", help="bfloat16 or float32 (default: the best there is)")
    parser.add_argument("--nj", type=int, help="workers (default: one a core; one on CUDA)")
    parser.add_argument("--threads", type=int, help="of each (default: its share of the cores)")
    parser.add_argument("--batch-seconds", type=float, help="(default: 10; 300 on CUDA)")
    options = parser.parse_args()
    if options.shape not in SHAPES[options.model]:
        parser.error(f"--shape: {options.model} has {', '.join(SHAPES[options.model])} here")
    cuda = options.device.startswith("cuda")
    options.dtype = options.dtype or ("bfloat16" if has_bfloat16(options.device) else "float32")
    options.nj = options.nj or (1 if cuda else usable_cores())
    options.threads = options.threads or max(1, usable_cores() // options.nj)
    options.batch_seconds = options.batch_seconds or (300.0 if cuda else 10.0)
    options.looped = LOOPED if cuda else 1
    return options


def make_teacher(path: Path, options: argparse.Namespace) -> TeacherConfig:
    """Save the random model; the last layer is dumped."""
    import transformers

    torch.manual_seed(0)
    config, model = (getattr(transformers, name) for name in CLASSES[options.model])
    shape = config(**SHAPES[options.model][options.shape])
    model(shape).save_pretrained(path)
    if options.model == "whisper":
        mels = shape.num_mel_bins
        transformers.WhisperFeatureExtractor(feature_size=mels).save_pretrained(path)
    else:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(path)
    content = {
        "kind": "speech",
        "model": str(path),
        "layers": [shape.num_hidden_layers],
        "dtype": options.dtype,
        "compile": options.compile,
    }
    content |= {"codec": {"name": "fp16"}, "batch_seconds": options.batch_seconds}
    return TeacherConfig.from_mapping(content, str(path))


def make_data(root: Path, options: argparse.Namespace) -> list[DataDir]:
    """Data dirs of noise, the first one to warm up with; lengths in no order."""
    rng = np.random.default_rng(0)
    lengths = np.linspace(*options.seconds, options.utterances) * SAMPLE_RATE
    parts = np.array_split(rng.permutation(lengths.round().astype(int)), options.parts)
    data_dirs = []
    for number, part in enumerate([np.full(4 * options.nj, 3 * SAMPLE_RATE), *parts]):
        named = {f"utt{number}-{i:04d}": int(count) for i, count in enumerate(part)}
        data_dirs.append(DataDir.read(write_data_dir(root / f"part{number}", named, number)))
    return data_dirs


class PlainLoop:
    """What one writes first: the library's model and a loop."""

    def __init__(self, path: str, options: argparse.Namespace) -> None:
        import transformers

        self.device = options.device
        self.windowed = options.model == "whisper"  # everything is padded to 30 s
        model = getattr(transformers, CLASSES[options.model][1]).from_pretrained(path)
        self.model = (model.encoder if self.windowed else model).eval().to(self.device)
        self.extractor = transformers.AutoFeatureExtractor.from_pretrained(path)

    def states(self, waveform: np.ndarray) -> np.ndarray:
        """Give the last layer [S, E]."""
        with torch.inference_mode():
            states = self._output([waveform]).last_hidden_state[0].cpu().numpy()
        return states[: -(-len(waveform) // 320)] if self.windowed else states

    def _output(self, waveforms: list[np.ndarray]) -> Any:
        padding = {} if self.windowed else {"padding": True}
        inputs = self.extractor(
            waveforms, sampling_rate=SAMPLE_RATE, return_tensors="pt", **padding
        )
        return self.model(**inputs.to(self.device), output_hidden_states=True)

    def run(self, wav: dict[str, str]) -> dict[str, np.ndarray]:
        """States of every utterance."""
        return {u: self.states(read_audio(path)[0]) for u, path in wav.items()}

    def run_padded(self, wav: dict[str, str]) -> None:
        """Batches in the order of the files; states are left where they are."""
        paths = list(wav.values())
        with torch.inference_mode():
            for first in range(0, len(paths), PADDED):
                waveforms = [read_audio(path)[0] for path in paths[first : first + PADDED]]
                self._output(waveforms).last_hidden_state.cpu().numpy()

    def flops(self, samples: list[int]) -> float:
        """Floating-point operations for these utterances, counted on one of 8 s."""
        from torch.utils.flop_counter import FlopCounterMode

        noise = np.random.default_rng(0).normal(0, 0.1, 8 * SAMPLE_RATE).astype(np.float32)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self._output([noise])
        total = counter.get_total_flops()
        return total * (len(samples) if self.windowed else sum(samples) / len(noise))


class S3prlLoop:
    """s3prl's extraction of all layers, an utterance at a time; random weights of its own."""

    def __init__(self, path: Path, device: str) -> None:
        from s3prl.upstream.hubert import hubert_model
        from s3prl.upstream.hubert.expert import UpstreamExpert

        shape = hubert_model.HubertConfig(label_rate=50)
        task = hubert_model.HubertPretrainingConfig()
        model = hubert_model.HubertModel(shape, task, [["0"]])
        saved = {"task_cfg": asdict(task), "model_cfg": asdict(shape)}
        saved |= {"model_weight": model.state_dict(), "dictionaries_symbols": [["0"]]}
        torch.save(saved, path)
        self.expert, self.device = UpstreamExpert(str(path)).eval().to(device), device

    def run(self, wav: dict[str, str]) -> None:
        """The last layer of every utterance."""
        with torch.inference_mode():
            for path in wav.values():
                waveform = torch.from_numpy(read_audio(path)[0]).to(self.device)
                self.expert([waveform])["hidden_states"][-1].cpu().numpy()


def has_s3prl(options: argparse.Namespace) -> bool:
    """Whether its extraction can be an arm; its models are files, but for HuBERT's base shape."""
    return (options.model, options.shape) == ("hubert", "base") and find_spec("s3prl") is not None


def measure(
    parts: list[DataDir],
    plain: PlainLoop,
    theirs: S3prlLoop | None,
    config: TeacherConfig,
    workers: Processes,
    options: argparse.Namespace,
) -> tuple[dict[str, float], float]:
    """Seconds of audio a second of each arm, and the relative error of what ours wrote."""
    seconds = {"plain": 0.0, "padded": 0.0, "ours": 0.0}
    seconds |= {} if theirs is None else {"s3prl": 0.0}
    audio = dict(seconds)
    found, expected = [], []

    def ours(part: DataDir) -> None:
        shard_utts = -(-len(part) // (2 * options.nj))
        dump_sets([part], "hubert", config, workers, shard_utts, float("inf"))

    for number, part in enumerate(parts):
        states = {}
        wav = dict(list(part.wav.items())[:: options.looped])
        turns = {"ours": lambda: ours(part), "plain": lambda: states.update(plain.run(wav))}  # noqa: B023
        turns["padded"] = lambda: plain.run_padded(wav)  # noqa: B023
        if theirs is not None:
            turns["s3prl"] = lambda: theirs.run(wav)  # noqa: B023
        for arm in sorted(turns, reverse=number % 2 == 0):
            begin = time.perf_counter()
            turns[arm]()
            if number > 0:  # the first one warms up
                seconds[arm] += time.perf_counter() - begin
                samples = [part.num_samples[u] for u in (part.wav if arm == "ours" else wav)]
                audio[arm] += sum(samples) / SAMPLE_RATE
        targets = TargetReader(part.path / "targets/hubert")
        found += [targets[u] for u in states]
        expected += list(states.values())
    rates = {arm: audio[arm] / taken for arm, taken in seconds.items()}
    return rates, relative_error(found, expected)


def matmul_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product in the dtype, all cores."""
    size = 8192 if device.startswith("cuda") else 2048
    a = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(8):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def report(
    parts: list[DataDir],
    rates: dict[str, float],
    error: float,
    plain: PlainLoop,
    options: argparse.Namespace,
) -> int:
    """Rates, their ratio, and how much of the machine that is."""
    samples = [count for part in parts[1:] for count in part.num_samples.values()]
    audio = sum(samples) / SAMPLE_RATE
    ratio = rates["ours"] / rates["plain"]
    peak = matmul_rate(options.device, getattr(torch, options.dtype))
    flops = plain.flops(samples)
    speed = flops / audio * rates["ours"]
    share = speed / peak
    print(
        f"{options.model}, {options.shape}: {len(samples)} utterances, {audio:.0f} s, "
        f"{options.device}; ours: "
        f"{options.dtype}{', compiled' * options.compile}, {options.nj} worker(s) of "
        f"{options.threads} thread(s), batches of {options.batch_seconds:g} s"
    )
    for arm in sorted(rates, key=rates.get):
        print(
            f"{arm:<11}{rates[arm]:8.1f} x real time, ours {rates['ours'] / rates[arm]:.2f} times"
        )
    print(
        f"ours does {speed / 1e9:.0f} GFLOP/s, {100 * share:.0f} % of the "
        f"{peak / 1e9:.0f} of a {options.dtype} matrix product"
    )
    print(f"states within {error:.1e} of float32, limit {ERROR:g}")
    if options.device.startswith("cuda"):
        print(f"ratio {ratio:.2f}; share of the matmul rate {share:.2f}, limit {SHARE}")
        return int(share < SHARE or error > ERROR)
    limit = LIMITS[options.dtype]
    print(f"ratio      {ratio:8.2f}, limit {limit}")
    return int(ratio < limit or error > ERROR)


def print_alone(
    config: TeacherConfig, parts: list[DataDir], plain: PlainLoop, options: argparse.Namespace
) -> None:
    """The model's own rate: a batch of the longest utterances, again and again."""
    teacher, batches = loaded_batches(config, parts[0], len(parts[0]), options)
    batch = batches[0][: int(options.batch_seconds / 30)] if plain.windowed else batches[0]
    begin = time.perf_counter()
    teacher.states(batch)
    whole = time.perf_counter() - begin
    inputs, _ = teacher.inputs(batch)
    teacher.forward(inputs)[0, 0, 0].item()  # waits for the device
    begin = time.perf_counter()
    for _ in range(REPEATS):
        states = teacher.forward(inputs)
    states[0, 0, 0].item()
    taken = (time.perf_counter() - begin) / REPEATS
    samples = [len(waveform) for waveform in batch]
    share = plain.flops(samples) / taken / matmul_rate(options.device, torch.bfloat16)
    audio = sum(samples) / SAMPLE_RATE
    print(
        f"the model alone {audio / taken:8.1f} x real time, share {share:.2f}; a batch with its "
        f"features and copies, one at a time, {audio / whole:.1f} x"
    )


def print_profile(config: TeacherConfig, parts: list[DataDir], options: argparse.Namespace) -> None:
    """Shares of operations in the states of a few utterances, in this process."""
    from torch.profiler import ProfilerActivity, profile

    teacher, batches = loaded_batches(config, parts[0], PROFILED, options)
    cuda = options.device.startswith("cuda")
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    begin = time.perf_counter()
    with profile(activities=kinds) as profiler:
        for batch in batches:
            teacher.states(batch)
    taken = time.perf_counter() - begin
    key = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = sorted(profiler.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events)
    print(f"operations on {sum(map(len, batches))} utterances, {taken:.1f} s with the profiler")
    for event in events[:12]:
        print(f"  {event.key:<40.40}{100 * getattr(event, key) / total:6.1f} %{event.count:8d} x")


def loaded_batches(
    config: TeacherConfig, part: DataDir, count: int, options: argparse.Namespace
) -> tuple[Any, list[list[np.ndarray]]]:
    """The teacher in this process, warm, and some utterances as it takes them."""
    from distill_asr.dump.loaded import LoadedTeacher
    from distill_asr.dump.source import AudioSource

    loaded = LoadedTeacher(config, options.device, options.threads)
    source = AudioSource(part).part(list(part.wav)[:count])
    batches = [
        [source.read(utterance) for utterance in batch]
        for batch in source.batches(loaded.teacher, loaded.config)
    ]
    loaded.teacher.states(batches[0])
    return loaded.teacher, batches


if __name__ == "__main__":
    sys.exit(main())
