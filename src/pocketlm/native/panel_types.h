// The types that files store as panels: from rows as writers make them to panels.
#pragma once

#include <cstdint>

#include "layout.h"
#include "pool.h"

namespace pocketlm {

// Interleave `rows` of P3 to P6 (unpack.h), `bytes` in all, to `out`, panel_bytes for each 16 rows; those
// that are missing in the last mean 0. Throws std::invalid_argument for another type, columns that are not
// whole groups, or other bytes.
void interleave(ThreadPool& pool, Type type, const uint8_t* data, size_t bytes, int rows, int columns,
                uint8_t* out);

}  // namespace pocketlm
