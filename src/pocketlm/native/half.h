// 16-bit floats, converted one at a time. Kernels have vector forms of their own.
//
// Functions in headers that kernel files include are `static`: a kernel file is compiled for its own
// instruction set, and a shared inline function could end up with instructions that the processor lacks.
#pragma once

#include <cstdint>
#include <cstring>

namespace pocketlm {

static inline float float_from_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_from_float(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_from_bf16(uint16_t half) {
    return float_from_bits(static_cast<uint32_t>(half) << 16);
}

// A float of 16 digits, the nearest: times a signed byte it is a float, exactly.
static inline float shortened(float value) {
    return float_from_bits((bits_from_float(value) + 0x80u) & ~0xffu);
}

// IEEE 754 binary16. Multiplying by 2^112 rebiases the exponent and normalises subnormals exactly.
static inline float float_from_f16(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
    const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fffu) << 13;
    if ((half & 0x7c00u) == 0x7c00u) {
        return float_from_bits(sign | 0x7f800000u | magnitude);
    }
    const float value = float_from_bits(magnitude) * float_from_bits(0x77800000u);
    return float_from_bits(sign | bits_from_float(value));
}

// Rounds to nearest, ties to even; too large becomes infinity.
static inline uint16_t f16_from_float(float value) {
    const uint32_t bits = bits_from_float(value);
    const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return static_cast<uint16_t>(sign | 0x7e00u);
    }
    if (magnitude >= 0x477ff000u) {
        return static_cast<uint16_t>(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) {
        // Subnormal: adding 0.5 lets the float unit round at the bit that binary16 keeps.
        const float shifted = float_from_bits(magnitude) + 0.5f;
        return static_cast<uint16_t>(sign | (bits_from_float(shifted) - 0x3f000000u));
    }
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace pocketlm
