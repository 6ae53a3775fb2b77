// Writers of P3 to P6: indices into a codebook or into even steps, one 4-bit code for each 32 columns, and two numbers for a
// whole row: scale = base + code * step.
#pragma once

#include <vector>

#include "layout.h"
#include "write_rows.h"

namespace pocketlm {

// A codebook's numbers around zero, times two: whole, and odd.
template <Codebook codebook, int count>
constexpr std::array<int8_t, count> centred_numbers() {
    std::array<int8_t, count> numbers{};
    const int* const from = codebook_numbers[static_cast<int>(codebook)];
    for (int i = 0; i < count; ++i) {
        numbers[static_cast<size_t>(i)] = static_cast<int8_t>(2 * from[i] - from[count - 1]);
    }
    return numbers;
}

inline constexpr std::array<int8_t, 8> p3_numbers = centred_numbers<Codebook::p3, 8>();
inline constexpr std::array<int8_t, 16> p4_numbers = centred_numbers<Codebook::p4, 16>();

// `count` numbers around zero, one step apart, times two.
template <int count>
struct Even {
    static constexpr float lowest = 1 - count;
    static constexpr float highest = count - 1;

    template <typename Number>
    static Number nearest(Number y) {
        using Whole = Uniform<0, count - 1>;
        const Number first = spread_number<Number>(lowest);
        return Whole::nearest((y - first) * 0.5f) * 2.0f + first;
    }

    static int index(float y) { return Uniform<0, count - 1>::index((y - lowest) * 0.5f); }
    static float level(int index) { return static_cast<float>(2 * index) + lowest; }
};

template <typename LevelsOf>
struct WriteSteps {
    static constexpr int columns = 32;
    static constexpr int group = 32;
    static constexpr int shared_numbers = 2;  // base and step, as stored
    static constexpr int shared_bytes = 4;
    static constexpr int codes = 16;
    using Levels = LevelsOf;

    // The range of scales that suits the row's groups best: from all of them to a few left aside at
    // either end, weighed by what a wrong scale costs each.
    static void fit_row(const float* row, const float* w, int64_t width, float* shared) {
        const size_t count = static_cast<size_t>(width / group);
        std::vector<Scaled> fits(count);
        std::vector<float> sorted(count);
        for (size_t g = 0; g < count; ++g) {
            const Centred<group> block(row + g * group);
            fits[g] = search_scale<Levels, group>(block.x, w + g * group, sweep);
            fits[g].scale = std::fabs(fits[g].scale) * block.power;
            sorted[g] = fits[g].scale;
        }
        std::sort(sorted.begin(), sorted.end());
        // In float64, since squares of the largest weights' scales overflow float32.
        double least = std::numeric_limits<double>::max();
        shared[0] = stored(2.0f * sorted.front());
        shared[1] = stored(2.0f * (sorted.back() - sorted.front()) / (codes - 1));
        for (const float low_share : {0.0f, 0.01f, 0.03f}) {
            for (const float high_share : {0.0f, 0.01f, 0.03f}) {
                const float last = static_cast<float>(count - 1);
                const float low = sorted[static_cast<size_t>(low_share * last)];
                const float high = sorted[count - 1 - static_cast<size_t>(high_share * last)];
                const float base = stored(2.0f * low);
                const float step = stored(2.0f * (high - low) / (codes - 1));
                double error = 0.0;
                for (const Scaled& fit : fits) {
                    const double off = fit.scale - scale_of(base, step, code_of(base, step, fit.scale));
                    error += fit.curvature * off * off;
                }
                if (error < least) {
                    least = error;
                    shared[0] = base;
                    shared[1] = step;
                }
            }
        }
    }

    static void pack_row(const float* shared, uint8_t* out) {
        put_u16(out, f16_from_float(shared[0]));
        put_u16(out + 2, f16_from_float(shared[1]));
    }

    static Fit<1> fit(const float* x, const float* w, const float* shared) {
        const Centred<group> block(x);
        const float searched =
            std::fabs(search_scale<Levels, group>(block.x, w, sweep).scale) * block.power;
        const int middle = code_of(shared[0], shared[1], searched);
        Fit<1> fit{};
        float least = std::numeric_limits<float>::infinity();
        for (int code = std::max(middle - 1, 0); code <= std::min(middle + 1, codes - 1); ++code) {
            const float scale = scale_of(shared[0], shared[1], code);
            const float error = measure<Levels, group>(block.x, w, scale / block.power, 0.0f).rr;
            if (error < least) {
                least = error;
                fit.codes[0] = static_cast<int8_t>(code);
                fit.scale[0] = scale;
            }
        }
        fit.inverse[0] = inverse_of(fit.scale[0]);
        return fit;
    }

    // The fit, and the codes on either side.
    static constexpr int variants = 5;

    static Fit<1> variant(const Fit<1>& fit, const float* shared, int index) {
        constexpr int off[variants] = {0, -1, 1, -2, 2};
        Fit<1> other{};
        other.codes[0] = static_cast<int8_t>(std::clamp(fit.codes[0] + off[index], 0, codes - 1));
        other.scale[0] = scale_of(shared[0], shared[1], other.codes[0]);
        other.inverse[0] = inverse_of(other.scale[0]);
        return other;
    }

  private:
    static constexpr Sweep sweep = {0.35f * Levels::highest, 0.55f * Levels::highest,
                                    0.05f * Levels::highest};

    static float stored(float number) {
        return float_from_f16(f16_from_float(number < 65504.0f ? number : 65504.0f));
    }

    // Levels are twice what a reader's numbers are.
    static float scale_of(float base, float step, int code) {
        return 0.5f * std::fma(static_cast<float>(code), step, base);
    }

    static int code_of(float base, float step, float scale) {
        return Uniform<0, codes - 1>::index((2.0f * scale - base) * inverse_of(step));
    }
};

// code | 32 times 3 bits
struct WriteP3 : WriteSteps<Grid<p3_numbers>> {
    static constexpr int bytes = 13;
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        block[0] = static_cast<uint8_t>(fit.codes[0]);
        for (int i = 0; i < 4; ++i) {
            uint32_t bits = 0;
            for (int j = 0; j < 8; ++j) {
                bits |= static_cast<uint32_t>(quants[8 * i + j]) << (3 * j);
            }
            block[1 + 3 * i] = static_cast<uint8_t>(bits);
            block[2 + 3 * i] = static_cast<uint8_t>(bits >> 8);
            block[3 + 3 * i] = static_cast<uint8_t>(bits >> 16);
        }
    }
};

// code | nibbles
struct WriteP4 : WriteSteps<Grid<p4_numbers>> {
    static constexpr int bytes = 17;
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        block[0] = static_cast<uint8_t>(fit.codes[0]);
        put_nibbles(quants, block + 1);
    }
};

// code | fifth bits | nibbles
struct WriteP5 : WriteSteps<Even<32>> {
    static constexpr int bytes = 21;
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        block[0] = static_cast<uint8_t>(fit.codes[0]);
        put_u32(block + 1, plane_of(quants, 4));
        put_nibbles(quants, block + 5);
    }
};

// code | fifth bits | sixth bits | nibbles
struct WriteP6 : WriteSteps<Even<64>> {
    static constexpr int bytes = 25;
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        block[0] = static_cast<uint8_t>(fit.codes[0]);
        put_u32(block + 1, plane_of(quants, 4));
        put_u32(block + 5, plane_of(quants, 5));
        put_nibbles(quants, block + 9);
    }
};

}  // namespace pocketlm
