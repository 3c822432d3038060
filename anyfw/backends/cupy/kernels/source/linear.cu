// What stands beside a matrix product: the bias and its gradient.

KERNEL add_bias(real* y, const real* bias, long long rows, long long columns) {
  long long r = ROW;
  if (r >= rows) return;
  for (long long c = FIRST; c < columns; c += NEXT) y[r * columns + c] += bias[c];
}

KERNEL column_sums(real* sums, const real* x, long long rows, long long columns, long long add) {
  long long c = COLUMN;
  real total = 0;
  if (c < columns) {
    for (long long r = threadIdx.y; r < rows; r += TALL) total += x[r * columns + c];
  }
  total = sum_of_column(total);
  if (c < columns && threadIdx.y == 0) sums[c] = add ? sums[c] + total : total;
}
