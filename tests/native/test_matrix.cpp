// Prepared matrices against each number as its file type defines it, and what must be refused.
#include "matrix.h"

#include <limits>

#include "check.h"
#include "reference.h"

using namespace pocketlm;
using reference::Random;

namespace {

constexpr int rows = 37;  // two panels and a ragged one

// More than one block; of panels, not whole eights of groups.
int columns_of(Type type) {
    return reference::is_float(type) ? 45 : reference::form_of(type).columns == 32 ? 288 : 512;
}

// Where a row's largest magnitude bounds the rounding of scale * quant + minimum.
void check_row(const Matrix& matrix, const std::vector<uint8_t>& data, int row) {
    const int columns = matrix.columns();
    const auto expected = [&](int column) {
        return reference::number(matrix.type(), data.data(), columns, row, column);
    };
    std::vector<float> got(static_cast<size_t>(columns));
    matrix.row(row, got.data());
    double largest = 0.0;
    for (int column = 0; column < columns; ++column) {
        largest = std::max(largest, std::fabs(expected(column)));
    }
    for (int column = 0; column < columns; ++column) {
        CHECK_CLOSE(got[static_cast<size_t>(column)], expected(column), 1e-6 * largest);
    }
}

}  // namespace

TEST(rows_mean_what_the_types_say) {
    Random random(1);
    for (int threads : {1, 3}) {
        ThreadPool pool(threads, "");
        for (int index = 0; index < type_count; ++index) {
            const Type type = reference::type_at(index);
            const int columns = columns_of(type);
            const std::vector<uint8_t> data = reference::random_weights(type, rows, columns, random);
            const Matrix matrix(type, rows, columns, data.data(), data.size(), pool, false);
            CHECK_EQUAL(matrix.panels(), 3);
            CHECK_EQUAL(matrix.rows_in(0), 16);
            CHECK_EQUAL(matrix.rows_in(2), 5);
            CHECK_EQUAL(matrix.is_mapped(),
                        reference::is_float(type) || reference::form_of(type).panels);
            CHECK_EQUAL(matrix.data() == data.data(), matrix.is_mapped());
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
        const std::vector<uint8_t> data = reference::random_weights(type, rows, columns, random);
        const auto refuse = [&](size_t at, std::initializer_list<int> bytes) {
            std::vector<uint8_t> broken = data;
            for (int byte : bytes) {
                broken[at++] = static_cast<uint8_t>(byte);
            }
            CHECK_REFUSED(Matrix(type, rows, columns, broken.data(), broken.size(), pool, false));
        };
        if (type == Type::F32) {
            refuse(data.size() - 4, {0, 0, 0x80, 0x7f});
        } else if (type == Type::BF16) {
            refuse(data.size() - 2, {0x80, 0x7f});
        } else if (type == Type::F16) {
            refuse(data.size() - 2, {0, 0x7c});
        } else {
            // Of panels, also what belongs to no row.
            const std::vector<size_t> halves = reference::halves_of(type, rows, columns);
            for (size_t i = 0; i < halves.size(); i += 1 + random() % 31) {
                refuse(halves[i], {0, random() % 2 == 0 ? 0x7c : 0xfc});
            }
            refuse(halves.back(), {1, 0x7f});
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
    for (int index = 0; index < type_count; ++index) {
        const Type type = reference::type_at(index);
        CHECK(type_named(name_of(type)) == type);
        const int columns = columns_of(type);
        Random random(4);
        const std::vector<uint8_t> whole = reference::random_weights(type, 17, columns, random);
        Matrix(type, 17, columns, whole.data(), whole.size(), pool, false);
        const size_t row = reference::stored_bytes(type, 1, columns);
        for (size_t wrong : {whole.size() - row, whole.size() - 1, whole.size() + 1, size_t{0}}) {
            CHECK_REFUSED(Matrix(type, 17, columns, whole.data(), wrong, pool, false));
        }
        if (!reference::is_float(type)) {
            CHECK_REFUSED(Matrix(type, 17, columns - 16, whole.data(), whole.size(), pool, false));
        }
        if (reference::form_of(type).panels) {
            CHECK_REFUSED(stored_row_bytes(type, columns));
        }
    }
    CHECK_REFUSED(type_named("IQ2_XS"));
    CHECK_REFUSED(type_named("p4"));
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
            const int block = reference::form_of(type).columns;
            const int row_count = 1 + static_cast<int>(random() % 20);
            const int columns = block * (1 + static_cast<int>(random() % 10));
            std::vector<uint8_t> data = reference::random_bytes(
                reference::stored_bytes(type, row_count, columns), random);
            // 32 numbers are seldom all finite.
            for (size_t at = 0; reference::form_of(type).panels && at < data.size();
                 at += reference::stride_of(type, columns)) {
                for (size_t i = 1; i < 64; i += 2) {
                    data[at + i] = static_cast<uint8_t>(data[at + i] & (random() % 300 == 0 ? 0xff : 0xfb));
                }
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
