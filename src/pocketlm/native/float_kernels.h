// The kernels whose numbers are floats alone, written once over vectors of 16 (sixteen.h): but for products with
// the cache (cache_kernels.h), with rows as stored (row_kernels.h) and of adapters (low_rank.h).
#pragma once

#include "cache_kernels.h"
#include "kernels.h"
#include "low_rank.h"
#include "row_kernels.h"
#include "sixteen.h"

namespace pocketlm {
namespace {

// As Kernels::normalise.
template <typename V>
void normalise(const float* input, const float* weight, float epsilon, int count, float* out) {
    V squares = V::all(0.0f);
    in_vectors<V>(count, [&](auto load, auto) {
        const V values = load(input);
        squares = values.times(values, squares);
    });
    const float mean = squares.sum() / static_cast<float>(count);
    const V factor = V::all(1.0f / __builtin_sqrtf(mean + epsilon));
    in_vectors<V>(count, [&](auto load, auto store) { store(load(input) * factor * load(weight), out); });
}

// e^x by 2^n * e^r, |r| <= ln(2) / 2, with a polynomial of degree 6 (relative error below 2e-7); zero
// where a normal float cannot hold it.
template <typename V>
inline V exponential(const V& x) {
    const V least = V::all(-87.0f);
    const V inside = x.max(least).min(V::all(88.0f));
    const V n = (inside * V::all(1.44269504088896341f)).rounded();
    V r = n.times(V::all(-0.693359375f), inside);
    r = n.times(V::all(2.12194440e-4f), r);
    V p = V::all(1.0f / 720.0f);
    p = p.times(r, V::all(1.0f / 120.0f));
    p = p.times(r, V::all(1.0f / 24.0f));
    p = p.times(r, V::all(1.0f / 6.0f));
    p = p.times(r, V::all(0.5f));
    p = p.times(r, V::all(1.0f));
    p = p.times(r, V::all(1.0f));
    return p.scaled(n).where_not_below(x, least);
}

// As Kernels::gate.
template <typename V>
void gate(const float* gates, const float* up, int count, float* out) {
    in_vectors<V>(count, [&](auto load, auto store) {
        const V x = load(gates);
        const V silu = x / (V::all(1.0f) + exponential(V::all(0.0f) - x));
        store(silu * load(up), out);
    });
}

// As Kernels::largest.
template <typename V>
float largest(const float* values, int count) {
    V found = V::all(values[0]);
    in_vectors<V>(count, [&](auto load, auto) { found = found.max(load(values, values[0])); });
    return found.largest();
}

// As Kernels::exponentials.
template <typename V>
float exponentials(float* values, int count, float maximum) {
    const V shift = V::all(maximum);
    V sum = V::all(0.0f);
    in_vectors<V>(count, [&](auto load, auto store) {
        // What is not there has the exponential zero.
        const V result = exponential(load(values, -__builtin_inff()) - shift);
        store(result, values);
        sum = sum + result;
    });
    return sum.sum();
}

// Puts all of them into a table.
template <typename V>
constexpr void set_float_kernels(Kernels& table) {
    table.multiply_rows[static_cast<int>(Type::F32)] = multiply_rows<V, F32>;
    table.multiply_rows[static_cast<int>(Type::F16)] = multiply_rows<V, F16>;
    table.multiply_rows[static_cast<int>(Type::BF16)] = multiply_rows<V, BF16>;
    table.normalise = normalise<V>;
    table.gate = gate<V>;
    table.match_keys[static_cast<int>(CacheType::F16)] = match_keys<V, CacheType::F16>;
    table.match_keys[static_cast<int>(CacheType::Q8)] = match_keys<V, CacheType::Q8>;
    table.match_keys[static_cast<int>(CacheType::Q4)] = match_keys<V, CacheType::Q4>;
    table.match_keys[static_cast<int>(CacheType::F32)] = match_keys<V, CacheType::F32>;
    table.blend_values[static_cast<int>(CacheType::F16)] = blend_values<V, CacheType::F16>;
    table.blend_values[static_cast<int>(CacheType::Q8)] = blend_values<V, CacheType::Q8>;
    table.blend_values[static_cast<int>(CacheType::Q4)] = blend_values<V, CacheType::Q4>;
    table.blend_values[static_cast<int>(CacheType::F32)] = blend_values<V, CacheType::F32>;
    table.add_low_rank = add_low_rank<V>;
    table.largest = largest<V>;
    table.exponentials = exponentials<V>;
}

}  // namespace
}  // namespace pocketlm
