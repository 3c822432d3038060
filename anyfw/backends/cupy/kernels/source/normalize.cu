// Normalisation: rows by a warp each, columns by blocks that own them from the first row to the last.

KERNEL layer_norm(real* y, real* mean, real* rstd, const real* x, const real* weight, const real* bias, long long rows,
                  long long columns, double eps) {
  long long r = ROW;
  if (r >= rows) return;
  x += r * columns;
  y += r * columns;
  real total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) total += x[c];
  real centre = sum_of_warp(total) / real(columns);
  total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) total += (x[c] - centre) * (x[c] - centre);
  real scale = real(1) / sqrt(sum_of_warp(total) / real(columns) + real(eps));
  if (threadIdx.x == 0) {
    mean[r] = centre;
    rstd[r] = scale;
  }
  for (long long c = threadIdx.x; c < columns; c += WARP) {
    real z = (x[c] - centre) * scale;
    y[c] = (weight ? z * weight[c] : z) + (bias ? bias[c] : real(0));
  }
}

// Also for RMSNorm, which has no mean.
KERNEL row_norm_grad(real* dx, const real* dy, const real* x, const real* weight, const real* mean, const real* rstd,
                     long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  dx += r * columns;
  dy += r * columns;
  x += r * columns;
  real centre = mean ? mean[r] : real(0), scale = rstd[r], total = 0, along = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) {
    real g = weight ? dy[c] * weight[c] : dy[c];
    total += g;
    along += g * ((x[c] - centre) * scale);
  }
  total = mean ? sum_of_warp(total) / real(columns) : real(0);
  along = sum_of_warp(along) / real(columns);
  for (long long c = threadIdx.x; c < columns; c += WARP) {
    real g = weight ? dy[c] * weight[c] : dy[c];
    dx[c] = scale * (g - total - (x[c] - centre) * scale * along);
  }
}

// The gradients by weight and bias, either of which may be absent.
KERNEL row_norm_parameter_grads(real* dweight, real* dbias, const real* dy, const real* x, const real* mean,
                                const real* rstd, long long rows, long long columns) {
  long long c = COLUMN;
  real along = 0, total = 0;
  if (c < columns) {
    for (long long r = threadIdx.y; r < rows; r += TALL) {
      real g = dy[r * columns + c];
      total += g;
      along += g * ((x[r * columns + c] - (mean ? mean[r] : real(0))) * rstd[r]);
    }
  }
  along = sum_of_column(along);
  total = sum_of_column(total);
  if (c < columns && threadIdx.y == 0) {
    if (dweight) dweight[c] = along;
    if (dbias) dbias[c] = total;
  }
}

KERNEL rms_norm(real* y, real* rstd, const real* x, const real* weight, long long rows, long long columns, double eps) {
  long long r = ROW;
  if (r >= rows) return;
  x += r * columns;
  y += r * columns;
  real total = 0;
  for (long long c = threadIdx.x; c < columns; c += WARP) total += x[c] * x[c];
  real scale = real(1) / sqrt(sum_of_warp(total) / real(columns) + real(eps));
  if (threadIdx.x == 0) rstd[r] = scale;
  for (long long c = threadIdx.x; c < columns; c += WARP) y[c] = weight ? x[c] * scale * weight[c] : x[c] * scale;
}

KERNEL batch_norm(real* y, real* mean, real* variance, real* rstd, const real* x, const real* weight, const real* bias,
                  long long rows, long long columns, double eps) {
  long long c = COLUMN;
  bool inside = c < columns;
  real total = 0;
  for (long long r = threadIdx.y; inside && r < rows; r += TALL) total += x[r * columns + c];
  real centre = sum_of_column(total) / real(rows);
  total = 0;
  for (long long r = threadIdx.y; inside && r < rows; r += TALL) {
    real d = x[r * columns + c] - centre;
    total += d * d;
  }
  real spread = sum_of_column(total) / real(rows);
  real scale = real(1) / sqrt(spread + real(eps));
  if (!inside) return;
  if (threadIdx.y == 0) {
    mean[c] = centre;
    variance[c] = spread;
    rstd[c] = scale;
  }
  real slope = weight ? scale * weight[c] : scale, shift = bias ? bias[c] : real(0);
  for (long long r = threadIdx.y; r < rows; r += TALL) y[r * columns + c] = (x[r * columns + c] - centre) * slope + shift;
}

KERNEL batch_norm_grad(real* dx, real* dweight, real* dbias, const real* dy, const real* x, const real* weight,
                       const real* mean, const real* rstd, long long rows, long long columns) {
  long long c = COLUMN;
  bool inside = c < columns;
  real centre = inside ? mean[c] : real(0), scale = inside ? rstd[c] : real(0), along = 0, total = 0;
  for (long long r = threadIdx.y; inside && r < rows; r += TALL) {
    real g = dy[r * columns + c];
    total += g;
    along += g * ((x[r * columns + c] - centre) * scale);
  }
  along = sum_of_column(along);
  total = sum_of_column(total);
  if (!inside) return;
  if (threadIdx.y == 0) {
    dweight[c] = along;
    dbias[c] = total;
  }
  real slope = weight ? scale * weight[c] : scale;
  along /= real(rows);
  total /= real(rows);
  for (long long r = threadIdx.y; r < rows; r += TALL) {
    long long i = r * columns + c;
    dx[i] = slope * (dy[i] - total - (x[i] - centre) * scale * along);
  }
}

KERNEL batch_norm_inference(real* y, const real* x, const real* weight, const real* bias, const real* mean,
                            const real* variance, long long rows, long long columns, double eps) {
  long long r = ROW;
  if (r >= rows) return;
  for (long long c = FIRST; c < columns; c += NEXT) {
    real slope = real(1) / sqrt(variance[c] + real(eps));
    if (weight) slope *= weight[c];
    y[r * columns + c] = (x[r * columns + c] - mean[c]) * slope + (bias ? bias[c] : real(0));
  }
}
