// Every kernel of every table that this processor has, against float64, at ragged sizes too; and the
// promise that what a number is computed with changes nothing (kernels.h).
#include "kernels.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "check.h"
#include "fused.h"
#include "half.h"
#include "matrix.h"
#include "product.h"
#include "reference.h"

#if defined(__x86_64__) || defined(_M_X64)
namespace pocketlm {
extern const Kernels emulated_amx_kernels;
}
#endif

using namespace pocketlm;
using reference::Random;
using reference::uniform;

namespace {

constexpr float guard = 12345.0f;

// All tables that this processor has, and those for AMX, emulated where it lacks that alone.
std::vector<const Kernels*> tested_kernels() {
    std::vector<const Kernels*> tables = available_kernels();
#if defined(__x86_64__) || defined(_M_X64)
    if (tables.back() == &avx512vbmi_kernels) {
        tables.push_back(&emulated_amx_kernels);
    }
#endif
    return tables;
}

// Activations in 8 bits for one tile.
struct Activations {
    Activations(int rows, int columns) : size(rows), groups(columns / group_columns) {
        values.resize(static_cast<size_t>(rows * columns));
        scales.resize(static_cast<size_t>(rows * groups));
        totals.resize(scales.size());
        sums = scales;
        low_sums = scales;
    }

    int8_t& value(int row, int column) {
        return values[static_cast<size_t>((column / 32 * size + row) * 32 + column % 32)];
    }

    double number(int row, int column) {
        return static_cast<double>(scales[static_cast<size_t>(column / 32 * size + row)]) *
               value(row, column);
    }

    // Scales are random, sums as quantise gives them.
    void finish(Random& random) {
        for (int group = 0; group < groups; ++group) {
            for (int row = 0; row < size; ++row) {
                const size_t at = static_cast<size_t>(group * size + row);
                int sum[2] = {0, 0};
                for (int i = 0; i < 32; ++i) {
                    sum[i / 16] += value(row, 32 * group + i);
                }
                scales[at] = 0.01f + 0.005f * uniform(random);
                totals[at] = sum[0] + sum[1];
                sums[at] = scales[at] * static_cast<float>(totals[at]);
                low_sums[at] = scales[at] * static_cast<float>(sum[0]);
            }
        }
    }

    // Row `row` of another tile.
    void take(int to, const Activations& from, int row) {
        for (int group = 0; group < groups; ++group) {
            const size_t source = static_cast<size_t>(group * from.size + row);
            const size_t target = static_cast<size_t>(group * size + to);
            std::copy_n(from.values.begin() + static_cast<long>(source * 32), 32,
                        values.begin() + static_cast<long>(target * 32));
            scales[target] = from.scales[source];
            totals[target] = from.totals[source];
            sums[target] = from.sums[source];
            low_sums[target] = from.low_sums[source];
        }
    }

    Tile tile() const {
        return {values.data(), scales.data(), totals.data(), sums.data(), low_sums.data()};
    }

    int size;
    int groups;
    std::vector<int8_t> values;
    std::vector<float> scales;
    std::vector<int32_t> totals;
    std::vector<float> sums;
    std::vector<float> low_sums;
};

Activations random_activations(int rows, int columns, Random& random) {
    Activations made(rows, columns);
    for (int8_t& value : made.values) {
        value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    }
    made.finish(random);
    return made;
}

void check_product(const Kernels& kernels, const Matrix& matrix, const uint8_t* data,
                   int log, Activations& activations, double slack) {
    const Type type = matrix.type();
    for (int panel = 0; panel < matrix.panels(); ++panel) {
        std::vector<float> out(static_cast<size_t>(16 * activations.size + 1), guard);
        kernels.multiply[static_cast<int>(type)][log](matrix.panel(panel), activations.tile(),
                                                      out.data());
        CHECK_EQUAL(out.back(), guard);
        for (int row = 0; row < matrix.rows_in(panel); ++row) {
            for (int token = 0; token < activations.size; ++token) {
                double expected = 0.0;
                double magnitude = 0.0;
                for (int column = 0; column < matrix.columns(); ++column) {
                    const double term = reference::number(type, data, matrix.columns(),
                                                          panel * 16 + row, column) *
                                        activations.number(token, column);
                    expected += term;
                    magnitude += std::fabs(term);
                }
                CHECK_CLOSE(out[static_cast<size_t>(token * 16 + row)], expected,
                            1e-5 * magnitude + slack);
            }
        }
    }
}

// Calls with every type in panels, table and tile size.
template <typename Body>
void for_each_product(const Body& body) {
    for (const Kernels* kernels : tested_kernels()) {
        for (int index = static_cast<int>(Type::Q4_0); index < type_count; ++index) {
            for (int log = 0; 1 << log <= kernels->tile; ++log) {
                body(*kernels, reference::type_at(index), log);
            }
        }
    }
}

}  // namespace

