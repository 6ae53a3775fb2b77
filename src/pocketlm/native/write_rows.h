// Rows of weights through a writer: each weight by itself, or with error feedback.
//
// It knows what a writer is, and none in particular.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "writers.h"

namespace pocketlm {

// Rows that go through error feedback together, so that they share what is read of the factor.
constexpr int feedback_rows = 8;
// Columns after which errors reach the columns further on.
constexpr int feedback_step = 32;

template <typename Writer>
using FitOf = Fit<Writer::columns / Writer::group>;

template <typename Writer>
FitOf<Writer> fit_block(const float* x, const float* w, const float* shared) {
    if constexpr (Writer::shared_numbers == 0) {
        return Writer::fit(x, w);
    } else {
        return Writer::fit(x, w, shared);
    }
}

// The quant whose value is nearest to x.
template <typename Writer>
int nearest(const FitOf<Writer>& fit, int column, float x) {
    const int g = column / Writer::group;
    return Writer::Levels::index((x - fit.minimum[g]) * fit.inverse[g]);
}

// What a reader makes of a quant.
template <typename Writer>
float value(const FitOf<Writer>& fit, int column, int quant) {
    const int g = column / Writer::group;
    return fit.scale[g] * Writer::Levels::level(quant) + fit.minimum[g];
}

inline bool finite(const float* numbers, int64_t count) {
    bool all = true;
    for (int64_t i = 0; i < count; ++i) {
        all &= std::fabs(numbers[i]) <= std::numeric_limits<float>::max();
    }
    return all;
}

// A row, each weight to its nearest value. False if one is not finite.
template <typename Writer>
bool quantise_row(const float* row, const float* w, int64_t columns, uint8_t* out) {
    if (!finite(row, columns)) {
        return false;
    }
    float shared[Writer::shared_numbers + 1];
    if constexpr (Writer::shared_numbers > 0) {
        Writer::fit_row(row, w, columns, shared);
        Writer::pack_row(shared, out);
        out += Writer::shared_bytes;
    }
    uint8_t quants[Writer::columns];
    for (int64_t at = 0; at < columns; at += Writer::columns, out += Writer::bytes) {
        const FitOf<Writer> fit = fit_block<Writer>(row + at, w + at, shared);
        for (int i = 0; i < Writer::columns; ++i) {
            quants[i] = static_cast<uint8_t>(nearest<Writer>(fit, i, row[at + i]));
        }
        Writer::pack(fit, quants, out);
    }
    return true;
}

// to -= e[0] * from[0] + … + e[3] * from[3], one after the other.
inline void subtract(const float* e, const float* from, int64_t stride, int64_t count,
                     float* __restrict to) {
    const float* const first = from;
    const float* const second = from + stride;
    const float* const third = from + 2 * stride;
    const float* const fourth = from + 3 * stride;
    const float e0 = e[0];
    const float e1 = e[1];
    const float e2 = e[2];
    const float e3 = e[3];
    for (int64_t k = 0; k < count; ++k) {
        to[k] = (((to[k] - e0 * first[k]) - e1 * second[k]) - e2 * third[k]) - e3 * fourth[k];
    }
}

// How many scales of a block error feedback tries: those next to the fitted one may leave less behind once
// errors go on to other columns.
template <typename Writer, typename = void>
struct Variants {
    static constexpr int count = 1;
    static FitOf<Writer> of(const FitOf<Writer>& fit, const float*, int) { return fit; }
};

template <typename Writer>
struct Variants<Writer, std::void_t<decltype(Writer::variants)>> {
    static constexpr int count = Writer::variants;
    static FitOf<Writer> of(const FitOf<Writer>& fit, const float* shared, int index) {
        return Writer::variant(fit, shared, index);
    }
};

// feedback_step columns of one row, each rounded and its error taken from those that follow among them. `x`
// holds their weights, then their errors; `line` is the first one's line of the factor. Returns the sum of
// the errors' squares: what they add to the loss.
template <typename Writer>
float round_step(const FitOf<Writer>& fit, int within, const float* line, int64_t width, float* x,
                 uint8_t* quants) {
    float sum = 0.0f;
    for (int i = 0; i < feedback_step; ++i, line += width) {
        const int quant = nearest<Writer>(fit, within + i, x[i]);
        const float error = (x[i] - value<Writer>(fit, within + i, quant)) / line[i];
        quants[i] = static_cast<uint8_t>(quant);
        x[i] = error;
        sum += error * error;
        for (int k = i + 1; k < feedback_step; ++k) {
            x[k] -= error * line[k];
        }
    }
    return sum;
}

// The same by the variant of the fit that loses least, which `fit` becomes.
template <typename Writer>
void round_best(FitOf<Writer>* fit, const float* shared, const float* line, int64_t width, float* x,
                uint8_t* quants) {
    const FitOf<Writer> fitted = *fit;
    float weights[feedback_step];
    std::copy(x, x + feedback_step, weights);
    float least = std::numeric_limits<float>::infinity();
    for (int index = 0; index < Variants<Writer>::count; ++index) {
        const FitOf<Writer> variant = Variants<Writer>::of(fitted, shared, index);
        float tried[feedback_step];
        uint8_t tried_quants[feedback_step];
        std::copy(weights, weights + feedback_step, tried);
        const float sum = round_step<Writer>(variant, 0, line, width, tried, tried_quants);
        if (index == 0 || sum < least) {
            least = sum;
            *fit = variant;
            std::copy(tried, tried + feedback_step, x);
            std::copy(tried_quants, tried_quants + feedback_step, quants);
        }
    }
}

// At most feedback_rows rows; `shared` holds what fit_row made of each of them. `errors` holds each
// column's weight until it is rounded, then its error (quantise.h).
template <typename Writer>
void feed_back(const float* weights, int rows, int64_t width, const float* w, const float* factor,
               const float* shared, uint8_t* out, float* errors) {
    const int64_t row_bytes = width / Writer::columns * Writer::bytes;
    FitOf<Writer> fits[feedback_rows];
    uint8_t quants[feedback_rows][Writer::columns];
    std::copy(weights, weights + rows * width, errors);
    for (int64_t first = 0; first < width; first += feedback_step) {
        const int64_t block = first / Writer::columns;
        const int within = static_cast<int>(first % Writer::columns);
        const int64_t rest = first + feedback_step;
        for (int row = 0; row < rows; ++row) {
            float* const x = errors + row * width;
            if (within == 0) {
                fits[row] = fit_block<Writer>(x + first, w + first,
                                              shared + row * Writer::shared_numbers);
            }
            // The factor's line of these columns, from the first of them on.
            const float* const line = factor + first * width + first;
            if constexpr (Variants<Writer>::count > 1) {
                static_assert(Writer::columns == feedback_step);
                round_best<Writer>(&fits[row], shared + row * Writer::shared_numbers, line, width,
                                   x + first, quants[row]);
            } else {
                round_step<Writer>(fits[row], within, line, width, x + first, quants[row] + within);
            }
            if (within + feedback_step == Writer::columns) {
                Writer::pack(fits[row], quants[row], out + row * row_bytes + block * Writer::bytes);
            }
        }
        for (int row = 0; row < rows; ++row) {
            float* const x = errors + row * width;
            for (int64_t i = first; i < rest; i += 4) {
                subtract(x + i, factor + i * width + rest, width, width - rest, x + rest);
            }
        }
    }
}

}  // namespace pocketlm
