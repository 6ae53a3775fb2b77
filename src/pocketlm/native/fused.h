// a * b + c, rounded once, for processors that have no such instruction.
//
// In float64 the product is exact, and the sum has 29 bits more than a float keeps. Rounding twice differs from
// rounding once only if the first ends midway between two floats; then the C library does it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace pocketlm {

constexpr uint32_t float_rest = (1u << 29) - 1;  // the bits of a float64 that a float does not keep
constexpr uint32_t float_midway = 1u << 28;

// `bits` are the lower half of a float64.
static inline bool is_midway(uint32_t bits) { return (bits & float_rest) == float_midway; }

static inline float fused(float a, float b, float c) {
    const double sum = static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c);
    uint64_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    return is_midway(static_cast<uint32_t>(bits)) ? std::fma(a, b, c) : static_cast<float>(sum);
}

}  // namespace pocketlm
