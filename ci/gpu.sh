#!/usr/bin/env bash
# What needs a GPU, in one go: ci/gpu.sh FOLDER. The test suite on CuPy, among it every kernel against its reference and
# recorded steps against the others; the kernels under compute-sanitizer, where that is installed; the benchmark.
set -u
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?usage: ci/gpu.sh FOLDER}")
mkdir -p "$out"
failed=0

python -m anyfw doctor > "$out/doctor.txt" 2>&1 || failed=1
ANYFW_BACKEND=cupy timeout 240 python -m pytest -q --maxfail=50 > "$out/tests.txt" 2>&1 || failed=1
tail -n 3 "$out/tests.txt"
if command -v compute-sanitizer > /dev/null; then
  timeout 120 compute-sanitizer --error-exitcode 1 python -m pytest -q tests/test_variants.py -k "cupy and equals" \
    > "$out/sanitizer.txt" 2>&1 || failed=1
  tail -n 3 "$out/sanitizer.txt"
else
  echo "compute-sanitizer is not installed: not run" | tee "$out/sanitizer.txt"
fi
timeout 240 python ci/bench/gpu.py --json "$out/gpu.json" > "$out/bench.txt" 2>&1 || failed=1
tail -n 40 "$out/bench.txt"
exit $failed
