#include "panel_types.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "matrix.h"
#include "panel.h"
#include "unpack.h"

namespace pocketlm {
namespace {

template <Type type>
void interleave_panel(const uint8_t* data, size_t row_bytes, int rows, int columns, uint8_t* out) {
    constexpr Layout layout = layout_of(type);
    std::fill_n(out, panel_bytes(type, columns), uint8_t{0});
    for (int row = 0; row < rows; ++row) {
        const uint8_t* block = data + static_cast<size_t>(row) * row_bytes;
        write_u16(out + 2 * row, read_u16(block));
        write_u16(out + 32 + 2 * row, read_u16(block + 2));
        block += row_steps_head;
        uint32_t codes = 0;
        for (int index = 0; index < columns / group_columns; ++index, block += Block<type>::bytes) {
            Group group;
            Block<type>::unpack(block, &group, nullptr);
            store_quants<layout.bits>(group.words, row, out + group_at(layout, index));
            codes = index % super_groups == 0 ? 0 : codes;
            codes |= static_cast<uint32_t>(group.scale) << (4 * (index % super_groups));
            write_u32(out + super_at(layout, index) + 4 * row, codes);
        }
    }
}

struct Rows {
    int block_bytes;
    void (*interleave)(const uint8_t* data, size_t row_bytes, int rows, int columns, uint8_t* out);
};

template <Type type>
constexpr Rows rows_of() {
    return {Block<type>::bytes, interleave_panel<type>};
}

Rows rows_of(Type type) {
    switch (type) {
        case Type::P3: return rows_of<Type::P3>();
        case Type::P4: return rows_of<Type::P4>();
        case Type::P5: return rows_of<Type::P5>();
        case Type::P6: return rows_of<Type::P6>();
        default: throw std::invalid_argument(std::string(name_of(type)) + " is not stored as panels");
    }
}

}  // namespace

void interleave(ThreadPool& pool, Type type, const uint8_t* data, size_t bytes, int rows, int columns,
                uint8_t* out) {
    const Rows form = rows_of(type);
    const size_t stride = panel_bytes(type, columns);
    const size_t row_bytes = row_steps_head + static_cast<size_t>(columns / group_columns) *
                                                  static_cast<size_t>(form.block_bytes);
    if (rows <= 0 || bytes / row_bytes != static_cast<size_t>(rows) || bytes % row_bytes != 0) {
        throw std::invalid_argument(std::to_string(rows) + " x " + std::to_string(columns) + " in " +
                                    name_of(type) + " are not " + std::to_string(bytes) + " bytes");
    }
    Phase phase((rows - 1) / panel_rows + 1, 1);
    pool.run([&](int) {
        run_phase(phase, [&](int panel, int) {
            const size_t first = static_cast<size_t>(panel) * panel_rows;
            form.interleave(data + first * row_bytes, row_bytes,
                 std::min(panel_rows, rows - static_cast<int>(first)), columns,
                 out + static_cast<size_t>(panel) * stride);
        });
    });
}

}  // namespace pocketlm
