"""Serial numba kernels: one pass over memory for what takes NumPy several. Each covers float32 and float64."""
