// Softmax and the losses. One warp for each row; each lane takes every 32nd column.

__device__ inline real row_max(const real* row, long long columns) {
  real top = row[0];
  for (long long c = threadIdx.x; c < columns; c += WARP) top = row[c] > top ? row[c] : top;
  return max_of_warp(top);
}

KERNEL softmax(real* y, const real* x, long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  x += r * columns;
  y += r * columns;
  real top = row_max(x, columns), total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) {
    real e = exp(x[c] - top);
    y[c] = e;
    total += e;
  }
  real scale = real(1) / sum_of_warp(total);
  for (long long c = threadIdx.x; c < columns; c += WARP) y[c] *= scale;
}

KERNEL softmax_grad(real* dx, const real* dy, const real* y, long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  dx += r * columns;
  dy += r * columns;
  y += r * columns;
  real inner = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) inner += dy[c] * y[c];
  inner = sum_of_warp(inner);
  for (long long c = threadIdx.x; c < columns; c += WARP) dx[c] = y[c] * (dy[c] - inner);
}

KERNEL log_softmax(real* y, const real* x, long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  x += r * columns;
  y += r * columns;
  real top = row_max(x, columns), total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) total += exp(x[c] - top);
  real shift = log(sum_of_warp(total));
  for (long long c = threadIdx.x; c < columns; c += WARP) y[c] = (x[c] - top) - shift;
}

KERNEL log_softmax_grad(real* dx, const real* dy, const real* y, long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  dx += r * columns;
  dy += r * columns;
  y += r * columns;
  real total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) total += dy[c];
  total = sum_of_warp(total);
  for (long long c = threadIdx.x; c < columns; c += WARP) dx[c] = dy[c] - exp(y[c]) * total;
}

// A label out of range, which the host has refused where it could, gives a loss of NaN and reads nothing.
KERNEL cross_entropy(real* losses, real* dy, const real* y, const long long* target, long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  dy += r * columns;
  y += r * columns;
  long long label = target[r];
  bool known = label >= 0 && label < columns;
  real top = row_max(y, columns), total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) {
    real e = exp(y[c] - top);
    dy[c] = e;
    total += e;
  }
  total = sum_of_warp(total);
  real scale = real(1) / total;
  for (long long c = threadIdx.x; c < columns; c += WARP) dy[c] = dy[c] * scale - (c == label ? real(1) : real(0));
  if (threadIdx.x == 0) losses[r] = known ? log(total) - (y[label] - top) : log(real(-1));
}

KERNEL squared_error(real* losses, real* dy, const real* y, const real* target, long long n) {
  long long i = THREAD;
  if (i < n) {
    real error = y[i] - target[i];
    losses[i] = error * error;
    dy[i] = real(2) * error;
  }
}

// The first block adds up the losses, all others scale the gradient.
KERNEL mean(real* result, const real* losses, real* dy, long long rows, long long n, double count) {
  if (blockIdx.x == 0) {
    double total = 0.0;
    for (long long r = threadIdx.x; r < rows; r += blockDim.x) total += losses[r];
    total = sum_of_block(total);
    if (threadIdx.x == 0) *result = real(total / count);
  } else {
    long long i = THREAD - blockDim.x;
    if (i < n) dy[i] *= real(1.0 / count);
  }
}
