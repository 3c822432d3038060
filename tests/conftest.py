"""The backends that the tests run on; one that is not there is skipped with its reason."""

import os

# Two cores are what the tests are made for, and the number of threads changes the last bits.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest

from anyfw.core.backend import Backend, backend_class, get_backend, use_backend
from anyfw.core.errors import BackendError

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
