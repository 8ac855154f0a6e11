"""Max-pooling over time between encoder layers, for frame rates lower than the front-end's.

Legend: B batch, T frames, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from distill_asr.models.students.taps import encoder_layers


def pool_after(encoder: nn.Module, layers: Sequence[int]) -> None:
    """Let an ESPnet encoder halve its frame rate after the given layers, counted from 1.

    As in arXiv 2301.13003, where layers 5 and 10 of 15 bring 20 ms to 80 ms.

    Parameters
    ----------
    encoder : gets a hook on each of the layers.
    layers : their numbers, from 1.

    Raises
    ------
    ValueError : the encoder has no such layer.
    """
    stack = encoder_layers(encoder)
    for layer in layers:
        if not 1 <= layer <= len(stack):
            raise ValueError(
                f"pool_after: {layer} given, but {type(encoder).__name__} shows {len(stack)} layers"
            )
        stack[layer - 1].register_forward_hook(_pool_output)


def take_pooling(layer: nn.Module) -> bool:
    """Take the pooling away from a layer; whether there was one."""
    hooks = [key for key, hook in layer._forward_hooks.items() if hook is _pool_output]
    for key in hooks:
        del layer._forward_hooks[key]
    return bool(hooks)


def pool_time(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Largest of each two frames; valid where one of them is.

    Parameters
    ----------
    states : [B, T, D].
    mask : [B, 1, T], True where valid.

    Returns
    -------
    States [B, ceil(T / 2), D] and their mask; zero where not valid.
    """
    odd = states.size(1) % 2
    padded = nn.functional.pad(states, (0, 0, 0, odd))
    valid = nn.functional.pad(mask[:, 0], (0, odd)).bool()
    hidden = padded.masked_fill(~valid.unsqueeze(-1), float("-inf"))
    pooled = hidden.unflatten(1, (-1, 2)).amax(dim=2)
    valid = valid.unflatten(1, (-1, 2)).any(dim=2)
    return pooled.masked_fill(~valid.unsqueeze(-1), 0.0), valid.unsqueeze(1).to(mask.dtype)


def _pool_output(module: nn.Module, args: tuple, output: tuple) -> tuple:
    """A layer gives (states, mask), or ((states, relative positions), mask)."""
    if not isinstance(output, tuple) or len(output) != 2 or not isinstance(output[1], Tensor):
        raise ValueError(
            f"pool_after: layers of type {type(module).__name__} cannot be pooled; choose an "
            "input_layer of a lower rate, or postencoder: length_adaptor"
        )
    states, mask = output
    if not isinstance(states, tuple):
        return pool_time(states, mask)
    states, positions = states
    before = states.size(1)
    states, mask = pool_time(states, mask)
    after = states.size(1)
    if positions.size(1) == 2 * before - 1:  # from -(T - 1) to T - 1
        return (states, positions[:, before - after : before + after - 1]), mask
    return (states, positions[:, :after]), mask  # of ESPnet's legacy kind
