"""The maths that may have a second, faster implementation; here the reference, pure Array API.

Every op dispatches on the type of its first argument (`dispatch.op`): what stands here runs on any
array, and a backend's `kernels.py` may register a faster variant with the same signature and the same values.
"""
