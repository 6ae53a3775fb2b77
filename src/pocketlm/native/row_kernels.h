// Products with rows of floats as they are stored, written once over vectors of floats.
//
// A kernel file gives `V`, its vector:
//
//   V::Vector, V::width                       the type, and how many floats it holds
//   V::tokens                                 how many tokens share what is read
//   V::zero(), V::load(floats), V::sum(v)
//   V::times(a, b, c)                         a * b + c, fused where the processor can
//   V::f32(bytes), V::f16(bytes), V::bf16(bytes)   stored numbers as floats
//
// Each number is computed by the same operations however many rows and tokens go together. In a namespace without
// a name: half.h says why.
#pragma once

#include "half.h"
#include "layout.h"

namespace pocketlm {
namespace {

struct F32 {
    static constexpr size_t bytes = 4;
    template <typename V, typename... Lanes>
    static typename V::Vector read(const uint8_t* at, Lanes... lanes) {
        return V::f32(at, lanes...);
    }
    static float read_one(const uint8_t* at) {
        float value;
        std::memcpy(&value, at, sizeof value);
        return value;
    }
};

struct F16 {
    static constexpr size_t bytes = 2;
    template <typename V, typename... Lanes>
    static typename V::Vector read(const uint8_t* at, Lanes... lanes) {
        return V::f16(at, lanes...);
    }
    static float read_one(const uint8_t* at) {
        uint16_t half;
        std::memcpy(&half, at, sizeof half);
        return float_from_f16(half);
    }
};

struct BF16 {
    static constexpr size_t bytes = 2;
    template <typename V, typename... Lanes>
    static typename V::Vector read(const uint8_t* at, Lanes... lanes) {
        return V::bf16(at, lanes...);
    }
    static float read_one(const uint8_t* at) {
        uint16_t half;
        std::memcpy(&half, at, sizeof half);
        return float_from_bf16(half);
    }
};

// Some rows times some tokens: what is left over of a row goes number by number.
template <typename V, typename Element>
struct FloatBlock {
    static constexpr int tokens = V::tokens;

    template <int rows, int count>
    static inline void multiply(const uint8_t* weights, size_t stride, int columns, const float* inputs,
                                float* out) {
        typename V::Vector sums[rows][count];
        for (int row = 0; row < rows; ++row) {
            for (int token = 0; token < count; ++token) {
                sums[row][token] = V::zero();
            }
        }
        const size_t pitch = static_cast<size_t>(columns);
        size_t column = 0;
        for (; column + V::width <= pitch; column += V::width) {
            typename V::Vector input[count];
            for (int token = 0; token < count; ++token) {
                input[token] = V::load(inputs + static_cast<size_t>(token) * pitch + column);
            }
            for (int row = 0; row < rows; ++row) {
                const auto weight = Element::template read<V>(
                    weights + static_cast<size_t>(row) * stride + column * Element::bytes);
                for (int token = 0; token < count; ++token) {
                    sums[row][token] = V::times(weight, input[token], sums[row][token]);
                }
            }
        }
        for (int row = 0; row < rows; ++row) {
            for (int token = 0; token < count; ++token) {
                float sum = V::sum(sums[row][token]);
                for (size_t rest = column; rest < pitch; ++rest) {
                    sum += Element::read_one(weights + static_cast<size_t>(row) * stride +
                                             rest * Element::bytes) *
                           inputs[static_cast<size_t>(token) * pitch + rest];
                }
                out[token * panel_rows + row] = sum;
            }
        }
    }
};

template <typename Block, int rows>
inline void multiply_row_block(const uint8_t* weights, size_t stride, int columns, const float* inputs,
                               int count, float* out) {
    const size_t pitch = static_cast<size_t>(columns);
    int token = 0;
    for (; token + Block::tokens <= count; token += Block::tokens) {
        Block::template multiply<rows, Block::tokens>(
            weights, stride, columns, inputs + static_cast<size_t>(token) * pitch, out + token * panel_rows);
    }
    for (; token < count; ++token) {
        Block::template multiply<rows, 1>(weights, stride, columns,
                                          inputs + static_cast<size_t>(token) * pitch,
                                          out + token * panel_rows);
    }
}

// As Kernels::multiply_rows.
template <typename Block>
void multiply_rows(const void* weights, size_t stride, int rows, int columns, const float* inputs,
                   int count, float* out) {
    const uint8_t* bytes = static_cast<const uint8_t*>(weights);
    int row = 0;
    for (; row + 4 <= rows; row += 4) {
        multiply_row_block<Block, 4>(bytes + static_cast<size_t>(row) * stride, stride, columns, inputs,
                                     count, out + row);
    }
    for (; row < rows; ++row) {
        multiply_row_block<Block, 1>(bytes + static_cast<size_t>(row) * stride, stride, columns, inputs,
                                     count, out + row);
    }
}

}  // namespace
}  // namespace pocketlm
