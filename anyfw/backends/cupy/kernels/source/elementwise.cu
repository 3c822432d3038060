// Activations and their gradients, element by element: the formulas of anyfw/ops/activation.py.

#define ONE_TO_ONE(name, formula)                                 \
  KERNEL name(real* y, const real* x, long long n) {              \
    long long i = THREAD;                                         \
    if (i < n) {                                                  \
      real v = x[i];                                              \
      y[i] = formula;                                             \
    }                                                             \
  }

// g is dy; v is the input or the output of the forward pass, whichever the gradient is made from.
#define GRADIENT(name, formula)                                           \
  KERNEL name(real* dx, const real* dy, const real* saved, long long n) { \
    long long i = THREAD;                                                 \
    if (i < n) {                                                          \
      real g = dy[i], v = saved[i];                                       \
      dx[i] = formula;                                                    \
    }                                                                     \
  }

__device__ inline real logistic(real v) {
  real e = exp(-fabs(v));
  return (v < real(0) ? e : real(1)) / (real(1) + e);
}

// Where both forms of GELU have long become x or 0; squares and cubes of it are harmless.
__device__ inline real held(real v) { return v > real(40) ? real(40) : (v < real(-40) ? real(-40) : v); }

__device__ inline real normal_cdf(real v) { return real(0.5) * (real(1) + erf(v * real(0.70710678118654752440))); }

#define TANH_SCALE real(0.79788456080286535588)
#define TANH_CUBIC real(0.044715)

__device__ inline real tanh_of_cubic(real v) { return tanh(TANH_SCALE * v * (real(1) + TANH_CUBIC * v * v)); }

ONE_TO_ONE(relu, v <= real(0) ? real(0) : v)
// A product, not a choice: a NaN in a place that is off must not vanish.
GRADIENT(relu_grad, g * (v > real(0) ? real(1) : real(0)))

ONE_TO_ONE(sigmoid, logistic(v))
GRADIENT(sigmoid_grad, g * (v * (real(1) - v)))

ONE_TO_ONE(tanh_forward, tanh(v))
GRADIENT(tanh_grad, g * (real(1) - v * v))

ONE_TO_ONE(silu, v * logistic(v))
GRADIENT(silu_grad, g * (logistic(v) * (real(1) + v * (real(1) - logistic(v)))))

ONE_TO_ONE(gelu, v * normal_cdf(v))
GRADIENT(gelu_grad, g * (normal_cdf(v) + held(v) * exp(real(-0.5) * held(v) * held(v)) * real(0.39894228040143267794)))

ONE_TO_ONE(gelu_tanh, real(0.5) * v * (real(1) + tanh_of_cubic(held(v))))

KERNEL gelu_tanh_grad(real* dx, const real* dy, const real* x, long long n) {
  long long i = THREAD;
  if (i < n) {
    real v = held(x[i]), t = tanh_of_cubic(v);
    real slope = TANH_SCALE * (real(1) + real(3) * TANH_CUBIC * v * v);
    dx[i] = dy[i] * (real(0.5) * (real(1) + t) + real(0.5) * v * (real(1) - t * t) * slope);
  }
}

KERNEL leaky_relu(real* y, const real* x, long long n, double slope) {
  long long i = THREAD;
  if (i < n) y[i] = x[i] > real(0) ? x[i] : real(slope) * x[i];
}

KERNEL leaky_relu_grad(real* dx, const real* dy, const real* x, long long n, double slope) {
  long long i = THREAD;
  if (i < n) dx[i] = dy[i] * (x[i] > real(0) ? real(1) : real(slope));
}

KERNEL elu(real* y, const real* x, long long n, double alpha, double scale) {
  long long i = THREAD;
  if (i < n) y[i] = x[i] > real(0) ? real(scale) * x[i] : real(scale * alpha) * expm1(x[i]);
}

KERNEL elu_grad(real* dx, const real* dy, const real* y, long long n, double alpha, double scale) {
  long long i = THREAD;
  if (i < n) dx[i] = dy[i] * (y[i] > real(0) ? real(scale) : y[i] + real(scale * alpha));
}

KERNEL softplus(real* y, const real* x, long long n, double beta, double threshold) {
  long long i = THREAD;
  if (i < n) {
    real z = real(beta) * x[i], above = z < real(0) ? real(0) : z;
    y[i] = z > real(threshold) ? x[i] : (above + log1p(exp(-fabs(z)))) / real(beta);
  }
}

KERNEL softplus_grad(real* dx, const real* dy, const real* x, long long n, double beta, double threshold) {
  long long i = THREAD;
  if (i < n) {
    real z = real(beta) * x[i];
    dx[i] = dy[i] * (z > real(threshold) ? real(1) : logistic(z));
  }
}
