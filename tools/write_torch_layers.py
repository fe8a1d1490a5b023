"""Write what torch's layers compute and learn, or with --check compare what is committed.

A case of `torch_layers` is a layer of torch on arrays in our layout. It takes a few steps of gradient
descent on the sum of its outputs times `cotangent`. The file holds, by ``case|what|name``: the inputs
(``in``, the steps in front) and first leaves (``start``); of the last step the outputs (``train``) and
the gradients of parameters and inputs (``grad``, ``grad_in``); then the buffers (``buffer``) and the outputs
when nothing is trained (``infer``) for the last inputs. All of it is computed in float64 and rounded once.

Runs where torch is installed (``nox -s oracle``); ``test_against_torch.py`` of axonax-graph, which has the
same names in its table, reads the file without it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_layers import feedforward, sequences
from torch_layers.case import Case, Given

PATH = Path(__file__).resolve().parent.parent / "packages/axonax-graph/tests/fixtures/torch_layers.npz"
CASES: dict[str, Case] = {**feedforward.CASES, **sequences.CASES}
RATE, TOLERANCE = 0.1, 1e-6


def cotangent(shape: tuple[int, ...]) -> torch.Tensor:
    """What an output of this shape is multiplied with."""
    return torch.cos(torch.arange(int(np.prod(shape)), dtype=torch.float64)).reshape(shape)


def drawn(rng: np.random.Generator, given: Given, steps: int) -> np.ndarray:
    """The values of an input at each step."""
    if isinstance(given, np.ndarray):
        return given
    return rng.normal(size=(steps, *given)).astype("float32")


def tensors(arrays: Mapping[str, np.ndarray], step: int) -> dict[str, torch.Tensor]:
    """The inputs of a step; floats among them have gradients."""
    found = {}
    for name, array in arrays.items():
        each = torch.tensor(array[step])
        found[name] = each.double().requires_grad_() if each.is_floating_point() else each
    return found


def flat(outputs: Any) -> list[torch.Tensor]:
    """The tensors of nested tuples in order."""
    return (
        [outputs] if isinstance(outputs, torch.Tensor) else [leaf for each in outputs for leaf in flat(each)]
    )


def run(case: Case, params: Any, buffers: Any, inputs: Mapping[str, torch.Tensor], train: bool) -> list[Any]:
    """The outputs for inputs by place or name."""
    positional = [value for name, value in inputs.items() if name.isdigit()]
    named = {name: value for name, value in inputs.items() if not name.isdigit()}
    return flat(case.run(params, buffers, train, *positional, **named))


def learned(name: str, case: Case) -> Iterator[tuple[str, Any]]:
    """All arrays of a case by what they are."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    given = {**{str(place): each for place, each in enumerate(case.inputs)}, **case.named}
    arrays = {key: drawn(rng, each, case.steps) for key, each in given.items()}
    start = {key: rng.normal(size=shape).astype("float32") for key, shape in case.params.items()}
    yield from ((f"in|{key}", array) for key, array in arrays.items())
    yield from ((f"start|{key}", array) for key, array in {**start, **case.buffers}.items())
    params = {key: torch.tensor(array).double().requires_grad_() for key, array in start.items()}
    buffers = {key: torch.tensor(array).double() for key, array in case.buffers.items()}
    for step in range(case.steps):
        inputs = tensors(arrays, step)
        outputs = run(case, params, buffers, inputs, train=True)
        loss = sum((each * cotangent(tuple(each.shape))).sum() for each in outputs)
        wanted = {f"grad|{key}": each for key, each in params.items()}
        wanted |= {f"grad_in|{key}": each for key, each in inputs.items() if each.requires_grad}
        gradients = dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True))
        params = {
            key: (each - RATE * gradients[f"grad|{key}"]).detach().requires_grad_()
            for key, each in params.items()
        }
    yield from ((f"train|{place}", each) for place, each in enumerate(outputs))
    yield from gradients.items()
    yield from ((f"buffer|{key}", each) for key, each in buffers.items())
    predicted = run(case, params, dict(buffers), inputs, train=False)
    yield from ((f"infer|{place}", each) for place, each in enumerate(predicted))


def everything() -> dict[str, np.ndarray]:
    """All arrays by ``case|what|name``; floats in float32."""
    found = {}
    for name, case in CASES.items():
        for what, value in learned(name, case):
            array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
            found[f"{name}|{what}"] = array.astype("float32") if array.dtype.kind == "f" else array
    return found


def check(arrays: dict[str, np.ndarray]) -> list[str]:
    """The differences between what is committed and what torch gives now."""
    with np.load(PATH) as held:
        committed = dict(held)
    wrong = [f"{name} is missing or stale" for name in arrays.keys() ^ committed.keys()]
    for name in arrays.keys() & committed.keys():
        if not np.allclose(arrays[name], committed[name], rtol=TOLERANCE, atol=TOLERANCE):
            wrong.append(f"{name} differs")
    return sorted(wrong)


def main() -> int:
    """Write the fixture, or compare it."""
    torch.set_num_threads(1)
    arrays = everything()
    if "--check" in sys.argv:
        wrong = check(arrays)
        print("\n".join(wrong) or "the committed layers are what torch gives")
        return bool(wrong)
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, **{name: arrays[name] for name in sorted(arrays)})
    print(f"{PATH.name}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
