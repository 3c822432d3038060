"""What each variant of an op gains over its reference: `python ci/bench/kernels.py [--json FILE]`.

All of an op run in turn, on the same arrays, round after round; a gain is the median over the rounds of the reference's
time by the variant's. A variant that gains nothing here has no reason to stay.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from machine import describe, headline

import anyfw
from anyfw.backends.numpy import kernels, kernels_numba
from anyfw.ops import activation, dropout, gather, linear, loss, normalize, softmax, update

ROUND = 0.02  # seconds that one implementation runs for in a round
generator = np.random.default_rng(0)


def make(*shape: int) -> np.ndarray:
    return generator.standard_normal(shape, dtype=np.float32)


X, DY, WIDE = make(512, 1024), make(512, 1024), make(512)
WEIGHT, BIAS, COLUMN = make(1024), make(1024), np.abs(make(512, 1))
FLAT = [np.abs(make(1_000_000)) for _ in range(5)]
LARGE = [np.abs(make(25_000_000)) for _ in range(4)]
LABELS = generator.integers(1024, size=512)
SGD = {"lr": 1e-6, "kept": 0.9, "taken": 1.0, "nesterov": False, "weight_decay": 0.0}
ADAM = {"rate": 4e-6, "unbias": 18.0, "shrink": None, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
RMSPROP = {"lr": 1e-6, "alpha": 0.9, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}
ADAGRAD = {"rate": 1e-6, "eps": 1e-10, "weight_decay": 0.0}
TICK = np.asarray(3, dtype=np.int64)

# Op, what it is tried on, arguments, keyword arguments. Sizes are those of a hidden layer of 1024 at batch 512; "tiny"
# is what a net of ten units does.
CASES = [
    (activation.relu, "", (X,), {}),
    (activation.relu_grad, "", (DY, X), {}),
    (activation.leaky_relu, "", (X, 0.01), {}),
    (activation.leaky_relu_grad, "", (DY, X, 0.01), {}),
    (activation.elu, "", (X, 1.0, 1.0), {}),
    (activation.elu_grad, "", (DY, X, 1.0, 1.0), {}),
    (activation.sigmoid, "", (X,), {}),
    (activation.sigmoid_grad, "", (DY, X), {}),
    (activation.tanh, "", (X,), {}),
    (activation.tanh_grad, "", (DY, X), {}),
    (activation.silu, "", (X,), {}),
    (activation.silu_grad, "", (DY, X), {}),
    (activation.softplus_grad, "", (DY, X, 1.0, 20.0), {}),
    (activation.gelu_tanh, "", (X,), {}),
    (activation.gelu_tanh_grad, "", (DY, X), {}),
    (softmax.softmax, "", (X, -1), {}),
    (softmax.softmax_grad, "", (DY, X, -1), {}),
    (softmax.log_softmax, "", (X, -1), {}),
    (softmax.log_softmax_grad, "", (DY, X, -1), {}),
    (loss.cross_entropy, "", (X, LABELS), {}),
    (loss.squared_error, "", (X, DY), {}),
    (loss.mean_, "", (WIDE.copy(), X.copy(), 1.0), {}),
    (loss.mean_, "tiny", (make(4), make(4, 10), 1.0), {}),
    (linear.linear, "tiny", (make(4, 2), make(10, 2), make(10)), {}),
    (linear.linear_grad, "tiny", (make(4, 2), make(2, 10)), {}),
    (linear.weight_grad_, "tiny", (make(4, 2), make(4, 10), make(2, 10), False), {}),
    (linear.bias_grad_, "", (DY, np.empty_like(BIAS), False), {}),
    (linear.parameter_grads_, "tiny", (make(4, 2), make(4, 10), (make(2, 10), False), (make(2), False)), {}),
    (linear.linear, "", (make(512, 256), make(1024, 256), BIAS), {}),
    (linear.linear, "narrow", (make(128, 128), make(10, 128), make(10)), {}),
    (linear.weight_grad_, "", (DY, make(512, 256), make(1024, 256), False), {}),
    (gather.gather, "", (make(4096, 1024), generator.permutation(4096)[:512]), {}),
    (dropout.dropout, "", (X, 0.5, 7, TICK, 0), {}),
    (dropout.dropout_grad, "", (DY, X > 0, 0.5), {}),
    (normalize.layer_norm, "", (X, WEIGHT, BIAS, 1e-5), {}),
    (normalize.layer_norm_grad, "", (DY, X, WEIGHT, COLUMN, COLUMN), {}),
    (normalize.rms_norm, "", (X, WEIGHT, 1e-5), {}),
    (normalize.rms_norm_grad, "", (DY, X, WEIGHT, COLUMN), {}),
    (normalize.batch_norm, "", (X, WEIGHT, BIAS, 1e-5), {}),
    (normalize.batch_norm_grad, "", (DY, X, WEIGHT, BIAS, WEIGHT), {}),
    (update.sgd_, "", (FLAT[0], FLAT[1], None), {**SGD, "momentum": 0.0}),
    (update.sgd_, "momentum", (FLAT[0], FLAT[1], FLAT[2]), {**SGD, "momentum": 0.9}),
    (update.adam_, "", (FLAT[0], FLAT[1], FLAT[2], FLAT[3], None), ADAM),
    (update.adam_, "amsgrad", (*FLAT,), ADAM),
    (
        update.rmsprop_,
        "",
        (FLAT[0], FLAT[1], FLAT[2], None, None),
        RMSPROP,
    ),
    (
        update.adagrad_,
        "",
        (FLAT[0], FLAT[1], FLAT[2]),
        ADAGRAD,
    ),
    (update.average_, "", (FLAT[0], FLAT[1]), {"decay": 0.999}),
    *(
        (op, f"{note} 25 million".strip(), (*LARGE[:count], *[None] * (most - count)), options)
        for op, note, count, most, options in (
            (update.sgd_, "", 2, 3, {**SGD, "momentum": 0.0}),
            (update.sgd_, "momentum", 3, 3, {**SGD, "momentum": 0.9}),
            (update.adam_, "", 4, 5, ADAM),
            (update.rmsprop_, "", 3, 5, RMSPROP),
            (update.adagrad_, "", 3, 3, ADAGRAD),
            (update.average_, "", 2, 2, {"decay": 0.999}),
        )
    ),
    (update.square_sum, "", (FLAT[0],), {}),
    (update.clip_, "", (FLAT[0].copy(), 9.0), {}),
]


def seconds(run, calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - started) / calls


def compare(op, arguments: tuple, options: dict, rounds: int) -> dict[str, dict[str, float]]:
    """us and gain of each implementation that there is."""
    functions = {"reference": op.dispatch(object)}
    functions |= {
        name: variants[op]
        for name, variants in (("plain", kernels.VARIANTS), ("numba", kernels_numba.VARIANTS))
        if op in variants
    }
    runs = {name: (lambda f=f: f(*arguments, **options)) for name, f in functions.items()}
    calls = {}
    for name, run in runs.items():
        run()
        calls[name] = max(1, round(ROUND / max(seconds(run, 3), 1e-7)))
    times = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, calls[name]))
    return {
        name: {
            "us": round(statistics.median(taken) * 1e6, 2),
            "gain": round(statistics.median(a / b for a, b in zip(times["reference"], taken, strict=True)), 2),
        }
        for name, taken in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--ops", nargs="+", help="only these, by name; the others' figures in the file stay")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    arguments = parser.parse_args()
    anyfw.get_backend("numpy")  # as in any process that trains, freed memory is kept
    result = {"machine": describe(), "rounds": arguments.rounds, "ops": {}}
    print(headline(result["machine"]))
    if arguments.ops and arguments.json and arguments.json.exists():
        kept = json.loads(arguments.json.read_text(encoding="utf-8"))
        run = ("date", "command")
        machines = result["machine"], kept["machine"]
        here, there = ({key: value for key, value in one.items() if key not in run} for one in machines)
        if here != there:
            raise SystemExit(f"{arguments.json} holds the figures of another machine, or of other versions: {there}")
        result["ops"] = kept["ops"]
    print(f"{'us':>41} {'plain':>9} {'gain':>6} {'numba':>9} {'gain':>6}")
    for op, note, inputs, options in CASES:
        if arguments.ops and op.__name__ not in arguments.ops:
            continue
        found = compare(op, inputs, options, arguments.rounds)
        name = f"{op.__name__} {note}".strip()
        result["ops"][name] = found
        cells = [
            f"{found[kind]['us']:9.1f} {found[kind]['gain']:6.2f}" if kind in found else " " * 16
            for kind in ("plain", "numba")
        ]
        print(f"{name:28} {found['reference']['us']:12.1f} {' '.join(cells)}".rstrip(), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
