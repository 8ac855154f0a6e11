"""Our search inside the library's quantizer: never worse, and the library's training goes on."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

pytest.importorskip("multi_quantization")
from multi_quantization import Quantizer

from distill_asr.targets.codebook_search import SweepQuantizer, SweepTrainer

WIDTH = 12
# codebooks and entries: both phases of training, and the smallest
each_shape = pytest.mark.parametrize(("codebooks", "entries"), [(8, 16), (4, 256), (1, 256)])


def both(codebooks: int, entries: int) -> tuple[Quantizer, SweepQuantizer]:
    torch.manual_seed(0)
    library = Quantizer(WIDTH, entries, codebooks)
    library.centers.data *= 3
    return library, SweepQuantizer.like(library)


def errors(quantizer: Quantizer, x: Tensor, sweeps: int) -> Tensor:
    codes = quantizer.encode(x, sweeps, as_bytes=False)
    return (quantizer.decode(codes) - x).square().sum(dim=1)


@each_shape
def test_no_sweep_makes_any_frame_worse(codebooks: int, entries: int) -> None:
    library, ours = both(codebooks, entries)
    x = torch.randn(100, WIDTH)
    with torch.no_grad():
        found = [errors(ours, x, sweeps) for sweeps in range(6)]
    torch.testing.assert_close(found[0], errors(library, x, 0), msg="the same first guess")
    for before, after in pairwise(found):
        assert (after <= before + 1e-5).all()
    assert found[1].mean() < found[0].mean()


def test_in_the_end_no_single_code_can_be_bettered() -> None:
    _, ours = both(4, 16)
    x = torch.randn(20, WIDTH)
    codes = ours.encode(x, 100, as_bytes=False)
    best = (ours.decode(codes) - x).square().sum(dim=1)
    for book in range(4):
        for entry in range(16):
            other = codes.clone()
            other[:, book] = entry
            assert ((ours.decode(other) - x).square().sum(dim=1) >= best - 1e-5).all()


def test_one_codebook_takes_the_nearest_entry() -> None:
    _, ours = both(1, 256)
    x = torch.randn(50, WIDTH)
    nearest = torch.cdist(x, ours.get_centers()[0]).argmin(dim=1)
    assert torch.equal(ours.encode(x, 1, as_bytes=False)[:, 0], nearest)


@each_shape
def test_the_same_states_and_gradients_of_codes(codebooks: int, entries: int) -> None:
    library, ours = both(codebooks, entries)
    codes = torch.randint(entries, (2, 30, codebooks))
    torch.testing.assert_close(ours.decode(codes), library.decode(codes))
    for quantizer in (library, ours):
        quantizer.decode(codes).square().sum().backward()
    torch.testing.assert_close(ours.centers.grad, library.centers.grad)


def test_the_librarys_trainer_trains_it_through_both_phases() -> None:
    x = torch.randn(400, WIDTH, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    trainer = SweepTrainer(WIDTH, 2, torch.device("cpu"), phase_one_iters=40, phase_two_iters=40)
    assert (trainer.quantizer.num_codebooks, trainer.quantizer.codebook_size) == (4, 16)
    while not trainer.done():
        trainer.step(x)
    quantizer = trainer.get_quantizer()
    assert isinstance(quantizer, SweepQuantizer)
    assert quantizer.centers.shape == (2, 256, WIDTH)
    with torch.no_grad():
        assert errors(quantizer, x, 5).sum() < 0.3 * x.square().sum()
