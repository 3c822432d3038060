"""Serial numba kernels, one file per family of ops: one pass over memory for what takes NumPy several.

Each covers float32 and float64. "Measured" is the gain in speed over the reference, on 512 x 1024 float32 numbers or,
for updates, a million, by `ci/bench/kernels.py` (`ci/bench/results/cpu-kernels.json`).
What gains on no processor that was measured is not here.

An activation's gradient and the bias's are two kernels: in one, the affine map would have to know of the activation
after it, and both passes together, over a gradient that is in the cache, take about a hundredth of a step.
"""
