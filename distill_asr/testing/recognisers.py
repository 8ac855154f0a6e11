"""Tiny random recognisers as experiment directories, to try them as teachers untrained."""

from pathlib import Path
from typing import Any

from distill_asr.experiments.layout import Experiment
from distill_asr.testing.fixtures import tiny_config


def save_recogniser(
    directory: Path, model: str = "transducer", *, seed: int = 0, **changes: Any
) -> Path:
    """Write config.yaml and valid.loss.ave.pth as a training leaves them; give the directory.

    Parameters
    ----------
    model : as of ``tiny_config``.
    changes : top-level keys of the config to set.
    seed : same seed, same weights.
    """
    import torch
    import yaml

    from distill_asr.espnet.task import DistillTask

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config = tiny_config(model, distill={}, **changes)
    parser = DistillTask.get_parser()
    parser.set_defaults(**config)
    args = parser.parse_args([])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = DistillTask.build_model(args)
        for name, parameter in built.named_parameters():
            if name.startswith(("ctc.", "decoder.", "joint_network.")):
                # opinions, so that best symbols differ from frame to frame
                parameter.data += torch.randn_like(parameter)
    torch.save(built.state_dict(), Experiment(directory).model)
    text = yaml.safe_dump(vars(args), sort_keys=False)
    Experiment(directory).config.write_text(text, encoding="utf-8")
    return directory
