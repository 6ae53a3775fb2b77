// Waiting for what happens very soon.
#pragma once

#include <atomic>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if !defined(__wasm__)
#include <thread>
#endif

namespace pocketlm {

inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Let whoever waits for the core have it.
inline void yield() {
#if defined(__wasm_atomics__)
    // Nobody wakes this up: it ends by itself.
    static int nothing = 0;
    constexpr long long nanoseconds = 20'000;
    __builtin_wasm_memory_atomic_wait32(&nothing, 0, nanoseconds);
#elif !defined(__wasm__)
    std::this_thread::yield();
#endif
}

// Spin, or, when the system is busy, wait after others had the core.
template <typename Condition>
void spin(const Condition& happened) {
    for (int spins = 0; !happened(); ++spins) {
        pause();
        if (spins > 2000) {
            yield();
        }
    }
}

}  // namespace pocketlm
