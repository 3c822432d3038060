// Updates of flat vectors, every number read once and written once, and their norm: the formulas of anyfw/ops/update.py.

// What changes from step to step comes with the launch or, in a recorded step, from a place on the device.
__device__ inline real given(double value, const real* at) { return at ? *at : real(value); }

KERNEL sgd(real* data, const real* grad, long long n, double lr, const real* lr_at, double weight_decay) {
  long long i = THREAD;
  if (i < n) data[i] -= given(lr, lr_at) * (grad[i] + real(weight_decay) * data[i]);
}

// The step is by `own` times the gradient and `rest` times the buffer.
KERNEL sgd_momentum(real* data, const real* grad, real* buffer, long long n, double lr, const real* lr_at, double kept,
                    const real* kept_at, double taken, const real* taken_at, double own, double rest,
                    double weight_decay) {
  long long i = THREAD;
  if (i < n) {
    real g = grad[i] + real(weight_decay) * data[i];
    real b = given(kept, kept_at) * buffer[i] + given(taken, taken_at) * g;
    buffer[i] = b;
    data[i] -= given(lr, lr_at) * (real(own) * g + real(rest) * b);
  }
}

// `largest` may be absent.
KERNEL adam(real* data, const real* grad, real* m, real* v, real* largest, long long n, double rate,
            const real* rate_at, double unbias, const real* unbias_at, double shrink, const real* shrink_at,
            double beta1, double beta2, double eps, double weight_decay) {
  long long i = THREAD;
  if (i < n) {
    real w = given(shrink, shrink_at) * data[i], g = grad[i] + real(weight_decay) * w;
    real mean = m[i] + real(1.0 - beta1) * (g - m[i]);
    real square = real(beta2) * v[i] + real(1.0 - beta2) * (g * g);
    m[i] = mean;
    v[i] = square;
    if (largest) {
      // In this order a NaN in v reaches the weights.
      square = largest[i] >= square ? largest[i] : square;
      largest[i] = square;
    }
    data[i] = w - given(rate, rate_at) * (mean / (sqrt(square) * given(unbias, unbias_at) + real(eps)));
  }
}

KERNEL rmsprop(real* data, const real* grad, real* square_avg, real* grad_avg, real* buffer, long long n, double lr,
               const real* lr_at, double alpha, double eps, double momentum, double weight_decay) {
  long long i = THREAD;
  if (i < n) {
    real g = grad[i] + real(weight_decay) * data[i];
    real square = real(alpha) * square_avg[i] + real(1.0 - alpha) * (g * g);
    square_avg[i] = square;
    if (grad_avg) {
      real centre = grad_avg[i] + real(1.0 - alpha) * (g - grad_avg[i]);
      grad_avg[i] = centre;
      square -= centre * centre;
      // Rounding may leave it a little below zero; a NaN stays.
      square = square < real(0) ? real(0) : square;
    }
    real change = g / (sqrt(square) + real(eps));
    if (buffer) {
      change += real(momentum) * buffer[i];
      buffer[i] = change;
    }
    data[i] -= given(lr, lr_at) * change;
  }
}

KERNEL adagrad(real* data, const real* grad, real* total, long long n, double rate, const real* rate_at, double eps,
               double weight_decay) {
  long long i = THREAD;
  if (i < n) {
    real g = grad[i] + real(weight_decay) * data[i];
    real sum = total[i] + g * g;
    total[i] = sum;
    data[i] -= given(rate, rate_at) * (g / (sqrt(sum) + real(eps)));
  }
}

KERNEL average(real* mean, const real* data, long long n, double share) {
  long long i = THREAD;
  if (i < n) mean[i] += real(share) * (data[i] - mean[i]);
}

KERNEL penalised(real* sum, const real* grad, const real* data, long long n, double l1, double l2) {
  long long i = THREAD;
  if (i < n) {
    real w = data[i];
    real sign = (w > real(0) ? real(1) : real(0)) - (w < real(0) ? real(1) : real(0));
    sum[i] = grad[i] + real(l1) * sign + real(l2) * w;
  }
}

KERNEL clip(real* x, long long n, double limit) {
  long long i = THREAD;
  if (i < n) {
    real v = x[i];
    // NaN compares false twice and stays.
    x[i] = v > real(limit) ? real(limit) : (v < real(-limit) ? real(-limit) : v);
  }
}

KERNEL scale_to_norm(real* x, const real* norm, long long n, double limit) {
  long long i = THREAD;
  if (i < n) {
    real scale = real(limit) / (*norm + real(1e-6));
    // In this order a norm of NaN reaches the gradient.
    x[i] *= scale > real(1) ? real(1) : scale;
  }
}

// In double: a plain sum of many float squares would stop growing. One number for each block, then one for all.
KERNEL square_sums(double* parts, const real* x, long long n) {
  double total = 0.0;
  for (long long i = THREAD; i < n; i += static_cast<long long>(gridDim.x) * blockDim.x) {
    total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  total = sum_of_block(total);
  if (threadIdx.x == 0) parts[blockIdx.x] = total;
}

KERNEL sum_of_parts(real* result, const double* parts, long long n) {
  double total = 0.0;
  for (long long i = threadIdx.x; i < n; i += blockDim.x) total += parts[i];
  total = sum_of_block(total);
  if (threadIdx.x == 0) *result = real(total);
}
