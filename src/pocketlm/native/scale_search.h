// Searches for the scale, or the scale and minimum, of a few weights.
//
// A group of 16 or 32 weights x is stored as levels: x ≈ scale * level + minimum. Here are the kinds
// of levels, and the search for the numbers that make sum(w * (x - value)²) small: from a range of
// scales, round, then fit by weighted least squares, and repeat from the best. It knows no file format.
//
// Arithmetic is on vectors of four, which every processor of ours has; sums are so in the same order
// everywhere.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

namespace pocketlm {

using Four __attribute__((vector_size(16))) = float;

static inline Four load(const float* at) {
    Four values;
    std::memcpy(&values, at, sizeof values);
    return values;
}

static inline float sum(Four v) { return (v[0] + v[1]) + (v[2] + v[3]); }

// The same number, once or four times.
template <typename Number>
Number spread_number(float value) {
    return Number{} + value;
}

// Whole numbers low … high.
template <int low, int high>
struct Uniform {
    static constexpr float lowest = low;
    static constexpr float highest = high;

    // The level nearest to y, ties to even; low for what is not a number.
    template <typename Number>
    static Number nearest(Number y) {
        const Number first = spread_number<Number>(lowest);
        const Number last = spread_number<Number>(highest);
        y = y > first ? y : first;
        y = y < last ? y : last;
        // Adding 1.5 * 2^23 leaves no bits for a fraction.
        const Number whole = spread_number<Number>(12582912.0f);
        return (y + whole) - whole;
    }

    static int index(float y) { return static_cast<int>(nearest(y)) - low; }
    static float level(int index) { return static_cast<float>(index + low); }
};

// The ascending entries of a table.
template <const auto& entries>
struct Grid {
    static constexpr int count = static_cast<int>(std::size(entries));
    static constexpr float lowest = entries[0];
    static constexpr float highest = entries[count - 1];

    static constexpr float middle(int i) {
        return 0.5f * static_cast<float>(entries[i] + entries[i + 1]);
    }

    template <typename Number>
    static Number nearest(Number y) {
        Number level = spread_number<Number>(lowest);
        const Number none{};
        for (int i = 0; i + 1 < count; ++i) {
            const float above = static_cast<float>(entries[i + 1] - entries[i]);
            const Number step = spread_number<Number>(above);
            level += y > spread_number<Number>(middle(i)) ? step : none;
        }
        return level;
    }

