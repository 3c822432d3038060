// Updates of flat vectors, every number read once and written once, and their norm: the formulas of anyfw/ops/update.py.

KERNEL sgd(real* data, const real* grad, long long n, double lr, double weight_decay) {
  long long i = THREAD;
  if (i < n) data[i] -= real(lr) * (grad[i] + real(weight_decay) * data[i]);
}

// At the first step the buffer is the gradient, whatever it held; `taken` is what dampening leaves of later ones.
KERNEL sgd_momentum(real* data, const real* grad, real* buffer, long long n, double lr, double momentum, double taken,
                    double weight_decay, long long first, long long nesterov) {
  long long i = THREAD;
  if (i < n) {
    real g = grad[i] + real(weight_decay) * data[i];
    real b = first ? g : real(momentum) * buffer[i] + real(taken) * g;
    buffer[i] = b;
    data[i] -= real(lr) * (nesterov ? g + real(momentum) * b : b);
  }
}

// `largest` may be absent. `rate` and `unbias` are the learning rate and the root's factor, freed of the moments' bias.
KERNEL adam(real* data, const real* grad, real* m, real* v, real* largest, long long n, double rate, double unbias,
            double beta1, double beta2, double eps, double shrink, double penalty) {
  long long i = THREAD;
  if (i < n) {
    real w = real(shrink) * data[i], g = grad[i] + real(penalty) * w;
    real mean = m[i] + real(1.0 - beta1) * (g - m[i]);
    real square = real(beta2) * v[i] + real(1.0 - beta2) * (g * g);
    m[i] = mean;
    v[i] = square;
    if (largest) {
      // In this order a NaN in v reaches the weights.
      square = largest[i] >= square ? largest[i] : square;
      largest[i] = square;
    }
    data[i] = w - real(rate) * (mean / (sqrt(square) * real(unbias) + real(eps)));
  }
}

KERNEL rmsprop(real* data, const real* grad, real* square_avg, real* grad_avg, real* buffer, long long n, double lr,
               double alpha, double eps, double momentum, double weight_decay) {
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
    data[i] -= real(lr) * change;
  }
}

KERNEL adagrad(real* data, const real* grad, real* total, long long n, double lr, double eps, double weight_decay) {
  long long i = THREAD;
  if (i < n) {
    real g = grad[i] + real(weight_decay) * data[i];
    real sum = total[i] + g * g;
    total[i] = sum;
    data[i] -= real(lr) * (g / (sqrt(sum) + real(eps)));
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