TEST(products_match_float64) {
    for_each_product([](const Kernels& kernels, Type type, int log) {
        Random random(1);
        ThreadPool pool(1, "");
        // One group, whole eights of them, and some more.
        const std::vector<int> widths = reference::form_of(type).columns == 256
                                            ? std::vector<int>{256, 512}
                                            : std::vector<int>{32, 96, 256, 288};
        for (int columns : widths) {
            const int rows = 21;
            // One byte off: nothing promises that a file's panels are aligned.
            std::vector<uint8_t> data = reference::random_weights(type, rows, columns, random);
            data.insert(data.begin(), 0);
            const Matrix matrix(type, rows, columns, data.data() + 1, data.size() - 1, pool, false);
            Activations activations = random_activations(1 << log, columns, random);
            check_product(kernels, matrix, data.data() + 1, log, activations, 0.0);
        }
    });
}

// Sums of 16-bit products that saturate would show here.
TEST(extreme_quants_do_not_overflow) {
    for_each_product([](const Kernels& kernels, Type type, int log) {
        Random random(2);
        ThreadPool pool(1, "");
        const int columns = 256;
        for (int byte : {0x00, 0xff, 0x7f, 0x80, 0xf0, 0x0f}) {
            const std::vector<uint8_t> sane = reference::random_weights(type, 16, columns, random);
            std::vector<uint8_t> data(sane.size(), static_cast<uint8_t>(byte));
            for (size_t at : reference::halves_of(type, 16, columns)) {
                std::copy_n(&sane[at], 2, &data[at]);
            }
            const Matrix matrix(type, 16, columns, data.data(), data.size(), pool, false);
            for (int sign : {1, -1}) {
                Activations activations(1 << log, columns);
                std::fill(activations.values.begin(), activations.values.end(),
                          static_cast<int8_t>(127 * sign));
                activations.finish(random);
                // Weights of zero leave what rounding does to quants with an offset.
                check_product(kernels, matrix, data.data(), log, activations, 1e-4);
            }
        }
    });
}

TEST(a_token_is_computed_alike_in_every_tile) {
    for (const Kernels* kernels : tested_kernels()) {
        ThreadPool pool(1, "");
        for (int index = static_cast<int>(Type::Q4_0); index < type_count; ++index) {
            const Type type = reference::type_at(index);
            Random random(3);
            // Many groups, and no whole number of anything where the type allows it.
            const int columns = reference::form_of(type).columns == 256 ? 1280 : 35 * 32;
            const std::vector<uint8_t> data = reference::random_weights(type, 16, columns, random);
            const Matrix matrix(type, 16, columns, data.data(), data.size(), pool, false);
            const Activations all = random_activations(largest_tile, columns, random);
            std::vector<float> alone(largest_tile * 16);
            for (int row = 0; row < largest_tile; ++row) {
                Activations one(1, columns);
                one.take(0, all, row);
                kernels->multiply[index][0](matrix.panel(0), one.tile(),
                                            &alone[static_cast<size_t>(16 * row)]);
            }
            for (int log = 1; 1 << log <= kernels->tile; ++log) {
                const int size = 1 << log;
                Activations tile(size, columns);
                for (int row = 0; row < size; ++row) {
                    tile.take(row, all, row);
                }
                std::vector<float> out(static_cast<size_t>(16 * size));
                kernels->multiply[index][log](matrix.panel(0), tile.tile(), out.data());
                CHECK(std::equal(out.begin(), out.end(), alone.begin()));
            }
        }
    }
}

