// Rows by their numbers, in words of 4 bytes, whatever they mean. A number that names no row, which the host has refused
// where it could, reads the nearest one: no memory beyond the array.

__device__ inline void copy_row(unsigned int* y, const unsigned int* x, long long to, long long from, long long words,
                                long long height) {
  from = from < 0 ? 0 : (from < height ? from : height - 1);
  for (long long c = FIRST; c < words; c += NEXT) y[to * words + c] = x[from * words + c];
}

KERNEL gather(unsigned int* y, const unsigned int* x, const long long* numbers, long long rows, long long words,
              long long height) {
  long long r = ROW;
  if (r < rows) copy_row(y, x, r, numbers[r], words, height);
}

// Up to three columns of a data set; those that are absent have no words. With a position, the numbers are a table, of
// `batches` rows, of which it names one.
KERNEL gather_columns(const long long* numbers, const long long* position, long long batches, long long rows,
                      unsigned int* y0, const unsigned int* x0, long long words0, long long height0,
                      unsigned int* y1, const unsigned int* x1, long long words1, long long height1,
                      unsigned int* y2, const unsigned int* x2, long long words2, long long height2) {
  long long r = ROW;
  if (r >= rows) return;
  long long batch = position ? *position : 0;
  batch = batch < 0 ? 0 : (batch < batches ? batch : batches - 1);
  long long from = numbers[batch * rows + r];
  copy_row(y0, x0, r, from, words0, height0);
  copy_row(y1, x1, r, from, words1, height1);
  copy_row(y2, x2, r, from, words2, height2);
}

// By one thread. A position beyond the end writes nothing.
KERNEL append(real* x, long long n, long long* position, const real* value) {
  long long p = *position;
  if (0 <= p && p < n) x[p] = *value;
  *position = p + 1;
}
