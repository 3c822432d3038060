// What stands beside a matrix product: the bias, its gradient, and rows by their numbers.

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

// Words of 4 and of 8 bytes, whatever they mean. A number that names no row, which the host has refused where it
// could, reads the nearest one: no memory beyond the array.
#define GATHER(name, word)                                                                     \
  KERNEL name(word* y, const word* x, const long long* numbers, long long rows, long long columns, \
              long long height) {                                                              \
    long long r = ROW;                                                                         \
    if (r >= rows) return;                                                                     \
    long long from = numbers[r];                                                               \
    from = from < 0 ? 0 : (from < height ? from : height - 1);                                 \
    for (long long c = FIRST; c < columns; c += NEXT) y[r * columns + c] = x[from * columns + c]; \
  }

GATHER(gather4, unsigned int)
GATHER(gather8, unsigned long long)