#if defined(__unix__) || defined(__APPLE__)
namespace {

// Bytes with a page that nobody may touch right behind them, and right before them if they fill pages.
class Fenced {
  public:
    explicit Fenced(const std::vector<int8_t>& bytes) {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        const size_t pages = (bytes.size() + page - 1) / page * page;
        size_ = pages + 2 * page;
        whole_ = static_cast<int8_t*>(
            mmap(nullptr, size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        CHECK(whole_ != MAP_FAILED);
        CHECK_EQUAL(mprotect(whole_ + page, pages, PROT_READ | PROT_WRITE), 0);
        data_ = whole_ + page + pages - bytes.size();
        std::copy(bytes.begin(), bytes.end(), data_);
    }
    ~Fenced() { munmap(whole_, size_); }
    Fenced(const Fenced&) = delete;
    Fenced& operator=(const Fenced&) = delete;

    const int8_t* data() const { return data_; }

  private:
    int8_t* whole_;
    int8_t* data_;
    size_t size_;
};

}  // namespace

TEST(two_panels_at_once_are_what_each_is_alone) {
    for (const Kernels* kernels : tested_kernels()) {
        for (int index = 0; index < type_count; ++index) {
            const auto pair = kernels->multiply_pair[index];
            if (pair == nullptr) {
                continue;
            }
            const Type type = static_cast<Type>(index);
            Random random(12);
            ThreadPool pool(1, "");
            const int columns = 768;
            const std::vector<uint8_t> data = reference::random_weights(type, 32, columns, random);
            const Matrix matrix(type, 32, columns, data.data(), data.size(), pool, false);
            const Activations activations = random_activations(1, columns, random);
            const Tile tile = activations.tile();
            std::vector<float> expected(2 * panel_rows);
            std::vector<float> out(2 * panel_rows);
            for (int panel = 0; panel < 2; ++panel) {
                kernels->multiply[index][0](matrix.panel(panel), tile,
                                            expected.data() + panel * panel_rows);
            }
            pair(matrix.panel(0), matrix.panel(1), tile, out.data(), out.data() + panel_rows);
            CHECK(out == expected);
        }
    }
}

// Sanitizers do not see what tile instructions read; the system does.
TEST(products_read_no_activations_but_theirs) {
    for_each_product([](const Kernels& kernels, Type type, int log) {
        Random random(10);
        ThreadPool pool(1, "");
        const int columns = 256;
        const std::vector<uint8_t> data = reference::random_weights(type, 16, columns, random);
        const Matrix matrix(type, 16, columns, data.data(), data.size(), pool, false);
        const Activations activations = random_activations(1 << log, columns, random);
        const Fenced values(activations.values);
        Tile tile = activations.tile();
        std::vector<float> expected(static_cast<size_t>(16 << log));
        std::vector<float> out = expected;
        const auto multiply = kernels.multiply[static_cast<int>(type)][log];
        multiply(matrix.panel(0), tile, expected.data());
        tile.values = values.data();
        multiply(matrix.panel(0), tile, out.data());
        CHECK(out == expected);
    });
}
#endif

TEST(rows_as_stored_match_float64) {
    Random random(4);
    for (const Kernels* kernels : tested_kernels()) {
        for (Type type : {Type::F32, Type::F16, Type::BF16}) {
            for (int columns : {1, 3, 7, 8, 15, 16, 17, 33, 100}) {
                for (int rows : {1, 3, 4, 7, 16}) {
                    const int count = 5;
                    const size_t stride = stored_row_bytes(type, columns);
                    // One byte off: nothing promises that a file's rows are aligned.
                    std::vector<uint8_t> data = reference::random_weights(type, rows, columns, random);
                    data.insert(data.begin(), 0);
                    const std::vector<float> inputs =
                        uniform(random, static_cast<size_t>(count * columns));
                    std::vector<float> out(count * 16 + 1, guard);
                    const auto multiply = kernels->multiply_rows[static_cast<int>(type)];
                    multiply(data.data() + 1, stride, rows, columns, inputs.data(), count,
                             out.data());
                    CHECK_EQUAL(out.back(), guard);
                    for (int token = 0; token < count; ++token) {
                        const float* input = inputs.data() + token * columns;
                        float alone[16];
                        multiply(data.data() + 1, stride, rows, columns, input, 1, alone);
                        for (int row = 0; row < rows; ++row) {
                            double expected = 0.0;
                            double magnitude = 0.0;
                            for (int column = 0; column < columns; ++column) {
                                const double term = reference::number(type, data.data() + 1,
                                                                      columns, row, column) *
                                                    static_cast<double>(input[column]);
                                expected += term;
                                magnitude += std::fabs(term);
                            }
                            const float got = out[static_cast<size_t>(token * 16 + row)];
                            CHECK_CLOSE(got, expected, 2e-6 * magnitude);
                            CHECK_EQUAL(got, alone[row]);
                        }
                    }
                }
            }
        }
    }
}

TEST(quantising_rounds_to_nearest_and_sums) {
    Random random(5);
    const int columns = 96;
    for (const Kernels* kernels : tested_kernels()) {
        std::vector<float> input = uniform(random, columns);
        // The second group is ties: with a largest of 127 its numbers are quants as they are.
        for (int i = 0; i < 32; ++i) {
            input[static_cast<size_t>(32 + i)] = static_cast<float>(i - 16) + 0.5f;
        }
        input[32] = -127.0f;
        // The third is zero.
        std::fill(input.begin() + 64, input.end(), 0.0f);
        for (int size : {1, 2, 4, 8, 16, 128}) {
            const int index = size - 1;
            Activations out(size, columns);
            kernels->quantise(input.data(), columns, index, size, out.values.data(),
                              out.scales.data(), out.totals.data(), out.sums.data(),
                              out.low_sums.data());
            for (int group = 0; group < 3; ++group) {
                const float* in = input.data() + 32 * group;
                const size_t at = static_cast<size_t>(group * size + index);
                float largest = 0.0f;
                for (int i = 0; i < 32; ++i) {
                    largest = std::max(largest, std::fabs(in[i]));
                }
                CHECK_EQUAL(out.scales[at], largest / 127.0f);
                int sum[2] = {0, 0};
                for (int i = 0; i < 32; ++i) {
                    const int value = out.value(index, 32 * group + i);
                    sum[i / 16] += value;
                    CHECK_CLOSE(out.number(index, 32 * group + i), in[i], 0.5001 * largest / 127);
                    if (group == 1) {
                        CHECK_EQUAL(value, std::nearbyint(in[i]));
                    }
                }
                CHECK_EQUAL(out.totals[at], sum[0] + sum[1]);
                CHECK_EQUAL(out.sums[at], out.scales[at] * static_cast<float>(sum[0] + sum[1]));
                CHECK_EQUAL(out.low_sums[at], out.scales[at] * static_cast<float>(sum[0]));
            }
        }
    }
}

// Activations that overflowed, or nearly vanished, still give bytes, whatever these are worth.
TEST(quantising_survives_every_float) {
    const float inputs[] = {1e-38f, 1e-42f, 3e38f, HUGE_VALF, -HUGE_VALF, std::nanf("")};
    for (const Kernels* kernels : tested_kernels()) {
        for (float odd : inputs) {
            for (int count : {1, 5, 32}) {
                std::vector<float> row(32, odd < 1.0f && odd > 0.0f ? 0.0f : 1.0f);
                std::fill_n(row.begin(), count, odd);
                Activations out(1, 32);
                kernels->quantise(row.data(), 32, 0, 1, out.values.data(), out.scales.data(),
                                  out.totals.data(), out.sums.data(), out.low_sums.data());
                if (odd < 1.0f && odd > 0.0f) {
                    CHECK_CLOSE(out.number(0, 0), odd, 1e-35);
                    CHECK_CLOSE(out.sums[0], 0.0, 1e-35);
                }
            }
        }
    }
}

TEST(normalising_matches_float64) {
    Random random(6);
    for (const Kernels* kernels : tested_kernels()) {
        for (int count : {1, 3, 4, 8, 15, 16, 17, 100, 576}) {
            const size_t size = static_cast<size_t>(count);
            const std::vector<float> input = uniform(random, size);
            const std::vector<float> weight = uniform(random, size);
            std::vector<float> out(size + 1, guard);
            kernels->normalise(input.data(), weight.data(), 1e-5f, count, out.data());
            CHECK_EQUAL(out[size], guard);
            double squares = 0.0;
            for (float value : input) {
                squares += static_cast<double>(value) * static_cast<double>(value);
            }
            const double root = std::sqrt(squares / count + 1e-5);
            for (size_t i = 0; i < size; ++i) {
                CHECK_CLOSE(out[i], static_cast<double>(input[i]) / root *
                                        static_cast<double>(weight[i]), 1e-6);
            }
        }
    }
}

TEST(gates_match_float64) {
    std::vector<float> gates;
    for (int i = -1000; i <= 1000; ++i) {
        gates.push_back(static_cast<float>(i) / 10.0f);
    }
    for (const Kernels* kernels : tested_kernels()) {
        for (int count : {1, 3, 4, 7, 8, 15, 16, 17, 2001}) {
            const size_t size = static_cast<size_t>(count);
            const float* in = gates.data() + (gates.size() - size) / 2;
            const std::vector<float> up(size, 3.0f);
            std::vector<float> out(size + 1, guard);
            kernels->gate(in, up.data(), count, out.data());
            CHECK_EQUAL(out[size], guard);
            for (size_t i = 0; i < size; ++i) {
                const double x = static_cast<double>(in[i]);
                const double expected = 3.0 * x / (1.0 + std::exp(-x));
                CHECK_CLOSE(out[i], expected, 1e-6 * std::fabs(expected) + 1e-35);
                float alone;
                kernels->gate(in + i, up.data(), 1, &alone);
                CHECK_EQUAL(out[i], alone);
            }
        }
    }
}

TEST(every_word_is_read) {
    for (const Kernels* kernels : tested_kernels()) {
        std::vector<uint64_t> words(4096 / 8);
        std::iota(words.begin(), words.end(), uint64_t{1} << 40);
        const uint64_t all = std::accumulate(words.begin(), words.end(), uint64_t{0});
        const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
        for (const bool halves : {false, true}) {
            CHECK(kernels->read(bytes, 4096, halves) == all);
            CHECK(kernels->read(bytes, 0, halves) == 0);
        }
    }
}

TEST(the_largest_is_found_wherever_it_is) {
    for (const Kernels* kernels : tested_kernels()) {
        for (int count = 1; count <= 40; ++count) {
            for (int at = 0; at < count; ++at) {
                std::vector<float> values(static_cast<size_t>(count) + 1, -7.5f);
                values[static_cast<size_t>(at)] = -3.25f;
                values[static_cast<size_t>(count)] = 1.0f;  // not one of them
                CHECK(kernels->largest(values.data(), count) == -3.25f);
            }
        }
    }
}

TEST(exponentials_match_float64) {
    for (const Kernels* kernels : tested_kernels()) {
        for (int count : {1, 2, 5, 8, 15, 16, 17, 31, 32}) {
            for (float spread : {0.01f, 1.0f, 20.0f, 200.0f}) {
                std::vector<float> values;
                for (int i = 0; i < count; ++i) {
                    values.push_back(3.0f - spread * static_cast<float>(i) / 32.0f);
                }
                const std::vector<float> input = values;
                values.push_back(guard);
                const float sum = kernels->exponentials(values.data(), count, 3.0f);
                CHECK_EQUAL(values.back(), guard);
                double total = 0.0;
                for (size_t i = 0; i < input.size(); ++i) {
                    const double expected = std::exp(static_cast<double>(input[i] - 3.0f));
                    CHECK_CLOSE(values[i], expected, 3e-7 * expected + 1e-37);
                    total += expected;
                    float alone = input[i];
                    kernels->exponentials(&alone, 1, 3.0f);
                    CHECK_EQUAL(values[i], alone);
                }
                CHECK_CLOSE(sum, total, 1e-6 * total);
            }
        }
    }
}

namespace {

// A block's side with random numbers and scales in it.
std::vector<uint8_t> random_side(CacheType type, int width, Random& random) {
    std::vector<uint8_t> side(cache_side_bytes(type, width));
    for (uint8_t& byte : side) {
        byte = static_cast<uint8_t>(random());
    }
    if (type == CacheType::F32) {
        for (size_t at = 0; at < side.size(); at += 4) {
            const float number = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 1000.0f;
            std::memcpy(side.data() + at, &number, sizeof number);
        }
        return side;
    }
    const size_t halves = type == CacheType::F16 ? 0 : cache_number_bytes(type, width);
    for (size_t at = halves; at < side.size(); at += 2) {
        const uint16_t half = static_cast<uint16_t>((random() & 0x83ffu) | 14 << 10);
        std::memcpy(side.data() + at, &half, sizeof half);
    }
    return side;
}

// Queries for keys of a type.
std::vector<float> random_queries(CacheType type, size_t count, Random& random) {
    std::vector<float> queries = uniform(random, count);
    if (cache_scaled(type)) {
        std::transform(queries.begin(), queries.end(), queries.begin(), shortened);
    }
    return queries;
}

// Calls with every table, cache type, head width and number of rows.
template <typename Body>
void for_each_side(const Body& body) {
    for (const Kernels* kernels : tested_kernels()) {
        for (CacheType type : {CacheType::F32, CacheType::F16, CacheType::Q8, CacheType::Q4}) {
            for (int width : {16, 32, 48, 64, 80, 96, 128}) {
                if (type == CacheType::Q4 && width % 32 != 0) {
                    continue;
                }
                for (int rows : {1, 2, 3, 4, 5, 7, 8, 11, 16}) {
                    body(*kernels, type, width, rows);
                }
            }
        }
    }
}

}  // namespace

TEST(queries_meet_keys_as_in_float64) {
    Random random(7);
    for_each_side([&](const Kernels& kernels, CacheType type, int width, int rows) {
        const auto match = kernels.match_keys[static_cast<int>(type)];
        const std::vector<uint8_t> keys = random_side(type, width, random);
        const std::vector<float> queries = random_queries(type, static_cast<size_t>(rows * width), random);
        std::vector<float> out(static_cast<size_t>(rows * 32 + 1), guard);
        match(rows, width, queries.data(), keys.data(), out.data());
        CHECK_EQUAL(out.back(), guard);
        for (int row = 0; row < rows; ++row) {
            std::vector<float> alone(32);
            match(1, width, queries.data() + row * width, keys.data(), alone.data());
            for (int position = 0; position < 32; ++position) {
                double expected = 0.0;
                double magnitude = 0.0;
                for (int dim = 0; dim < width; ++dim) {
                    const double term =
                        static_cast<double>(queries[static_cast<size_t>(row * width + dim)]) *
                        reference::cached(type, keys.data(), width, true, dim, position);
                    expected += term;
                    magnitude += std::fabs(term);
                }
                const float got = out[static_cast<size_t>(row * 32 + position)];
                CHECK_CLOSE(got, expected, 1e-6 * magnitude);
                CHECK_EQUAL(got, alone[static_cast<size_t>(position)]);
            }
        }
    });
}

TEST(values_are_blended_as_in_float64) {
    Random random(8);
    for_each_side([&](const Kernels& kernels, CacheType type, int width, int rows) {
        const auto blend = kernels.blend_values[static_cast<int>(type)];
        const std::vector<uint8_t> values = random_side(type, width, random);
        const std::vector<float> weights = uniform(random, static_cast<size_t>(rows * 32));
        std::vector<float> before = uniform(random, static_cast<size_t>(rows * width + 1));
        before.back() = guard;
        for (int used : {1, 7, 32}) {
            std::vector<float> out = before;
            blend(rows, width, used, weights.data(), values.data(), out.data());
            CHECK_EQUAL(out.back(), guard);
            for (int row = 0; row < rows; ++row) {
                std::vector<float> alone(before.begin() + row * width,
                                         before.begin() + (row + 1) * width);
                blend(1, width, used, weights.data() + row * 32, values.data(), alone.data());
                for (int dim = 0; dim < width; ++dim) {
                    const size_t at = static_cast<size_t>(row * width + dim);
                    double expected = static_cast<double>(before[at]);
                    double magnitude = std::fabs(expected);
                    for (int position = 0; position < used; ++position) {
                        const double term =
                            static_cast<double>(weights[static_cast<size_t>(row * 32 + position)]) *
                            reference::cached(type, values.data(), width, false, dim, position);
                        expected += term;
                        magnitude += std::fabs(term);
                    }
                    // Weights have 16 digits where values are quants.
                    CHECK_CLOSE(out[at], expected, (cache_scaled(type) ? 1.6e-5 : 1e-6) * magnitude);
                    CHECK_EQUAL(out[at], alone[static_cast<size_t>(dim)]);
                }
            }
        }
    });
}

TEST(low_rank_products_are_added_as_in_float64) {
    Random random(12);
    for (const Kernels* kernels : tested_kernels()) {
        for (int rank : {1, 7, 16, 65}) {
            for (int count : {1, 2, 3, 4, 5, 8, 13, 128}) {
                const int stride = rank + 3;
                const std::vector<float> panel = uniform(random, static_cast<size_t>(rank * 16));
                const std::vector<float> factors =
                    uniform(random, static_cast<size_t>(count * stride));
                std::vector<float> before = uniform(random, static_cast<size_t>(count * 16 + 1));
                before.back() = guard;
                std::vector<float> out = before;
                kernels->add_low_rank(panel.data(), rank, factors.data(),
                                      static_cast<size_t>(stride), count, out.data());
                CHECK_EQUAL(out.back(), guard);
                for (int row = 0; row < count; ++row) {
                    std::vector<float> alone(before.begin() + row * 16,
                                             before.begin() + (row + 1) * 16);
                    kernels->add_low_rank(panel.data(), rank, factors.data() + row * stride,
                                          static_cast<size_t>(stride), 1, alone.data());
                    for (int column = 0; column < 16; ++column) {
                        const size_t at = static_cast<size_t>(row * 16 + column);
                        double expected = static_cast<double>(before[at]);
                        double magnitude = std::fabs(expected);
                        for (int i = 0; i < rank; ++i) {
                            const double term =
                                static_cast<double>(factors[static_cast<size_t>(row * stride + i)]) *
                                static_cast<double>(panel[static_cast<size_t>(i * 16 + column)]);
                            expected += term;
                            magnitude += std::fabs(term);
                        }
                        CHECK_CLOSE(out[at], expected, 2e-6 * magnitude);
                        CHECK_EQUAL(out[at], alone[static_cast<size_t>(column)]);
                    }
                }
            }
        }
    }
}

// A model gives the same logits, and so the same text, on every processor: each kernel of each table does to
// the bit what the portable one does.
namespace {

// Calls with every table but the portable one.
template <typename Body>
void for_each_other_table(const Body& body) {
    for (const Kernels* kernels : tested_kernels()) {
        if (kernels != &portable_kernels) {
            body(*kernels);
        }
    }
}

void check_bits(const std::vector<float>& one, const std::vector<float>& other) {
    CHECK_EQUAL(one.size(), other.size());
    CHECK_EQUAL(std::memcmp(one.data(), other.data(), one.size() * sizeof(float)), 0);
}

}  // namespace

TEST(products_agree_to_the_bit) {
    for_each_other_table([](const Kernels& kernels) {
        ThreadPool pool(1, "");
        for (int index = static_cast<int>(Type::Q4_0); index < type_count; ++index) {
            const Type type = reference::type_at(index);
            Random random(13);
            const int columns = reference::form_of(type).columns == 256 ? 1280 : 35 * 32;
            const std::vector<uint8_t> data = reference::random_weights(type, 16, columns, random);
            const Matrix matrix(type, 16, columns, data.data(), data.size(), pool, false);
            for (int log = 0; 1 << log <= kernels.tile; ++log) {
                const Activations activations = random_activations(1 << log, columns, random);
                std::vector<float> out(static_cast<size_t>(16 << log));
                std::vector<float> expected = out;
                kernels.multiply[index][log](matrix.panel(0), activations.tile(), out.data());
                for (int row = 0; row < activations.size; ++row) {
                    Activations one(1, columns);
                    one.take(0, activations, row);
                    portable_kernels.multiply[index][0](matrix.panel(0), one.tile(), expected.data() + 16 * row);
                }
                check_bits(out, expected);
            }
        }
    });
}

TEST(rows_as_stored_agree_to_the_bit) {
    for_each_other_table([](const Kernels& kernels) {
        Random random(14);
        for (Type type : {Type::F32, Type::F16, Type::BF16}) {
            for (int columns : {1, 15, 16, 33, 576}) {
                const int rows = 7;
                const int count = 5;
                const size_t stride = stored_row_bytes(type, columns);
                const std::vector<uint8_t> data = reference::random_weights(type, rows, columns, random);
                const std::vector<float> inputs = uniform(random, static_cast<size_t>(count * columns));
                std::vector<float> out(count * 16);
                std::vector<float> expected = out;
                const int index = static_cast<int>(type);
                kernels.multiply_rows[index](data.data(), stride, rows, columns, inputs.data(), count, out.data());
                portable_kernels.multiply_rows[index](data.data(), stride, rows, columns, inputs.data(), count,
                                                      expected.data());
                check_bits(out, expected);
            }
        }
    });
}

TEST(kernels_over_floats_agree_to_the_bit) {
    for_each_other_table([](const Kernels& kernels) {
        Random random(15);
        for (int count : {1, 7, 16, 31, 32, 100, 576, 3072}) {
            const size_t size = static_cast<size_t>(count);
            std::vector<float> one = uniform(random, size);
            const std::vector<float> other = uniform(random, size);
            std::vector<float> out(size);
            std::vector<float> expected(size);
            kernels.normalise(one.data(), other.data(), 1e-5f, count, out.data());
            portable_kernels.normalise(one.data(), other.data(), 1e-5f, count, expected.data());
            check_bits(out, expected);
            for (float spread : {1.0f, 30.0f, 100.0f}) {
                std::vector<float> gates = one;
                for (float& gate : gates) {
                    gate *= spread;
                }
                kernels.gate(gates.data(), other.data(), count, out.data());
                portable_kernels.gate(gates.data(), other.data(), count, expected.data());
                check_bits(out, expected);
                const float largest = kernels.largest(gates.data(), count);
                CHECK_EQUAL(largest, portable_kernels.largest(gates.data(), count));
                out = gates;
                expected = gates;
                CHECK_EQUAL(kernels.exponentials(out.data(), count, largest),
                            portable_kernels.exponentials(expected.data(), count, largest));
                check_bits(out, expected);
            }
        }
    });
}

TEST(quantising_agrees_to_the_bit) {
    for_each_other_table([](const Kernels& kernels) {
        Random random(16);
        const int columns = 1024;
        std::vector<float> input = uniform(random, columns);
        for (int i = 0; i < columns; i += 3) {
            input[static_cast<size_t>(i)] *= 1e-3f;
        }
        Activations out(1, columns);
        Activations expected(1, columns);
        kernels.quantise(input.data(), columns, 0, 1, out.values.data(), out.scales.data(), out.totals.data(),
                         out.sums.data(), out.low_sums.data());
        portable_kernels.quantise(input.data(), columns, 0, 1, expected.values.data(), expected.scales.data(),
                                  expected.totals.data(), expected.sums.data(), expected.low_sums.data());
        CHECK(out.values == expected.values);
        CHECK(out.totals == expected.totals);
        check_bits(out.scales, expected.scales);
        check_bits(out.sums, expected.sums);
        check_bits(out.low_sums, expected.low_sums);
        std::vector<uint16_t> halves(columns);
        std::vector<uint16_t> expected_halves(columns);
        kernels.half_from_float(input.data(), columns, halves.data());
        portable_kernels.half_from_float(input.data(), columns, expected_halves.data());
        CHECK(halves == expected_halves);
    });
}

TEST(products_with_the_cache_and_of_adapters_agree_to_the_bit) {
    Random random(17);
    for_each_side([&](const Kernels& kernels, CacheType type, int width, int rows) {
        const int index = static_cast<int>(type);
        const std::vector<uint8_t> side = random_side(type, width, random);
        const std::vector<float> queries = random_queries(type, static_cast<size_t>(rows * width), random);
        std::vector<float> scores(static_cast<size_t>(rows * 32));
        std::vector<float> expected_scores = scores;
        kernels.match_keys[index](rows, width, queries.data(), side.data(), scores.data());
        portable_kernels.match_keys[index](rows, width, queries.data(), side.data(), expected_scores.data());
        check_bits(scores, expected_scores);
        std::vector<float> sums = queries;
        std::vector<float> expected_sums = queries;
        kernels.blend_values[index](rows, width, 23, scores.data(), side.data(), sums.data());
        portable_kernels.blend_values[index](rows, width, 23, scores.data(), side.data(), expected_sums.data());
        check_bits(sums, expected_sums);
    });
    for_each_other_table([&](const Kernels& kernels) {
        const int rank = 13;
        const int count = 9;
        const std::vector<float> panel = uniform(random, rank * 16);
        const std::vector<float> factors = uniform(random, rank * count);
        std::vector<float> out = uniform(random, count * 16);
        std::vector<float> expected = out;
        kernels.add_low_rank(panel.data(), rank, factors.data(), rank, count, out.data());
        portable_kernels.add_low_rank(panel.data(), rank, factors.data(), rank, count, expected.data());
        check_bits(out, expected);
    });
}

// Products whose sum with a number ends midway between two floats, or beside it by less than a float64 keeps.
TEST(what_no_processor_fuses_is_rounded_once) {
    Random random(18);
    const auto check = [](float a, float b, float c) {
        const float exact = std::fma(a, b, c);
        CHECK_EQUAL(fused(a, b, c), exact);
    };
    for (int i = 0; i < 100000; ++i) {
        // 2^24 + 1, and less or more by a product of tiny numbers.
        const float tiny = uniform(random) * std::ldexp(1.0f, -static_cast<int>(random() % 60));
        check(tiny, uniform(random), uniform(random));
        check(1.0f + std::ldexp(1.0f, -12), 1.0f + std::ldexp(1.0f, -12), tiny);
        check(4097.0f, 4097.0f, tiny);
        check(4097.0f, -4097.0f, tiny);
    }
    for (float odd : {HUGE_VALF, -HUGE_VALF}) {
        check(odd, 1.0f, 1.0f);
        check(1.0f, 1.0f, odd);
    }
    CHECK(std::isnan(fused(std::nanf(""), 1.0f, 1.0f)));
    CHECK(std::isnan(fused(HUGE_VALF, 0.0f, 1.0f)));
}

// The whole way of a product: quantise, tiles, panels, threads.
TEST(threads_and_batches_change_nothing) {
    Random random(9);
    const int rows = 53;
    const int count = 149;  // a largest tile, and smaller ones
    for (const Kernels* kernels : available_kernels()) {
        for (int index = 0; index < type_count; ++index) {
            const Type type = reference::type_at(index);
            const int columns = 256;
            const std::vector<uint8_t> data = reference::random_weights(type, rows, columns, random);
            const std::vector<float> x = uniform(random, static_cast<size_t>(count * columns));
            std::vector<float> first;
            for (int threads : {1, 3}) {
                ThreadPool pool(threads, kernels->name);
                const Matrix matrix(type, rows, columns, data.data(), data.size(), pool, false);
                std::vector<float> at_once(static_cast<size_t>(count * rows));
                std::vector<float> one_by_one = at_once;
                multiply(pool, matrix, x.data(), count, at_once.data());
                for (int i = 0; i < count; ++i) {
                    multiply(pool, matrix, x.data() + i * columns, 1,
                             one_by_one.data() + i * rows);
                }
                CHECK(at_once == one_by_one);
                CHECK(first.empty() || first == at_once);
                first = at_once;
            }
        }
    }
}

TEST(tiles_cover_the_rows_once) {
    for (int largest : {1, 4, 16, 128}) {
        for (int count = 0; count < 600; ++count) {
            int next = 0;
            for (const RowTile& tile : tile_rows(0, count, largest)) {
                CHECK_EQUAL(tile.first, next);
                CHECK(tile.size <= largest && (tile.size & (tile.size - 1)) == 0);
                next += tile.size;
            }
            CHECK_EQUAL(next, count);
        }
    }
}

int main() { return run_tests(); }
