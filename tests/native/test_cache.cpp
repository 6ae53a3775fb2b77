// Blocks of the cache: who holds them, and that what is stored is what is read.
#include "cache.h"

#include <algorithm>
#include <limits>

#include "check.h"
#include "half.h"
#include "pool.h"
#include "reference.h"

using namespace pocketlm;
using reference::Random;
using reference::uniform;

TEST(a_block_lives_until_its_last_reference_goes) {
    KVCache cache(2, 3, 8, "f16");
    CHECK_EQUAL(cache.blocks_in_use(), 0);
    const int first = cache.allocate();
    const int second = cache.allocate();
    CHECK(first != second);
    CHECK_EQUAL(cache.blocks_in_use(), 2);
    cache.retain(first);
    cache.release(first);
    CHECK(cache.holds(first));
    cache.release(first);
    CHECK(!cache.holds(first) && cache.holds(second));
    CHECK_EQUAL(cache.blocks_in_use(), 1);
    CHECK_EQUAL(cache.allocate(), first);
    cache.release(first);
    cache.release(second);
    CHECK_EQUAL(cache.blocks_in_use(), 0);
}

TEST(blocks_that_nobody_holds_are_refused) {
    KVCache cache(1, 1, 8, "q8");
    const int block = cache.allocate();
    for (int wrong : {-1, 1, 1 << 30, -(1 << 30)}) {
        CHECK(!cache.holds(wrong));
        CHECK_REFUSED(cache.retain(wrong));
        CHECK_REFUSED(cache.release(wrong));
        CHECK_REFUSED(cache.copy(wrong));
    }
    CHECK_EQUAL(cache.blocks_in_use(), 1);
    cache.release(block);
    CHECK_REFUSED(cache.release(block));
    CHECK_REFUSED(cache.copy(block));
    CHECK_EQUAL(cache.blocks_in_use(), 0);
}

TEST(dimensions_out_of_range_are_refused) {
    for (int wrong : {0, -1, 4097, std::numeric_limits<int>::max()}) {
        CHECK_REFUSED(KVCache(wrong, 1, 8, "f16"));
        CHECK_REFUSED(KVCache(1, wrong, 8, "f16"));
        CHECK_REFUSED(KVCache(1, 1, wrong, "f16"));
    }
    CHECK_REFUSED(KVCache(1, 1, 8, "q4"));
    CHECK_REFUSED(KVCache(1, 1, 8, ""));
}

TEST(sizes_are_as_said) {
    CHECK_EQUAL(KVCache(32, 32, 96, "f16").block_bytes(), 32 * 384 * 1024);
    // One byte a number and a half for each 32; 80 numbers are three groups.
    CHECK_EQUAL(KVCache(2, 5, 80, "q8").block_bytes(), 2 * 2 * 5 * 32 * (80 + 3 * 2));
}

namespace {

// Stores rows at all positions, reads them back and compares within `tolerance` of the largest of a
// row's group of 32.
void check_round_trip(const std::string& type, int head_dim, double tolerance) {
    constexpr int layers = 2;
    constexpr int heads = 3;
    Random random(static_cast<uint32_t>(head_dim));
    for (const Kernels* kernels : available_kernels()) {
        KVCache cache(layers, heads, head_dim, type);
        cache.allocate();
        const int block = cache.allocate();
        const size_t row = static_cast<size_t>(head_dim);
        const size_t rows = layers * heads * block_positions;
        const std::vector<float> keys = uniform(random, rows * row);
        const std::vector<float> values = uniform(random, rows * row);
        const auto at = [&](int layer, int head, int position) {
            return static_cast<size_t>((layer * heads + head) * block_positions + position) * row;
        };
        for (int layer = 0; layer < layers; ++layer) {
            for (int head = 0; head < heads; ++head) {
                for (int position = 0; position < block_positions; ++position) {
                    const size_t from = at(layer, head, position);
                    cache.store(block, layer, head, position, &keys[from], &values[from], *kernels);
                }
            }
        }
        const int copied = cache.copy(block);
        std::vector<uint16_t> scratch(row * block_positions);
        for (int from : {block, copied}) {
            for (int layer = 0; layer < layers; ++layer) {
                for (int head = 0; head < heads; ++head) {
                    const auto check = [&](const float* input, int dimension, uint16_t got) {
                        float largest = 0.0f;
                        const int first = dimension / 32 * 32;
                        for (int i = first; i < std::min(first + 32, head_dim); ++i) {
                            largest = std::max(largest, std::fabs(input[i]));
                        }
                        CHECK_CLOSE(float_from_f16(got), input[dimension],
                                    tolerance * static_cast<double>(largest));
                    };
                    const uint16_t* got = cache.keys(from, layer, head, scratch.data(), *kernels);
                    for (int position = 0; position < block_positions; ++position) {
                        for (int i = 0; i < head_dim; ++i) {
                            check(&keys[at(layer, head, position)], i,
                                  got[i * block_positions + position]);
                        }
                    }
                    got = cache.values(from, layer, head, scratch.data(), *kernels);
                    for (int position = 0; position < block_positions; ++position) {
                        for (int i = 0; i < head_dim; ++i) {
                            check(&values[at(layer, head, position)], i,
                                  got[position * head_dim + i]);
                        }
                    }
                }
            }
        }
    }
}

}  // namespace

TEST(halves_are_kept_to_eleven_bits) {
    for (int head_dim : {6, 32, 40, 96}) {
        check_round_trip("f16", head_dim, std::ldexp(1.0, -11));
    }
}

TEST(bytes_are_kept_to_half_a_step) {
    // Half of 1/127, and the roundings of the scale and of the result to 11 bits.
    for (int head_dim : {6, 32, 40, 96}) {
        check_round_trip("q8", head_dim, 0.5 / 127 + 0.001);
    }
}

TEST(a_row_of_zeros_is_kept) {
    const std::vector<float> zeros(48);
    std::vector<uint16_t> scratch(48 * block_positions);
    KVCache cache(1, 1, 48, "q8");
    const int block = cache.allocate();
    cache.store(block, 0, 0, 31, zeros.data(), zeros.data(), portable_kernels);
    const uint16_t* keys = cache.keys(block, 0, 0, scratch.data(), portable_kernels);
    for (int i = 0; i < 48; ++i) {
        CHECK_EQUAL(float_from_f16(keys[i * block_positions + 31]), 0.0);
    }
}

TEST(a_copy_changes_alone) {
    KVCache cache(1, 1, 8, "f16");
    const std::vector<float> ones(8, 1.0f);
    const std::vector<float> twos(8, 2.0f);
    const int block = cache.allocate();
    cache.store(block, 0, 0, 0, ones.data(), ones.data(), portable_kernels);
    const int copied = cache.copy(block);
    cache.store(copied, 0, 0, 0, twos.data(), twos.data(), portable_kernels);
    CHECK_EQUAL(float_from_f16(cache.values(block, 0, 0, nullptr, portable_kernels)[0]), 1.0);
    CHECK_EQUAL(float_from_f16(cache.values(copied, 0, 0, nullptr, portable_kernels)[0]), 2.0);
}

int main() { return run_tests(); }
