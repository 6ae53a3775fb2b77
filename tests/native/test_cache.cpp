// Blocks of the cache: who holds them, and that what is stored is what is read.
#include "cache.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
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
    CHECK_REFUSED(KVCache(1, 1, 8, ""));
    CHECK_REFUSED(KVCache(1, 1, 8, "q8/"));
    CHECK_REFUSED(KVCache(1, 1, 8, "q8/f16/q8"));
    for (const char* type : {"q4", "q4/f16", "q8/q4"}) {
        CHECK_REFUSED(KVCache(1, 1, 48, type));
        CHECK_EQUAL(KVCache(1, 1, 64, type).padded_dim(), 64);
    }
}

TEST(sizes_are_as_said) {
    CHECK_EQUAL(KVCache(32, 32, 96, "f16").block_bytes(), 32 * 384 * 1024);
    // One byte a number and a half for each 32; 80 numbers are three groups.
    CHECK_EQUAL(KVCache(2, 5, 80, "q8").block_bytes(), 2 * 2 * 5 * 32 * (80 + 3 * 2));
    CHECK_EQUAL(KVCache(2, 5, 96, "q4").block_bytes(), 2 * 2 * 5 * 32 * (48 + 3 * 2));
    CHECK_EQUAL(KVCache(2, 5, 96, "q8/q4").block_bytes(), 2 * 5 * 32 * (96 + 48 + 2 * 3 * 2));
    // Heads are padded to whole vectors of 16.
    CHECK_EQUAL(KVCache(1, 1, 6, "f16").block_bytes(), 2 * 32 * 16 * 2);
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
        for (int from : {block, copied}) {
            for (int layer = 0; layer < layers; ++layer) {
                for (int head = 0; head < heads; ++head) {
                    const auto check = [&](bool key, const float* input, int position) {
                        std::vector<float> kept(input, input + head_dim);
                        if (key && cache.turns_keys()) {
                            turn_groups(kept.data(), head_dim);
                        }
                        const uint8_t* side = key ? cache.keys(from, layer, head)
                                                  : cache.values(from, layer, head);
                        const CacheType side_type = key ? cache.key_type() : cache.value_type();
                        for (int i = 0; i < cache.padded_dim(); ++i) {
                            const double got = reference::cached(side_type, side,
                                                                 cache.padded_dim(), key, i, position);
                            if (i >= head_dim) {
                                CHECK_EQUAL(got, 0.0);
                                continue;
                            }
                            float largest = 0.0f;
                            const int first = i / 32 * 32;
                            for (int j = first; j < std::min(first + 32, head_dim); ++j) {
                                largest = std::max(largest, std::fabs(kept[static_cast<size_t>(j)]));
                            }
                            CHECK_CLOSE(got, kept[static_cast<size_t>(i)],
                                        tolerance * static_cast<double>(largest));
                        }
                    };
                    for (int position = 0; position < block_positions; ++position) {
                        check(true, &keys[at(layer, head, position)], position);
                        check(false, &values[at(layer, head, position)], position);
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

TEST(floats_are_kept_as_they_are) {
    for (int head_dim : {6, 32, 40, 96}) {
        check_round_trip("f32", head_dim, 0.0);
    }
}

TEST(bytes_are_kept_to_half_a_step) {
    // Half of 1/127, and the rounding of the scale to 11 bits.
    for (int head_dim : {6, 32, 40, 96}) {
        check_round_trip("q8", head_dim, 0.5 / 127 + 0.001);
    }
}

TEST(nibbles_are_kept_to_a_step) {
    // Half of 1/8, a whole one at the end that has seven steps alone; and the scale's fit.
    for (int head_dim : {32, 96}) {
        check_round_trip("q4", head_dim, 1.0 / 8 + 0.02);
        check_round_trip("q8/q4", head_dim, 1.0 / 8 + 0.02);
    }
}

TEST(turning_keeps_products_and_turns_back) {
    Random random(5);
    const std::vector<float> a = uniform(random, 96);
    const std::vector<float> b = uniform(random, 96);
    std::vector<float> turned_a = a;
    std::vector<float> turned_b = b;
    turn_groups(turned_a.data(), 96);
    turn_groups(turned_b.data(), 96);
    double plain = 0.0;
    double turned = 0.0;
    for (size_t i = 0; i < 96; ++i) {
        plain += static_cast<double>(a[i]) * static_cast<double>(b[i]);
        turned += static_cast<double>(turned_a[i]) * static_cast<double>(turned_b[i]);
    }
    CHECK_CLOSE(turned, plain, 1e-5);
    turn_groups(turned_a.data(), 96);
    for (size_t i = 0; i < 96; ++i) {
        CHECK_CLOSE(turned_a[i], a[i], 1e-6);
    }
    // One number alone is spread evenly over its group.
    std::vector<float> alone(64, 0.0f);
    alone[40] = 1.0f;
    turn_groups(alone.data(), 64);
    for (size_t i = 0; i < 64; ++i) {
        CHECK_CLOSE(std::fabs(alone[i]), i < 32 ? 0.0 : std::sqrt(1.0 / 32), 1e-6);
    }
}

TEST(a_row_of_zeros_is_kept) {
    const std::vector<float> zeros(64);
    for (const char* type : {"f32", "f16", "q8", "q4"}) {
        KVCache cache(1, 1, 64, type);
        const int block = cache.allocate();
        cache.store(block, 0, 0, 31, zeros.data(), zeros.data(), portable_kernels);
        for (int i = 0; i < 64; ++i) {
            const uint8_t* keys = cache.keys(block, 0, 0);
            CHECK_EQUAL(reference::cached(cache.key_type(), keys, 64, true, i, 31), 0.0);
        }
    }
}

TEST(what_is_not_finite_does_no_harm) {
    const float infinity = std::numeric_limits<float>::infinity();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (float odd : {infinity, -infinity, nan, 3e38f, -3e38f, 1e-40f}) {
        for (const char* type : {"f32", "f16", "q8", "q4"}) {
            for (const Kernels* kernels : available_kernels()) {
                std::vector<float> row(32, 1.0f);
                row[3] = odd;
                KVCache cache(1, 1, 32, type);
                const int block = cache.allocate();
                cache.store(block, 0, 0, 0, row.data(), row.data(), *kernels);
            }
        }
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
    const auto first = [&](int of) {
        return reference::cached(CacheType::F16, cache.values(of, 0, 0), 16, false, 0, 0);
    };
    CHECK_EQUAL(first(block), 1.0);
    CHECK_EQUAL(first(copied), 2.0);
}

int main() { return run_tests(); }
