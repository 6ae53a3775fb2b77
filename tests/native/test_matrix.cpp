// Prepared matrices against each number as its file type defines it, and what must be refused.
#include "matrix.h"

#include <limits>

#include "check.h"
#include "reference.h"

using namespace pocketlm;
using reference::Random;

namespace {

constexpr int rows = 37;  // two panels and a ragged one

int columns_of(Type type) { return reference::block_columns(type) == 1 ? 45 : 512; }

// Where a row's sum of magnitudes bounds the rounding of scale * quant + minimum.
void check_row(const Matrix& matrix, const std::vector<uint8_t>& data, int row) {
    const int columns = matrix.columns();
    const uint8_t* stored =
        data.data() + static_cast<size_t>(row) * stored_row_bytes(matrix.type(), columns);
    std::vector<float> got(static_cast<size_t>(columns));
    matrix.row(row, got.data());
    double largest = 0.0;
    for (int column = 0; column < columns; ++column) {
        largest = std::max(largest, std::fabs(reference::number(matrix.type(), stored, column)));
    }
    for (int column = 0; column < columns; ++column) {
        CHECK_CLOSE(got[static_cast<size_t>(column)],
                    reference::number(matrix.type(), stored, column), 1e-6 * largest);
    }
}

}  // namespace

TEST(rows_mean_what_the_file_types_say) {
    Random random(1);
    for (int threads : {1, 3}) {
        ThreadPool pool(threads, "");
        for (int type = 0; type < type_count; ++type) {
            const int columns = columns_of(reference::type_at(type));
            const std::vector<uint8_t> data =
                reference::random_rows(reference::type_at(type), rows, columns, random);
            const Matrix matrix(reference::type_at(type), rows, columns, data.data(), data.size(),
                                pool, false);
            CHECK_EQUAL(matrix.panels(), 3);
            CHECK_EQUAL(matrix.rows_in(0), 16);
            CHECK_EQUAL(matrix.rows_in(2), 5);
            for (int row = 0; row < rows; ++row) {
                check_row(matrix, data, row);
            }
        }
    }
}

TEST(what_is_not_finite_is_refused) {
    Random random(2);
    ThreadPool pool(2, "");
    for (int index = 0; index < type_count; ++index) {
        const Type type = reference::type_at(index);
        const int columns = columns_of(type);
        const std::vector<uint8_t> data = reference::random_rows(type, rows, columns, random);
        const reference::Halves halves = reference::halves_of(type);
        for (int half : {halves.first, halves.second}) {
            if (half < 0) {
                continue;
            }
            std::vector<uint8_t> broken = data;
            // The last block of the last row: infinity, whichever type its numbers are.
            const size_t block = stored_row_bytes(type, reference::block_columns(type));
            const size_t at = data.size() - block + static_cast<size_t>(half);
            const bool wide = type == Type::F32 || type == Type::BF16;
            broken[at + (type == Type::F32 ? 2 : 0)] = wide ? 0x80 : 0;
            broken[at + (type == Type::F32 ? 3 : 1)] = wide ? 0x7f : 0x7c;
            CHECK_REFUSED(
                Matrix(type, rows, columns, broken.data(), broken.size(), pool, false));
        }
    }
}

TEST(sizes_that_do_not_fit_are_refused) {
    ThreadPool pool(1, "");
    const std::vector<uint8_t> data(18 * 16);
    const auto make = [&](int row_count, int columns, size_t bytes) {
        Matrix(Type::Q4_0, row_count, columns, data.data(), bytes, pool, false);
    };
    make(16, 32, 288);
    CHECK_REFUSED(make(16, 32, 287));
    CHECK_REFUSED(make(16, 32, 289));
    CHECK_REFUSED(make(16, 33, 288));
    CHECK_REFUSED(make(0, 32, 0));
    CHECK_REFUSED(make(-1, 32, 288));
    CHECK_REFUSED(make(16, 0, 0));
    CHECK_REFUSED(make(16, -32, 288));
    CHECK_REFUSED(make(std::numeric_limits<int>::max(), 32, 288));
    CHECK_REFUSED(make(1, std::numeric_limits<int>::max() - 31, 288));
    CHECK_REFUSED(type_named("IQ4_XS"));
    CHECK_REFUSED(type_named(""));
}

// Any bytes either are refused or are numbers: none of them may make the runtime misbehave.
TEST(random_bytes_do_no_harm) {
    Random random(3);
    ThreadPool pool(2, "");
    int accepted = 0;
    for (int round = 0; round < 40; ++round) {
        for (int index = 0; index < type_count; ++index) {
            const Type type = reference::type_at(index);
            const int block = reference::block_columns(type);
            const int row_count = 1 + static_cast<int>(random() % 20);
            const int columns = block * (1 + static_cast<int>(random() % 3));
            std::vector<uint8_t> data(static_cast<size_t>(row_count) *
                                      stored_row_bytes(type, columns));
            for (uint8_t& byte : data) {
                byte = static_cast<uint8_t>(random());
            }
            try {
                const Matrix matrix(type, row_count, columns, data.data(), data.size(), pool, false);
                for (int row = 0; row < row_count; ++row) {
                    check_row(matrix, data, row);
                }
                ++accepted;
            } catch (const std::invalid_argument&) {
            }
        }
    }
    CHECK(accepted > 20);
}

int main() { return run_tests(); }
