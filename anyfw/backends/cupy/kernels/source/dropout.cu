// Dropout without a generator: the words of anyfw/ops/dropout.py in 32 bits, and so the same masks.

__device__ inline unsigned int mix(unsigned int word) {
  word ^= word >> 16;
  word *= 0x7feb352du;
  word ^= word >> 15;
  word *= 0x846ca68bu;
  return word ^ (word >> 16);
}

// `threshold` is p 2^32, which may be 2^32 itself: all are dropped.
KERNEL dropout(real* y, bool* mask, const real* x, const long long* tick, long long n, long long threshold,
               long long key, long long use, double scale) {
  long long i = THREAD;
  if (i < n) {
    unsigned int start = static_cast<unsigned int>(*tick) + static_cast<unsigned int>(use) * 0x61c88647u;
    unsigned int stream = mix(mix(start) ^ static_cast<unsigned int>(key));
    unsigned int word = mix((static_cast<unsigned int>(i) * 0x61c88647u) ^ stream);
    bool keep = static_cast<long long>(word) >= threshold;
    mask[i] = keep;
    // A product: a NaN in a dropped place must not vanish.
    y[i] = x[i] * (keep ? real(scale) : real(0));
  }
}

KERNEL dropout_grad(real* dx, const real* dy, const bool* mask, long long n, double scale) {
  long long i = THREAD;
  if (i < n) dx[i] = dy[i] * (mask[i] ? real(scale) : real(0));
}
