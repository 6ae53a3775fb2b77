// 16-bit floats against their definition: all 65,536 of them, and what lies between.
#include "half.h"

#include "check.h"
#include "kernels.h"
#include "pool.h"
#include "reference.h"

using namespace pocketlm;

TEST(every_half_is_read_exactly) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        const float value = float_from_f16(static_cast<uint16_t>(bits));
        const double expected = reference::half(bits);
        if (std::isnan(expected)) {
            CHECK(std::isnan(value));
            continue;
        }
        CHECK_EQUAL(value, expected);
        CHECK(std::signbit(value) == ((bits & 0x8000u) != 0));
        CHECK_EQUAL(f16_from_float(value), bits);
    }
}

TEST(writing_rounds_to_nearest_ties_to_even) {
    for (uint32_t bits = 0; bits < 0x7bffu; ++bits) {
        const float low = float_from_f16(static_cast<uint16_t>(bits));
        const float high = float_from_f16(static_cast<uint16_t>(bits + 1));
        const float middle = (low + high) / 2.0f;
        const uint32_t even = bits + (bits & 1u);
        CHECK_EQUAL(f16_from_float(middle), even);
        CHECK_EQUAL(f16_from_float(-middle), even | 0x8000u);
        CHECK_EQUAL(f16_from_float(std::nextafter(middle, 0.0f)), bits);
        CHECK_EQUAL(f16_from_float(std::nextafter(middle, 1e6f)), bits + 1);
    }
}

TEST(what_is_too_large_becomes_infinity) {
    CHECK_EQUAL(f16_from_float(65504.0f), 0x7bff);
    CHECK_EQUAL(f16_from_float(65519.996f), 0x7bff);
    CHECK_EQUAL(f16_from_float(65520.0f), 0x7c00);
    CHECK_EQUAL(f16_from_float(-3e38f), 0xfc00);
    CHECK_EQUAL(f16_from_float(HUGE_VALF), 0x7c00);
    CHECK(std::isnan(float_from_f16(f16_from_float(std::nanf("")))));
}

TEST(bf16_is_the_upper_half_of_a_float) {
    CHECK_EQUAL(float_from_bf16(0x3f80), 1.0);
    CHECK_EQUAL(float_from_bf16(0xc040), -3.0);
    CHECK_EQUAL(float_from_bf16(0x0001), std::ldexp(1.0, -133));
}

TEST(kernels_write_halves_as_half_h_does) {
    std::vector<float> values;
    for (uint32_t bits = 0; bits < 0x7c00u; bits += 7) {
        const float low = float_from_f16(static_cast<uint16_t>(bits));
        const float high = float_from_f16(static_cast<uint16_t>(bits + 1));
        values.insert(values.end(), {low, -low, (low + high) / 2.0f, low * 0.75f + high * 0.25f});
    }
    for (const Kernels* kernels : available_kernels()) {
        for (size_t count : {values.size(), size_t{1}, size_t{7}, size_t{15}, size_t{17}}) {
            std::vector<uint16_t> out(count + 1, 0xabcd);
            kernels->half_from_float(values.data(), static_cast<int>(count), out.data());
            for (size_t i = 0; i < count; ++i) {
                CHECK_EQUAL(out[i], f16_from_float(values[i]));
            }
            CHECK_EQUAL(out[count], 0xabcd);
        }
    }
}

int main() { return run_tests(); }
