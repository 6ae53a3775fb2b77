// A weight matrix in the form that kernels read: the file's mapping for 16- and 32-bit floats and for types
// that are stored as panels, panels of 16 interleaved rows (layout.h) in memory for other quantised types.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "layout.h"
#include "memory.h"
#include "pool.h"

namespace pocketlm {

// The type of that GGUF name ("Q4_0"). Throws std::invalid_argument.
Type type_named(const std::string& name);
const char* name_of(Type type);

// Bytes that a row of `columns` takes in a file, of a type that is stored row by row. Throws
// std::invalid_argument when they do not divide.
size_t stored_row_bytes(Type type, int columns);

// Bytes of a panel of `columns` columns, of a type that is in panels.
size_t panel_bytes(Type type, int columns);

class Matrix {
  public:
    // Prepares `rows` x `columns` weights stored in `data`. With `release`, data is a file mapping whose
    // pages are let go as they are read, unless kernels read them. Throws std::invalid_argument for a
    // size that does not fit or numbers that are not finite, std::bad_alloc.
    Matrix(Type type, int rows, int columns, const uint8_t* data, size_t bytes, ThreadPool& pool,
           bool release);

    Type type() const { return type_; }
    int rows() const { return rows_; }
    int columns() const { return columns_; }
    int panels() const { return (rows_ + panel_rows - 1) / panel_rows; }
    // Rows of a panel: 16, or fewer in the last.
    int rows_in(int panel) const {
        const int left = rows_ - panel * panel_rows;
        return left < panel_rows ? left : panel_rows;
    }
    size_t bytes() const { return bytes_; }
    // All of the form that kernels read.
    const uint8_t* data() const { return is_mapped() ? stored_ : prepared_.data(); }
    // Whether that is the data it was made of.
    bool is_mapped() const { return !in_panels(type_) || is_stored_as_panels(type_); }

    // Types in panels only.
    Panel panel(int index) const;

    // Floats only: the first row of a panel, and the bytes from row to row.
    const uint8_t* stored_rows(int panel) const;
    size_t stride() const { return stride_; }

    // Dequantise one row to out[columns].
    void row(int index, float* out) const;

  private:
    void read_rows(ThreadPool& pool, const uint8_t* data, bool release);

    Type type_;
    int rows_;
    int columns_;
    size_t bytes_;
    size_t stride_;  // bytes from row to row of floats, otherwise from panel to panel
    const uint8_t* stored_ = nullptr;
    Part prepared_;
};

}  // namespace pocketlm
