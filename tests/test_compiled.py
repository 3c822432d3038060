"""How the compiled kernels of the CPU are called: types they were not compiled for, numbers of two kinds, threads."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

# In a process of its own, since a kernel remembers what it was compiled for first; the whole number comes first here.
NUMBERS = """
import numpy as np
from anyfw.backends.numpy.kernels_numba import VARIANTS
from anyfw.ops import activation, loss, softmax, update

x = np.random.default_rng(0).standard_normal((6, 5))
flat = lambda: [np.linspace(0.1, 0.9, 7) for _ in range(4)]
sgd = lambda lr, decay: dict(lr=lr, kept=0.0, taken=1.0, momentum=0.0, nesterov=False, weight_decay=decay)
adam = lambda rate, beta, eps, decay: dict(rate=rate, unbias=rate + 1, shrink=None, betas=(beta, beta), eps=eps,
                                           weight_decay=decay)
CALLS = [
    (activation.leaky_relu, lambda s: ([x, s], {}), 0, 0.25),
    (activation.leaky_relu_grad, lambda s: ([x, x, s], {}), 0, 0.25),
    (activation.elu, lambda s: ([x, s, s], {}), 1, 0.5),
    (activation.elu_grad, lambda s: ([x, x, s, s], {}), 1, 0.5),
    (activation.softplus_grad, lambda s: ([x, x, s, s], {}), 20, 0.5),
    (softmax.softmax, lambda s: ([x, s], {}), np.int32(1), -1),
    (loss.mean_, lambda s: ([x[:, 0].copy(), x.copy(), s], {}), 3, 2.5),
    (update.sgd_, lambda s: ([*flat()[:2], None], sgd(s, s)), 1, 0.5),
    (update.adam_, lambda s: ([*flat(), None], adam(s, 0, s, s)), 1, 0.5),
    (update.adam_, lambda s: ([*flat(), None], adam(s, s / 2, s, s)), 1, 0.5),
]
for op, make, *numbers in CALLS:
    for number in numbers:
        (given, options), (again, _) = make(number), make(number)
        found, expected = VARIANTS[op](*given, **options), op.dispatch(object)(*again, **options)
        for a, b in zip([found, *given], [expected, *again], strict=True):
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=f"{op.__name__}({number!r})")
"""

# One thread makes a kernel compile, which takes a while, and the other calls it with what no kernel is made for.
THREADS = """
import threading
import numpy as np
from anyfw.backends.numpy.kernels_numba import VARIANTS
from anyfw.ops import activation

relu = VARIANTS[activation.relu]
compiling = threading.Thread(target=relu, args=(np.ones((3, 2)),))
compiling.start()
calls = 0
while compiling.is_alive():
    assert relu(np.asarray([[-1, 2]], dtype=np.float16)).tolist() == [[0.0, 2.0]]
    calls += 1
assert calls > 10
"""

# A matrix with strides is left to the reference, so that the kernel is compiled for what is quick.
LAYOUTS = """
import numpy as np
from anyfw.backends.numpy.compiled import linear
from anyfw.backends.numpy.compiled.rows import _cross_entropy, cross_entropy

wide, sums = np.ones((4, 6), dtype=np.float32), np.zeros(3, dtype=np.float32)
linear.bias_grad_(wide[:, ::2], sums, False)
assert sums.tolist() == [4.0] * 3 and not linear._bias_grad.overloads
linear.bias_grad_(wide[:, :3].copy(), sums, True)
assert sums.tolist() == [8.0] * 3 and len(linear._bias_grad.overloads) == 1
losses, _ = cross_entropy(np.zeros((2, 4)), np.asarray([0, 3], dtype=np.dtype("i8").newbyteorder()))
np.testing.assert_allclose(losses, np.log(4.0))
assert not _cross_entropy.overloads
"""


@pytest.mark.parametrize("code", [NUMBERS, THREADS, LAYOUTS], ids=["numbers", "threads", "layouts"])
def test_a_sealed_kernel_is_called_for_what_it_is_made_for(code, tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_kernel_is_read_from_disk_in_the_next_process(tmp_path):
    code = """
import numpy as np
from anyfw.backends.numpy.compiled.elementwise import VARIANTS
from anyfw.ops import activation
VARIANTS[activation.relu](np.ones((2, 2), dtype=np.float32))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    stamps = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        (written,) = tmp_path.rglob("*relu*.nbc")
        stamps.append(written.stat().st_mtime_ns)
    assert stamps[0] == stamps[1]
