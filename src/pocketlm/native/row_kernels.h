// Products with rows of floats as they are stored, written once over vectors of 16 floats (sixteen.h).
//
// Each number is computed by the same operations however many rows and tokens go together.
#pragma once

#include "layout.h"
#include "sixteen.h"

namespace pocketlm {
namespace {

struct F32 {
    static constexpr size_t bytes = 4;
    template <typename V>
    static V read(const uint8_t* at) {
        return V::floats(at);
    }
};

struct F16 {
    static constexpr size_t bytes = 2;
    template <typename V>
    static V read(const uint8_t* at) {
        return V::halves(at);
    }
};

struct BF16 {
    static constexpr size_t bytes = 2;
    template <typename V>
    static V read(const uint8_t* at) {
        return V::brain_halves(at);
    }
};

// The first `count` < 16 numbers at `at`, then zeros.
template <typename V, typename Element>
inline V read_first(const uint8_t* at, size_t count) {
    uint8_t numbers[16 * Element::bytes] = {};
    std::memcpy(numbers, at, count * Element::bytes);
    return Element::template read<V>(numbers);
}

// Some rows times some tokens.
template <typename V, typename Element, int rows, int count>
inline void multiply_row_tile(const uint8_t* weights, size_t stride, size_t columns, const float* inputs,
                              float* out) {
    V sums[rows][count];
    for (int row = 0; row < rows; ++row) {
        for (int token = 0; token < count; ++token) {
            sums[row][token] = V::all(0.0f);
        }
    }
    const auto step = [&](auto read_input, auto read_weight) {
        V input[count];
        for (int token = 0; token < count; ++token) {
            input[token] = read_input(inputs + static_cast<size_t>(token) * columns);
        }
        for (int row = 0; row < rows; ++row) {
            const V weight = read_weight(weights + static_cast<size_t>(row) * stride);
            for (int token = 0; token < count; ++token) {
                sums[row][token] = weight.times(input[token], sums[row][token]);
            }
        }
    };
    size_t column = 0;
    for (; column + 16 <= columns; column += 16) {
        step([column](const float* row) { return V::load(row + column); },
             [column](const uint8_t* row) { return Element::template read<V>(row + column * Element::bytes); });
    }
    if (column < columns) {
        const size_t rest = columns - column;
        step([=](const float* row) { return V::load_first(row + column, static_cast<int>(rest), 0.0f); },
             [=](const uint8_t* row) { return read_first<V, Element>(row + column * Element::bytes, rest); });
    }
    for (int row = 0; row < rows; ++row) {
        for (int token = 0; token < count; ++token) {
            out[token * panel_rows + row] = sums[row][token].sum();
        }
    }
}

template <typename V, typename Element, int rows>
inline void multiply_row_tiles(const uint8_t* weights, size_t stride, size_t columns, const float* inputs,
                               int count, float* out) {
    int token = 0;
    for (; token + V::tokens <= count; token += V::tokens) {
        multiply_row_tile<V, Element, rows, V::tokens>(
            weights, stride, columns, inputs + static_cast<size_t>(token) * columns, out + token * panel_rows);
    }
    for (; token < count; ++token) {
        multiply_row_tile<V, Element, rows, 1>(
            weights, stride, columns, inputs + static_cast<size_t>(token) * columns, out + token * panel_rows);
    }
}

// As Kernels::multiply_rows.
template <typename V, typename Element>
void multiply_rows(const void* weights, size_t stride, int rows, int columns, const float* inputs, int count,
                   float* out) {
    const uint8_t* const bytes = static_cast<const uint8_t*>(weights);
    const size_t width = static_cast<size_t>(columns);
    int row = 0;
    for (; row + V::stored_rows <= rows; row += V::stored_rows) {
        multiply_row_tiles<V, Element, V::stored_rows>(bytes + static_cast<size_t>(row) * stride, stride, width,
                                                       inputs, count, out + row);
    }
    for (; row < rows; ++row) {
        multiply_row_tiles<V, Element, 1>(bytes + static_cast<size_t>(row) * stride, stride, width, inputs,
                                          count, out + row);
    }
}

}  // namespace
}  // namespace pocketlm
