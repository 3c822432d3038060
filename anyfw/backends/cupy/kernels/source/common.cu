// What all kernels share. The files of this folder are one text, compiled once with `real` as float and once as double.
// Parameters are pointers, `long long` and `double` only: what the host passes without naming a type.

#define KERNEL extern "C" __global__ void
#define THREAD (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x)
#define WHOLE_WARP 0xffffffffu

// Blocks of kernels that go over rows: one warp for each row, so many rows.
#define WARP 32
#define ROW (static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y)

// Of kernels that go over all elements of a matrix, a warp's width at a time: this lane's first column, and how far it
// is to its next one.
#define FIRST (static_cast<long long>(blockIdx.y) * WARP + threadIdx.x)
#define NEXT (static_cast<long long>(gridDim.y) * WARP)

// Blocks of kernels that go over columns: as many columns as a warp, each shared by so many threads.
#define COLUMN (static_cast<long long>(blockIdx.x) * WARP + threadIdx.x)
#define TALL 32

__device__ inline real sum_of_warp(real value) {
  for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(WHOLE_WARP, value, step);
  return value;
}

// A NaN need not win: it reaches the results of its row by itself.
__device__ inline real max_of_warp(real value) {
  for (int step = WARP / 2; step > 0; step /= 2) {
    real other = __shfl_xor_sync(WHOLE_WARP, value, step);
    value = other > value ? other : value;
  }
  return value;
}

// The sum over the threads that share a column; each of them gets it. All threads of the block must come here.
__device__ inline real sum_of_column(real value) {
  __shared__ real tile[TALL][WARP + 1];
  tile[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  for (unsigned int step = TALL / 2; step > 0; step /= 2) {
    if (threadIdx.y < step) tile[threadIdx.y][threadIdx.x] += tile[threadIdx.y + step][threadIdx.x];
    __syncthreads();
  }
  real total = tile[0][threadIdx.x];
  __syncthreads();
  return total;
}

// The sum over a block of a whole number of warps, in double; valid in its first thread. All threads must come here.
__device__ inline double sum_of_block(double value) {
  __shared__ double sums[WARP];
  for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(WHOLE_WARP, value, step);
  if (threadIdx.x % WARP == 0) sums[threadIdx.x / WARP] = value;
  __syncthreads();
  double total = 0.0;
  if (threadIdx.x == 0) {
    for (unsigned int warp = 0; warp < blockDim.x / WARP; ++warp) total += sums[warp];
  }
  __syncthreads();
  return total;
}
