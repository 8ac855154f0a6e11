"""Low-rank adapters inside a pretrained model, through peft."""

from __future__ import annotations

from typing import Any

from distill_asr.errors import UserError, nearest

# linear layers that are adapted where the config names none: query and value of the attention
_TARGETS = {
    "hubert": ("q_proj", "v_proj"),
    "wav2vec2": ("q_proj", "v_proj"),
    "wav2vec2-bert": ("linear_q", "linear_v"),
    "whisper": ("q_proj", "v_proj"),
    # its attention reads the weights past the layers that hold them, so adapters would be unheard
    "wavlm": ("intermediate_dense", "output_dense"),
}
UNHEARD = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}


def add_lora(
    model: Any,
    r: int = 8,
    alpha: int = 16,
    dropout: float = 0.0,
    targets: list[str] | None = None,
) -> None:
    """Put adapters beside linear layers, in place; everything else is frozen.

    Parameters
    ----------
    model : of transformers, of a family in ``TARGETS``.
    r, alpha : rank, and scale of the adapter's output times r (arXiv 2106.09685).
    dropout : on the adapter's input.
    targets : last parts of the names of linear layers.

    Raises
    ------
    UserError : peft is not installed.
    ValueError : a target is not a layer of the model, or adapters cannot reach it.
    """
    try:
        import peft
    except ImportError as error:
        raise UserError(
            "encoder_conf.lora needs peft; install it with `pip install distill_asr[lora]`"
        ) from error
    family = model.config.model_type
    targets = list(_TARGETS[family] if targets is None else targets)
    layers = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    for target in targets:
        if target in UNHEARD.get(family, ()):
            raise ValueError(
                f"lora.targets: {target} of {family} bypasses adapters; "
                f"use {', '.join(_TARGETS[family])}"
            )
        if target not in layers:
            raise ValueError(f"lora.targets: no layer {target!r}{nearest(target, layers)}")
    config = peft.LoraConfig(
        r=r, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets, bias="none"
    )
    peft.inject_adapter_in_model(config, model)
