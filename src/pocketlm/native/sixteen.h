// Sixteen floats: what all float kernels are written over, so that every instruction set does the same
// operations in the same order. With whole numbers between them, that gives a model's logits to the bit
// on every processor.
//
// A kernel file gives `Sixteen`, as one vector, or as several:
//
//   Sixteen::all(number)              one number, repeated
//   Sixteen::load(floats)             and v.store(floats); neither needs alignment
//   Sixteen::load_first(floats, count, rest)    the first `count` < 16, and `rest` for those after them; and
//                                     v.store_first(floats, count)
//   Sixteen::floats(bytes)            numbers as files and caches store them: float32, float16, bfloat16,
//   Sixteen::halves(bytes)            signed bytes, and the low or high nibbles of 16 bytes, which mean
//   Sixteen::brain_halves(bytes)      -8 … 7
//   Sixteen::bytes(bytes)
//   Sixteen::nibbles(bytes, high)
//   a + b, a - b, a * b, a / b, a.max(b), a.min(b)
//   a.times(b, c)                     a * b + c, rounded once
//   a.times_exact(b, c)               the same where a * b is exact, so that rounding twice does no harm
//   a.shortened()                     as half.h has it
//   a.rounded()                       to whole numbers, ties to even
//   a.scaled(n)                       a * 2^n, of whole n from -126 to 127
//   a.where_not_below(x, least)       a where x >= least, 0 elsewhere (and where x is not a number)
//   v.sum()                           each lane with that 8 after it, then 4, 2, 1
//   v.largest()
//
// and how much of a product it holds in its registers:
//
//   Sixteen::rows, Sixteen::together  rows of queries, and vectors, that meet what is read of the cache
//   Sixteen::stored_rows, ::tokens    rows of weights as stored, and tokens, of a product
//
// Functions here are in a namespace without a name, or `static`: half.h says why.
#pragma once

#include <cstddef>

#include "half.h"

namespace pocketlm {
namespace {

// load_first and store_first for vectors without masks.
template <typename V>
inline V load_by_buffer(const float* at, int count, float rest) {
    float numbers[16];
    for (int i = 0; i < 16; ++i) {
        numbers[i] = i < count ? at[i] : rest;
    }
    return V::load(numbers);
}

template <typename V>
inline void store_by_buffer(const V& vector, float* at, int count) {
    float numbers[16];
    vector.store(numbers);
    for (int i = 0; i < count; ++i) {
        at[i] = numbers[i];
    }
}

// Calls body(load, store, index) for vectors that cover `count` floats: load(from) and store(vector, to) are of
// the vector's place, whole or ragged.
template <typename V, typename Body>
inline void in_vectors(int count, const Body& body) {
    int i = 0;
    for (; i + 16 <= count; i += 16) {
        body([i](const float* from, float = 0.0f) { return V::load(from + i); },
             [i](const V& vector, float* to) { vector.store(to + i); });
    }
    if (i < count) {
        const int rest = count - i;
        body([i, rest](const float* from, float other = 0.0f) { return V::load_first(from + i, rest, other); },
             [i, rest](const V& vector, float* to) { vector.store_first(to + i, rest); });
    }
}

}  // namespace
}  // namespace pocketlm
