"""Installation of distill_asr; tested versions are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "distill_asr/__init__.py").read_text()).group(
    1
)

MINI = ["espeakng-loader>=0.2.4", "babel>=2.16", "accelerate>=1.0"]
CLUSTER = ["dask[distributed]", "dask-jobqueue", "asyncssh"]
MVQ = ["multi_quantization==0.1.1"]  # exactly: its search is replaced, see codebook_search.py
REPORT = ["matplotlib", "jinja2", "plotly"]
DEMO = ["aiohttp"]
EXPORT = ["onnx", "onnxruntime"]
HUMAN = ["av"]  # PyAV: G.722 of Asterisk's prompts, for `distill-asr corpus human`
DEPLOY = ["sherpa-onnx", "soundfile"]
LORA = ["peft"]
HUGGINGFACE = ["pyarrow"]  # data sets on disk
BENCH = ["torch-cif==0.2.0", "POT"]  # what bench/cif.py and bench/transport.py compare with
PROBE = ["scikit-learn"]  # of egs/mini_homophones/asr1/local/probe.py
DOCS = ["mkdocs-material"]
LINT = ["ruff", "import-linter", "mypy", "types-PyYAML", "types-tqdm", "pre-commit"]
TEST = [
    *MINI,
    *REPORT,
    *DEMO,
    *LORA,
    *HUGGINGFACE,
    *CLUSTER,
    *HUMAN,
    *MVQ,
    *EXPORT,
    *DEPLOY,
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "kaldi-native-fbank",
    "POT",
    "selenium",
]

setup(
    name="distill_asr",
    version=VERSION,
    description="Distil large frozen teachers into small ESPnet speech recognisers",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["distill_asr", "distill_asr.*"]),
    package_data={
        "distill_asr": ["py.typed", "*.pyi"],
        "distill_asr.report": ["templates/*"],
        "distill_asr.demo": ["page/*"],
    },
    python_requires=">=3.10",
    install_requires=[
        "espnet>=202511",
        "torch>=2.5,<2.13",
        "torchaudio>=2.5",
        "transformers>=5.0",
        "numpy>=2.0",
        "numba",
        "sentencepiece",
        "kaldiio",
        "soundfile",
        "soxr",
        "scipy",
        "pyyaml",
        "jiwer",
        "rapidfuzz",
        "tensorboard",
        "tqdm",
    ],
    extras_require={
        "mini": [*MINI, *MVQ],
        "human": [*HUMAN, *MVQ],
        "cluster": CLUSTER,
        "mvq": MVQ,
        "report": REPORT,
        "demo": DEMO,
        "export": EXPORT,
        "deploy": DEPLOY,
        "lora": LORA,
        "huggingface": HUGGINGFACE,
        "bench": BENCH,
        "probe": PROBE,
        "docs": DOCS,
        "test": TEST,
        "dev": [*TEST, *BENCH, *PROBE, *LINT, *DOCS],
    },
    entry_points={"console_scripts": ["distill-asr = distill_asr.cli:main"]},
)
