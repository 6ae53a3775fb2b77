#include "adapter.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace pocketlm {
namespace {

// More than any model has, or any adapter is worth.
constexpr int most_operations = 1 << 16;
constexpr int most_rank = 1 << 16;
constexpr int most_rows = 1 << 24;

void require(bool holds, const char* what) {
    if (!holds) {
        throw std::invalid_argument(what);
    }
}

}  // namespace

Adapter::Up::Up(int first_number, int row_count, int rank_count, const float* numbers)
    : first(first_number), rows(row_count), rank(rank_count) {
    require(rank > 0 && rank <= most_rank && rows > 0 && rows <= most_rows,
            "a projection up has no rows or columns, or too many");
    const size_t columns = static_cast<size_t>(rank);
    const size_t panel_count = (static_cast<size_t>(rows) + panel_rows - 1) / panel_rows;
    panels.resize(panel_count * columns * panel_rows);
    for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
        float* const to = panels.data() + row / panel_rows * columns * panel_rows + row % panel_rows;
        for (size_t i = 0; i < columns; ++i) {
            to[i * panel_rows] = numbers[row * columns + i];
        }
    }
}

Adapter::Adapter(std::vector<Part> parts) : parts_(std::move(parts)) {
    for (const Part& part : parts_) {
        require(part.operation >= 0 && part.operation < most_operations, "no such operation");
        require(part.down != nullptr && !in_panels(part.down->type()),
                "a projection down must be a matrix of floats");
        require(part.down->rows() <= most_rank, "a projection down has too many rows");
        for (const Up& up : part.ups) {
            require(up.first >= 0 && up.first <= part.down->rows() - up.rank,
                    "a projection up needs numbers that do not come down");
            bytes_ += up.panels.size() * sizeof(float);
        }
        const size_t place = static_cast<size_t>(part.operation);
        places_.resize(std::max(places_.size(), place + 1));
        require(places_[place] == nullptr, "an operation has two parts");
        places_[place] = &part;
        widest_ = std::max(widest_, part.down->rows());
        bytes_ += part.down->bytes();
    }
}

}  // namespace pocketlm
