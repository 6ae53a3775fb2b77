// Quantised rows: any weights, factors and stored bytes do no harm; a type whose blocks share numbers.
#include "quantise.h"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "check.h"
#include "half.h"
#include "matrix.h"
#include "panel_types.h"
#include "reference.h"
#include "write_rows.h"

// How many allocations succeed from now on, in all threads; below 0, all do. Not inlined: where only one
// of a pair is, GCC takes it for a mismatch.
static std::atomic<int> allocations_left{-1};

[[gnu::noinline]] void* operator new(size_t size) {
    int left = allocations_left.load();
    while (left >= 0 && !allocations_left.compare_exchange_weak(left, left == 0 ? 0 : left - 1)) {
    }
    void* const memory = left == 0 ? nullptr : std::malloc(size);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

using namespace pocketlm;
using reference::Random;

namespace {

constexpr const char* types[] = {"F32",  "F16",  "BF16", "Q4_0", "Q4_1",   "Q5_0",  "Q8_0",
                                 "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "P3",   "P4",
                                 "P5",   "P6"};

// Any bits are floats: of all sizes, some of them not finite.
std::vector<float> random_bits(Random& random, size_t count, bool finite) {
    std::vector<float> numbers(count);
    for (float& number : numbers) {
        do {
            number = float_from_bits(random());
        } while (finite && !std::isfinite(number));
    }
    return numbers;
}

template <typename Body>
bool refused(const Body& body) {
    try {
        body();
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

bool all_finite(const std::vector<float>& numbers) {
    return finite(numbers.data(), static_cast<int64_t>(numbers.size()));
}

constexpr std::array<float, 4> entries = {-1.5f, -0.5f, 0.5f, 1.5f};

// 2 bits a weight, and a byte for each 32: scale = base + code * step of the whole row.
struct WriteTwoBits {
    static constexpr int columns = 32;
    static constexpr int bytes = 9;
    static constexpr int group = 32;
    static constexpr int shared_numbers = 2;
    static constexpr int shared_bytes = 8;
    using Levels = Grid<entries>;

    static void fit_row(const float* row, const float*, int64_t width, float* shared) {
        float largest = 0.0f;
        for (int64_t i = 0; i < width; ++i) {
            largest = std::max(largest, std::fabs(row[i]));
        }
        shared[0] = 0.0f;
        shared[1] = largest / 1.5f / 255.0f;
    }
    static void pack_row(const float* shared, uint8_t* out) { std::memcpy(out, shared, 8); }

    static Fit<1> fit(const float* x, const float* w, const float* shared) {
        Fit<1> fit{};
        float least = std::numeric_limits<float>::infinity();
        for (int code = 0; code < 256; ++code) {
            const float scale = shared[0] + static_cast<float>(code) * shared[1];
            const float error = measure<Levels, 32>(x, w, scale, 0.0f).rr;
            if (error < least) {
                least = error;
                fit.unit = static_cast<uint16_t>(code);
                fit.scale[0] = scale;
                fit.inverse[0] = inverse_of(scale);
            }
        }
        return fit;
    }
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        std::memset(block, 0, bytes);
        block[0] = static_cast<uint8_t>(fit.unit);
        for (int i = 0; i < 32; ++i) {
            block[1 + i / 4] = static_cast<uint8_t>(block[1 + i / 4] | quants[i] << (2 * (i % 4)));
        }
    }
};

}  // namespace

TEST(any_weights_are_rounded_or_refused) {
    Random random(1);
    ThreadPool pool(2, "");
    for (int round = 0; round < 20; ++round) {
        for (const std::string type : types) {
            const int rows = 1 + static_cast<int>(random() % 5);
            const int columns = 256 * (1 + static_cast<int>(random() % 2));
            const size_t count = static_cast<size_t>(rows) * static_cast<size_t>(columns);
            const bool sound = random() % 4 != 0;
            const std::vector<float> weights = random_bits(random, count, sound);
            std::vector<float> importance = random_bits(random, static_cast<size_t>(columns), true);
            for (float& number : importance) {
                number = random() % 3 == 0 ? 0.0f : std::fabs(number);
            }
            std::vector<uint8_t> out(quantised_row_bytes(type, columns) *
                                     static_cast<size_t>(rows));
            const bool wrong = refused([&] {
                quantise(pool, type, weights.data(), rows, columns,
                         round % 2 == 0 ? nullptr : importance.data(), out.data());
            });
            if (wrong) {
                CHECK(!sound || type == "F16" || type == "BF16");
                continue;
            }
            std::vector<float> got(count);
            dequantise(pool, type, out.data(), out.size(), rows, columns, got.data());
            CHECK(all_finite(got));
        }
    }
}

TEST(any_factor_is_followed_or_refused) {
    Random random(2);
    ThreadPool pool(3, "");
    int followed = 0;
    for (int round = 0; round < 12; ++round) {
        for (const std::string type : types) {
            const int rows = 1 + static_cast<int>(random() % 20);
            const size_t count = static_cast<size_t>(rows) * 256;
            const std::vector<float> weights = random_bits(random, count, random() % 4 != 0);
            std::vector<float> factor = random_bits(random, 256 * 256, random() % 4 != 0);
            for (size_t i = 0; i < 256; ++i) {
                factor[257 * i] = std::fabs(factor[257 * i]);
                for (size_t j = i + 1; j < 256 && round % 2 == 0; ++j) {
                    factor[256 * i + j] = 0.0f;
                }
            }
            std::vector<uint8_t> out(quantised_block_bytes(type, 256) * static_cast<size_t>(rows));
            std::vector<float> errors(count);
            const std::vector<float> shared = random_bits(
                random, static_cast<size_t>(shared_numbers(type) * rows), random() % 4 != 0);
            followed += !refused([&] {
                quantise_columns(pool, type, weights.data(), rows, 256, nullptr, factor.data(),
                                 shared.data(), out.data(), errors.data());
                CHECK(all_finite(errors));
            });
        }
    }
    std::vector<float> identity(256 * 256);
    for (size_t i = 0; i < 256; ++i) {
        identity[257 * i] = 1.0f;
    }
    const std::vector<float> weights = reference::uniform(random, 11 * 256);
    for (const std::string type : types) {
        std::vector<uint8_t> out(quantised_block_bytes(type, 256) * 11);
        std::vector<float> errors(11 * 256);
        std::vector<float> shared(11 * static_cast<size_t>(shared_numbers(type)));
        fit_rows(pool, type, weights.data(), 11, 256, nullptr, shared.data());
        followed += !refused([&] {
            quantise_columns(pool, type, weights.data(), 11, 256, nullptr, identity.data(),
                             shared.data(), out.data(), errors.data());
        });
    }
    CHECK(followed >= 12);
}

TEST(any_bytes_are_numbers) {
    Random random(3);
    ThreadPool pool(2, "");
    for (int round = 0; round < 20; ++round) {
        for (const std::string type : types) {
            std::vector<uint8_t> data(quantised_row_bytes(type, 512) * 3);
            for (uint8_t& byte : data) {
                byte = static_cast<uint8_t>(random());
            }
            std::vector<float> got(3 * 512);
            dequantise(pool, type, data.data(), data.size(), 3, 512, got.data());
            CHECK_REFUSED(
                dequantise(pool, type, data.data(), data.size() - 1, 3, 512, got.data()));
        }
    }
}

TEST(threads_change_nothing) {
    Random random(4);
    const std::vector<float> weights = reference::uniform(random, 50 * 512);
    for (const std::string type : types) {
        std::vector<uint8_t> results[2];
        for (int threads : {1, 4}) {
            ThreadPool pool(threads, "");
            std::vector<uint8_t>& out = results[threads == 1 ? 0 : 1];
            out.resize(quantised_row_bytes(type, 512) * 50);
            quantise(pool, type, weights.data(), 50, 512, nullptr, out.data());
        }
        CHECK(results[0] == results[1]);
    }
}

TEST(blocks_share_numbers_of_their_row) {
    Random random(5);
    constexpr int64_t width = 128;
    constexpr int rows = 5;
    const std::vector<float> weights = reference::uniform(random, rows * width);
    const std::vector<float> w(width, 1.0f);
    std::vector<float> factor(width * width);
    for (size_t i = 0; i < width; ++i) {
        factor[(width + 1) * i] = 1.0f;
    }
    constexpr int64_t half = width / 2;
    std::vector<float> half_factor(half * half);
    for (size_t i = 0; i < half; ++i) {
        half_factor[(half + 1) * i] = 1.0f;
    }

    std::vector<float> shared(2 * rows);
    for (int row = 0; row < rows; ++row) {
        WriteTwoBits::fit_row(weights.data() + row * width, w.data(), width,
                            shared.data() + 2 * row);
    }
    std::vector<uint8_t> whole(rows * 4 * 9);
    std::vector<float> errors(rows * width);
    feed_back<WriteTwoBits>(weights.data(), rows, width, w.data(), factor.data(), shared.data(),
                          whole.data(), errors.data());
    for (int row = 0; row < rows; ++row) {
        // By itself, a row holds its numbers and then the same blocks.
        std::vector<uint8_t> plain(8 + 4 * 9);
        CHECK(quantise_row<WriteTwoBits>(weights.data() + row * width, w.data(), width, plain.data()));
        CHECK(std::memcmp(plain.data(), shared.data() + 2 * row, 8) == 0);
        CHECK(std::equal(plain.begin() + 8, plain.end(), whole.begin() + row * 36));
        // So it does in two parts, each of which sees half of the row.
        for (int part = 0; part < 2; ++part) {
            std::vector<uint8_t> out(2 * 9);
            std::vector<float> part_errors(half);
            feed_back<WriteTwoBits>(weights.data() + row * width + part * half, 1, half, w.data(),
                                  half_factor.data(), shared.data() + 2 * row, out.data(),
                                  part_errors.data());
            CHECK(std::equal(out.begin(), out.end(), whole.begin() + row * 36 + part * 18));
            CHECK(std::equal(part_errors.begin(), part_errors.end(),
                             errors.begin() + row * width + part * half));
        }
    }
}

// Whatever the rows are: any bytes, or what a writer made.
TEST(panels_mean_what_their_rows_do) {
    Random random(6);
    ThreadPool pool(3, "");
    for (Type type : {Type::P3, Type::P4, Type::P5, Type::P6}) {
        for (int rows : {1, 15, 16, 17, 50}) {
            for (int columns : {32, 224, 256, 288, 512}) {
                const size_t stride = quantised_row_bytes(name_of(type), columns);
                std::vector<uint8_t> data;
                if (rows % 2 == 0) {
                    data.resize(stride * static_cast<size_t>(rows));
                    const std::vector<float> weights =
                        reference::uniform(random, static_cast<size_t>(rows * columns));
                    quantise(pool, name_of(type), weights.data(), rows, columns, nullptr, data.data());
                } else {
                    data = reference::random_bytes(stride * static_cast<size_t>(rows), random);
                    for (size_t at = 0; at < data.size(); at += stride) {
                        data[at + 1] &= 0x3f;
                        data[at + 3] &= 0x3f;
                    }
                }
                std::vector<float> expected(static_cast<size_t>(rows * columns));
                dequantise(pool, name_of(type), data.data(), data.size(), rows, columns,
                           expected.data());
                std::vector<uint8_t> panels(reference::stored_bytes(type, rows, columns), 0xff);
                interleave(pool, type, data.data(), data.size(), rows, columns, panels.data());
                for (int row = 0; row < rows; ++row) {
                    for (int column = 0; column < columns; ++column) {
                        const double want =
                            static_cast<double>(expected[static_cast<size_t>(row * columns + column)]);
                        CHECK_CLOSE(reference::number(type, panels.data(), columns, row, column), want,
                                    1e-6 * std::fabs(want));
                    }
                }
                // Of rows that are missing, the scales are 0.
                const Matrix whole(type, (rows + 15) / 16 * 16, columns, panels.data(), panels.size(),
                                   pool, false);
                std::vector<float> missing(static_cast<size_t>(columns), 1.0f);
                for (int row = rows; row < whole.rows(); ++row) {
                    whole.row(row, missing.data());
                    for (float number : missing) {
                        CHECK_EQUAL(number, 0.0);
                    }
                }
            }
        }
    }
}

TEST(rows_that_make_no_panels_are_refused) {
    ThreadPool pool(1, "");
    std::vector<uint8_t> data(4096);
    std::vector<uint8_t> out(4096);
    const auto make = [&](Type type, int rows, int columns, size_t bytes) {
        interleave(pool, type, data.data(), bytes, rows, columns, out.data());
    };
    make(Type::P4, 3, 64, 3 * 38);
    for (size_t wrong : {3 * 38 - 1, 3 * 38 + 1, 2 * 38, 4 * 38, 0}) {
        CHECK_REFUSED(make(Type::P4, 3, 64, wrong));
    }
    CHECK_REFUSED(make(Type::P3, 3, 64, 3 * 38));
    CHECK_REFUSED(make(Type::Q4_0, 3, 64, 3 * 36));
    CHECK_REFUSED(make(Type::F32, 3, 64, 3 * 256));
    CHECK_REFUSED(make(Type::P4, 0, 64, 0));
    CHECK_REFUSED(make(Type::P4, -3, 64, 3 * 38));
    for (int columns : {0, -32, 33, std::numeric_limits<int>::max()}) {
        CHECK_REFUSED(make(Type::P4, 3, columns, 3 * 38));
    }
}

// On whichever thread.
TEST(memory_that_ends_is_an_error) {
    Random random(7);
    const std::vector<float> weights = reference::uniform(random, 40 * 256);
    std::vector<uint8_t> out(quantised_row_bytes("P3", 256) * 40);
    std::vector<uint8_t> expected = out;
    std::vector<float> shared(2 * 40);
    for (int threads : {1, 3}) {
        ThreadPool pool(threads, "");
        quantise(pool, "P3", weights.data(), 40, 256, nullptr, expected.data());
        int ended = 0;
        for (bool done = false; !done;) {
            allocations_left = ended;
            try {
                quantise(pool, "P3", weights.data(), 40, 256, nullptr, out.data());
                fit_rows(pool, "P3", weights.data(), 40, 256, nullptr, shared.data());
                done = true;
            } catch (const std::bad_alloc&) {
                ++ended;
            }
            allocations_left = -1;
        }
        // Of both, and by rows.
        CHECK(ended > 2 * 40);
        CHECK(out == expected);
    }
}

TEST(sizes_that_do_not_fit_are_refused) {
    ThreadPool pool(1, "");
    std::vector<float> weights(512);
    std::vector<uint8_t> out(4096);
    const auto make = [&](const char* type, int64_t rows, int64_t columns) {
        quantise(pool, type, weights.data(), rows, columns, nullptr, out.data());
    };
    make("Q4_K", 2, 256);
    constexpr int64_t largest = std::numeric_limits<int64_t>::max();
    for (const int64_t wrong : {int64_t{0}, int64_t{-256}, largest, largest / 256 * 256}) {
        CHECK_REFUSED(make("Q4_K", wrong, 256));
        CHECK_REFUSED(make("Q4_K", 1, wrong));
    }
    CHECK_REFUSED(make("Q4_K", 2, 255));
    CHECK_REFUSED(make("q4_k", 2, 256));
    CHECK_REFUSED(make("", 2, 256));
}

int main() { return run_tests(); }
