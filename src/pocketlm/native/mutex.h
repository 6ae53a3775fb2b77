// Locks, where there are threads to lock out.
//
// In WebAssembly one worker calls the library. Others do their part of a pool's work alone, which takes no locks.
#pragma once

#if defined(__wasm__)

namespace pocketlm {

struct Mutex {};

struct Lock {
    explicit Lock(Mutex&) {}
};

}  // namespace pocketlm

#else

#include <mutex>

namespace pocketlm {

using Mutex = std::mutex;
using Lock = std::lock_guard<std::mutex>;

}  // namespace pocketlm

#endif
