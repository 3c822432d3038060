"""The backends that the tests run on; one that is not there is skipped with its reason."""

import os

# Two cores are what the tests are made for, and the number of threads changes the last bits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pytest

from anyfw.core.backend import Backend, backend_class, get_backend, use_backend
from anyfw.core.errors import BackendError

# Of what is random in the tests; another one for each run, unless it is given.
SEED = int(os.environ.get("ANYFW_SEED", "") or int.from_bytes(os.urandom(4), "big"))


def pytest_report_header() -> str:
    return f"ANYFW_SEED={SEED}"


BACKENDS = ("numpy", "strict", "strict:device1", "strict:no_float64", "torch", "cupy")


def open_backend(spec: str) -> Backend:
    try:
        diagnosis = backend_class(spec.partition(":")[0]).diagnose()
    except BackendError as error:
        pytest.skip(f"{spec}: {error}")
    if not diagnosis.works:
        pytest.skip(f"{spec}: {diagnosis.problem}")
    return get_backend(spec)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest):
    """Each backend in turn, as the default one of the test."""
    found = open_backend(request.param)
    with use_backend(found):
        yield found


@pytest.fixture(scope="session")
def player(tmp_path_factory):
    """Runs CUDA kernels on the CPU."""
    from tests.played.player import COMPILER, Player

    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return Player(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def products():
    """Computes cuBLASLt's products on the CPU."""
    from tests.played.player import COMPILER
    from tests.played.products import PlayedProducts

    if COMPILER is None:
        pytest.skip("g++ is not installed")
    return PlayedProducts()


@pytest.fixture
def on_played_kernels(player, products):
    """NumPy's arrays are served by the CUDA kernels for a while, so that whole nets train on them."""
    from anyfw.backends.cupy.kernels import variants

    made = dict(variants(player, products))
    before = {op: op.dispatch(np.ndarray) for op in made}
    for op, variant in made.items():
        op.register(np.ndarray, variant)
    yield player, products
    for op, variant in before.items():
        op.register(np.ndarray, variant)


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The command line's surroundings: a folder of the test, and none of its variables set."""
    monkeypatch.chdir(tmp_path)
    for name in ("ANYFW_BACKEND", "ANYFW_DEBUG", "ANYFW_MAX_EPOCHS", "ANYFW_MAX_STEPS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cli(capsys):
    """Run a command in this process; gives what it printed to stdout and stderr."""
    from anyfw.cli import main

    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        found = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert found == code, err
        return out, err

    return run
