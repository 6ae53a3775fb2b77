// A low-rank adapter (LoRA, arXiv 2106.09685): what it adds to the projections of a program. For a row x
// of a projection's input, a weight W gives W x + up (down x).
//
// It knows operations by their place in a program, and weights by their place in an operation. It is
// never changed, so that steps may use it while others are made.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "matrix.h"

namespace pocketlm {

class Adapter {
  public:
    // The projection up to one weight's rows, from `rank` of the numbers that came down, the first of
    // which is number `first`. With rank 0 nothing is added.
    struct Up {
        Up() = default;
        // Of numbers[rows][rank].
        Up(int first_number, int row_count, int rank_count, const float* numbers);

        // [rank][16]; rows that a last panel lacks are zero.
        const float* panel(int index) const {
            return panels.data() + static_cast<size_t>(index) * static_cast<size_t>(rank * panel_rows);
        }

        int first = 0;
        int rows = 0;
        int rank = 0;
        std::vector<float> panels;
    };

    // What is added to one operation: `down` has a row for each number that all of `ups`, one a weight,
    // have need of.
    struct Part {
        int operation;
        std::shared_ptr<const Matrix> down;
        std::vector<Up> ups;
    };

    // Throws std::invalid_argument for parts that contradict themselves or each other.
    explicit Adapter(std::vector<Part> parts);
    Adapter(const Adapter&) = delete;
    Adapter& operator=(const Adapter&) = delete;

    const std::vector<Part>& parts() const { return parts_; }

    // What is added to an operation, or null.
    const Part* part(size_t operation) const {
        return operation < places_.size() ? places_[operation] : nullptr;
    }

    // The most numbers that come down in one operation.
    int widest() const { return widest_; }
    size_t bytes() const { return bytes_; }

  private:
    std::vector<Part> parts_;
    std::vector<const Part*> places_;  // of each operation
    int widest_ = 0;
    size_t bytes_ = 0;
};

}  // namespace pocketlm
