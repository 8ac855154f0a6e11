"""Tiny language models of ESPnet's own, as its training leaves them."""

from pathlib import Path
from typing import Any

from distill_asr.experiments.layout import Experiment
from distill_asr.testing.fixtures import TOKENS

_SIZES: dict[str, dict[str, Any]] = {
    "seq_rnn": {"unit": 12, "nlayers": 1},
    "transformer": {"embed_unit": 8, "att_unit": 8, "head": 2, "unit": 16, "layer": 1},
}


def save_language_model(
    directory: Path,
    kind: str = "seq_rnn",
    *,
    tokens: list[str] | None = None,
    favourite: str | None = None,
    seed: int = 0,
) -> Path:
    """Write config.yaml and valid.loss.ave.pth of a random model; give the directory.

    Parameters
    ----------
    kind : ``seq_rnn`` or ``transformer``.
    tokens : ``TOKENS`` where not given.
    favourite : a token that it expects everywhere.
    seed : same seed, same weights.
    """
    import torch
    import yaml

    from distill_asr.espnet.plugin import LMTask

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokens = tokens or list(TOKENS)
    parser = LMTask.get_parser()
    parser.set_defaults(token_type="char", lm=kind, lm_conf=_SIZES[kind])
    args = parser.parse_args([])
    args.token_list = tokens
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LMTask.build_model(args)
    with torch.no_grad():
        model.lm.decoder.weight *= 4  # opinions
        if favourite is not None:
            model.lm.decoder.bias[tokens.index(favourite)] += 20
    torch.save(model.state_dict(), Experiment(directory).model)
    text = yaml.safe_dump(vars(args), sort_keys=False)
    Experiment(directory).config.write_text(text, encoding="utf-8")
    return directory
