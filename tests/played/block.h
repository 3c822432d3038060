// A CUDA thread block played on the CPU, for the tests of the kernels' arithmetic.
//
// Each thread of a block is a fiber with a stack of its own; one runs until it meets a barrier or a warp shuffle, then
// the next. Blocks run one after the other. A barrier that some threads of a block never reach, which would hang a GPU
// or worse, ends the launch with an error, and so does a shuffle that some lanes of a warp leave out.
#pragma once
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ucontext.h>
#include <vector>

struct dim3 {
  unsigned int x, y, z;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __shared__ static
#define __restrict__

using std::erf;
using std::exp;
using std::expm1;
using std::fabs;
using std::log;
using std::log1p;
using std::sqrt;
using std::tanh;

namespace block {

enum State { running, at_barrier, at_shuffle, done };

struct Fiber {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(64 * 1024);
  State state;
  dim3 index;
  unsigned long long offered;  // to the other lanes of its warp
};

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static Fiber* present;
static void (*body)();

static void enter() {
  body();
  present->state = done;
  swapcontext(&present->context, &scheduler);
}

static void wait(State state) {
  Fiber* self = present;
  self->state = state;
  swapcontext(&self->context, &scheduler);
  threadIdx = self->index;
}

// Lets all threads of one block run to their ends; false where some wait for others that are gone.
static bool run(unsigned int threads) {
  if (fibers.size() < threads) fibers.resize(threads);
  for (unsigned int t = 0; t < threads; ++t) {
    Fiber& fiber = fibers[t];
    fiber.index = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    fiber.state = running;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (;;) {
    for (unsigned int t = 0; t < threads; ++t) {
      if (fibers[t].state != running) continue;
      present = &fibers[t];
      threadIdx = present->index;
      swapcontext(&scheduler, &present->context);
    }
    unsigned int ended = 0, waiting = 0;
    bool moved = false;
    for (unsigned int t = 0; t < threads; ++t) {
      ended += fibers[t].state == done;
      waiting += fibers[t].state == at_barrier;
    }
    if (ended == threads) return true;
    for (unsigned int warp = 0; warp < threads; warp += 32) {
      unsigned int there = 0;
      for (unsigned int t = warp; t < warp + 32 && t < threads; ++t) there += fibers[t].state == at_shuffle;
      if (there != 32) continue;
      for (unsigned int t = warp; t < warp + 32; ++t) fibers[t].state = running;
      moved = true;
    }
    if (waiting == threads) {
      for (unsigned int t = 0; t < threads; ++t) fibers[t].state = running;
      moved = true;
    }
    if (!moved) return false;
  }
}

}  // namespace block

static inline void __syncthreads() { block::wait(block::at_barrier); }

template <typename Value>
static Value __shfl_xor_sync(unsigned int mask, Value value, int step) {
  if (mask != 0xffffffffu) std::fprintf(stderr, "a shuffle without all lanes is not played\n");
  block::Fiber* self = block::present;
  std::memcpy(&self->offered, &value, sizeof value);
  block::wait(block::at_shuffle);  // until all lanes have offered theirs
  unsigned int number = static_cast<unsigned int>(self - block::fibers.data());
  Value taken;
  std::memcpy(&taken, &block::fibers[number ^ static_cast<unsigned int>(step)].offered, sizeof taken);
  block::wait(block::at_shuffle);  // until all lanes have taken them
  return taken;
}
