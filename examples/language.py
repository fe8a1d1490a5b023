"""A language model of the characters of a text: trained, measured against counts of pairs, asked for more.

python examples/language.py --data tinyshakespeare.txt                 # a small GPT
python examples/language.py --data tinyshakespeare.txt --model lstm
python examples/language.py                      # the documentation of jax.numpy: runs anywhere
"""

from __future__ import annotations

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from axonax import graph as nn
from axonax import loop, optim


def read_text(path: pathlib.Path | None) -> str:
    """A text file, or what the functions of jax.numpy say of themselves."""
    if path is not None:
        return path.read_text()
    functions = (getattr(jnp, name) for name in sorted(dir(jnp)))
    return "\n".join(each.__doc__ for each in functions if callable(each) and each.__doc__)


def gpt(vocabulary: int, length: int, units: int, depth: int) -> nn.Node:
    """Tokens to logits of the next: the blocks are compiled once, whatever the depth.

    Positions turn queries and keys, and no query sees farther than in training: so it can go on for longer.
    """
    block = nn.transformer_encoder(units, heads=4, causal=True, rotary=True, window=(length - 1, 0))
    return (
        nn.input("tokens", (None, None), dtype="int32")
        | nn.embedding(vocabulary, units)
        | nn.repeat(block, depth)
        | nn.layer_norm()
        | nn.dense(vocabulary)
    )


def lstm(vocabulary: int, length: int, units: int, depth: int) -> nn.Node:
    """The same with recurrent layers, which see as far as they remember."""
    node = nn.input("tokens", (None, None), dtype="int32") | nn.embedding(vocabulary, units)
    for _ in range(depth - 1):
        node = node | nn.lstm(2 * units)
    return node | nn.dense(vocabulary)


MODELS = {"gpt": (gpt, 3e-3), "lstm": (lstm, 1e-2)}  # name: (builder, learning rate)


def windows(tokens: np.ndarray, length: int, batch_size: int, *, shuffle: bool) -> loop.Arrays:
    """Stretches of the text, each with the same one character later as its targets."""
    count = (len(tokens) - 1) // length
    inputs, targets = (tokens[at : at + count * length].reshape(count, length) for at in (0, 1))
    return loop.arrays(inputs, targets, batch_size=batch_size, shuffle=shuffle, drop_last=True)


def pairs(train: np.ndarray, test: np.ndarray, vocabulary: int) -> float:
    """Nats a character of the test text by counts of pairs of characters in the other."""
    counts = np.ones((vocabulary, vocabulary))
    np.add.at(counts, (train[:-1], train[1:]), 1)
    shares = counts / counts.sum(1, keepdims=True)
    return float(-np.log(shares[test[:-1], test[1:]]).mean())


def main() -> None:
    """Read, train, measure, generate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, help="a text file")
    parser.add_argument("--model", choices=MODELS, default="gpt")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    options = parser.parse_args()
    loop.cache()  # the second run of this program starts faster
    length, batch_size, units, depth = (16, 8, 16, 2) if options.smoke else (64, 32, 96, 3)
    steps = 6 if options.smoke else options.steps

    text = read_text(options.data)
    letters = sorted(set(text))
    numbers = {letter: number for number, letter in enumerate(letters)}
    tokens = np.array([numbers[letter] for letter in text], np.int32)
    train, test = np.split(tokens, [len(tokens) * 9 // 10])
    test = test[: 64 * 64 + 1]

    build, learning_rate = MODELS[options.model]
    model = build(len(letters), length, units, depth)
    print(model)
    rate = optim.warmup(optim.cosine_decay(learning_rate, steps), steps // 20 + 1)
    result = (
        loop.trainer(
            model,
            "categorical_cross_entropy",
            optim.adamw(rate, weight_decay=0.01),
            loss_options={"from_logits": True},
        )
        .validate(windows(test, length, batch_size, shuffle=False), every=3)
        .on(
            "epoch_completed",
            lambda state: print(
                f"  after {state.iteration} steps: {state.metrics['loss']:.3f} nats a character"
            ),
        )
        .run(
            windows(train, length, batch_size, shuffle=True),
            epochs=3,
            steps_per_epoch=steps // 3,
            key=jax.random.key(options.key),
        )
    )

    prompt = tokens[None, :length]
    found = nn.generate(
        model,
        result.model_state,
        prompt,
        max_new_tokens=3 * length - 1,
        temperature=0.8,
        top_k=20,
        key=jax.random.key(options.key),
    )
    print(f"\nIt goes on after the first {length} characters of the text:\n")
    print("".join(letters[number] for number in np.asarray(found[0])))
    print(
        f"\nAfter {steps} steps on {len(train)} characters the {options.model} needs"
        f" {result.metrics['validation_loss']:.3f} nats for each of {len(test) - 1} that it has not seen;"
        f" counts of pairs need {pairs(train, test, len(letters)):.3f},"
        f" and {np.log(len(letters)):.3f} would be no idea at all."
    )


if __name__ == "__main__":
    main()