    static int index(float y) {
        int index = 0;
        for (int i = 0; i + 1 < count; ++i) {
            index += y > middle(i) ? 1 : 0;
        }
        return index;
    }
    static float level(int index) { return static_cast<float>(entries[index]); }
};

static inline float inverse_of(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

// Weighted sums over a group after rounding: of the residuals r = x - value and the levels l.
struct Moments {
    float rr, rl, ll, r, l;
};

// `rr` is the error of this scale and minimum; the rest says how to change them for these levels.
template <typename Levels, int n>
Moments measure(const float* x, const float* w, float scale, float minimum) {
    const float inverse = inverse_of(scale);
    Four rr{};
    Four rl{};
    Four ll{};
    Four r{};
    Four l{};
    for (int i = 0; i < n; i += 4) {
        const Four number = load(x + i);
        const Four weight = load(w + i);
        const Four level = Levels::nearest((number - minimum) * inverse);
        const Four residual = number - (scale * level + minimum);
        const Four weighted = weight * residual;
        const Four weighted_level = weight * level;
        rr += weighted * residual;
        rl += weighted * level;
        ll += weighted_level * level;
        r += weighted;
        l += weighted_level;
    }
    return {sum(rr), sum(rl), sum(ll), sum(r), sum(l)};
}

// A group's fit before its numbers are encoded. Away from the best scale, the error grows by
// `curvature` * difference² as long as the levels stay.
struct Scaled {
    float scale = 0.0f;
    float error = 0.0f;
    float curvature = 0.0f;
};

// The scales tried: those that put the largest weight `below` levels within the last one to `above`
// levels beyond it, `step` apart. Ranges and steps are such that twice the range and a sixth of the step
// lower the error by one per cent at most.
struct Sweep {
    float below;
    float above;
    float step;
};

template <typename Levels, int n>
bool improve(const float* x, const float* w, float scale, Scaled* best) {
    const Moments at = measure<Levels, n>(x, w, scale, 0.0f);
    if (!(at.ll > 0.0f)) {
        return false;
    }
    const float change = at.rl / at.ll;
    const float error = at.rr - change * at.rl;
    if (!(error < best->error)) {
        return false;
    }
    *best = {scale + change, error, at.ll};
    return true;
}

// x ≈ scale * level. Scales of both signs are tried unless the levels reach as far on either side.
template <typename Levels, int n>
Scaled search_scale(const float* x, const float* w, Sweep sweep) {
    float extreme = 0.0f;
    Scaled best;
    for (int i = 0; i < n; ++i) {
        extreme = std::fabs(x[i]) > std::fabs(extreme) ? x[i] : extreme;
        best.error += w[i] * x[i] * x[i];
    }
    if (!(best.error > 0.0f)) {
        return best;
    }
    for (const float reach : {Levels::lowest, Levels::highest}) {
        if (reach > 0.0f && reach == -Levels::lowest) {
            break;
        }
        const float sign = reach < 0.0f ? -1.0f : 1.0f;
        for (float beyond = -sweep.below; beyond <= sweep.above; beyond += sweep.step) {
            improve<Levels, n>(x, w, extreme / (reach + sign * beyond), &best);
        }
    }
    for (int i = 0; i < 4 && improve<Levels, n>(x, w, best.scale, &best); ++i) {
    }
    return best;
}

struct Affine {
    float scale = 0.0f;
    float minimum = 0.0f;
    float error = 0.0f;
};

// One step of least squares from the rounding by a scale and minimum. With `bounded`, the minimum is
// not above 0.
template <typename Levels, int n, bool bounded>
bool improve(const float* x, const float* w, float weight, float scale, float minimum,
             Affine* best) {
    const Moments at = measure<Levels, n>(x, w, scale, minimum);
    const float determinant = weight * at.ll - at.l * at.l;
    if (!(determinant > 1e-6f * weight * at.ll)) {
        return false;
    }
    float more = (weight * at.rl - at.l * at.r) / determinant;
    float up = (at.ll * at.r - at.l * at.rl) / determinant;
    float error = at.rr - more * at.rl - up * at.r;
    if (bounded && minimum + up > 0.0f) {
        up = -minimum;
        more = (at.rl - up * at.l) / at.ll;
        error = at.rr - 2.0f * (more * at.rl + up * at.r) +
                more * (more * at.ll + 2.0f * up * at.l) + up * up * weight;
    }
    if (!(error < best->error)) {
        return false;
    }
    *best = {scale + more, minimum + up, error};
    return true;
}

// x ≈ scale * level + minimum, levels from 0.
template <typename Levels, int n, bool bounded>
Affine search_affine(const float* x, const float* w, Sweep sweep) {
    float low = x[0];
    float high = x[0];
    float weight = 0.0f;
    for (int i = 0; i < n; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        weight += w[i];
    }
    if (bounded && low > 0.0f) {
        low = 0.0f;
    }
    Affine best;
    best.scale = (high - low) / Levels::highest;
    best.minimum = low;
    best.error = measure<Levels, n>(x, w, best.scale, low).rr;
    if (!(high > low)) {
        return best;
    }
    for (float beyond = -sweep.below; beyond <= sweep.above; beyond += sweep.step) {
        const float scale = (high - low) / (Levels::highest + beyond);
        // What lies beyond the levels may do so on either side.
        for (const float side : {0.0f, 0.5f, 1.0f}) {
            improve<Levels, n, bounded>(x, w, weight, scale, low + side * beyond * scale, &best);
        }
    }
    for (int i = 0; i < 4; ++i) {
        if (!improve<Levels, n, bounded>(x, w, weight, best.scale, best.minimum, &best)) {
            break;
        }
    }
    return best;
}

}  // namespace pocketlm
