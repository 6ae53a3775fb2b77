// What the machine allows: the rates that a program's speed is held against.
#pragma once

#include <memory>
#include <vector>

#include "matrix.h"
#include "pool.h"

namespace pocketlm {

// 10^9 bytes a second at which the pool's threads read the matrices' memory, once through in the faster of
// two ways (`Kernels::read`). It says something of the memory only where they are much larger than
// the caches.
double read_gb_s(ThreadPool& pool, const std::vector<std::shared_ptr<const Matrix>>& matrices);

// 10^9 multiply-adds of 8-bit numbers a second, on registers, in the way of the pool's kernels.
double int8_gmac_s(ThreadPool& pool);

}  // namespace pocketlm
