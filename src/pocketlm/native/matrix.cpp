#include "matrix.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>

#include "panel.h"
#include "unpack.h"

namespace pocketlm {
namespace {

constexpr const char* names[type_count] = {"F32",  "F16",  "BF16", "Q4_0", "Q4_1", "Q5_0",
                                           "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "Q3_K",
                                           "IQ4_NL", "IQ4_XS", "P3", "P4", "P5", "P6"};

constexpr bool finite_f16(uint16_t half) { return (half & 0x7c00u) != 0x7c00u; }

size_t groups_of(int columns) { return static_cast<size_t>(columns / group_columns); }

size_t supers_of(int columns) {
    return (groups_of(columns) + super_groups - 1) / super_groups;
}

// Returns whether the scales are finite.
template <Scales kind>
bool store_scales(const Group& group, int row, uint8_t* out) {
    if constexpr (kind == Scales::half || kind == Scales::half_minimum) {
        write_u16(out + 2 * row, group.scale);
        if constexpr (kind == Scales::half_minimum) {
            write_u16(out + 32 + 2 * row, group.minimum);
            return finite_f16(group.scale) && finite_f16(group.minimum);
        }
        return finite_f16(group.scale);
    }
    out[row] = static_cast<uint8_t>(group.scale);
    if constexpr (kind != Scales::super_signed) {
        out[panel_rows + row] = static_cast<uint8_t>(group.minimum);
    }
    return true;
}

// Unpack `rows` <= 16 rows into one panel; missing rows are zero. Returns whether all is finite.
template <Type type>
bool prepare_panel(const uint8_t* data, size_t row_bytes, int rows, int columns, uint8_t* out) {
    using Format = Block<type>;
    constexpr Layout layout = layout_of(type);
    constexpr int block_groups = Format::columns / group_columns;
    if (rows < panel_rows) {
        std::memset(out, 0, panel_bytes(type, columns));
    }
    bool finite = true;
    for (int block = 0; block < columns / Format::columns; ++block) {
        for (int row = 0; row < rows; ++row) {
            Group groups[block_groups];
            Super super{};
            Format::unpack(data + static_cast<size_t>(row) * row_bytes +
                               static_cast<size_t>(block) * Format::bytes,
                           groups, &super);
            for (int i = 0; i < block_groups; ++i) {
                uint8_t* const at = out + group_at(layout, block * block_groups + i);
                store_quants<layout.bits>(groups[i].words, row, at);
                finite &= store_scales<layout.scales>(groups[i], row, at + quant_bytes(layout));
            }
            if constexpr (super_bytes(layout) > 0) {
                uint8_t* at = out + super_at(layout, block * block_groups);
                write_u16(at + 2 * row, super.scale);
                finite &= finite_f16(super.scale);
                if constexpr (super_bytes(layout) > 32) {
                    write_u16(at + 32 + 2 * row, super.minimum);
                    finite &= finite_f16(super.minimum);
                }
            }
        }
    }
    return finite;
}

using PreparePanel = bool (*)(const uint8_t*, size_t, int, int, uint8_t*);

// How a file stores a type: blocks of a row, with what makes panels of them; or panels (no columns).
struct Format {
    int block_columns;
    int block_bytes;
    PreparePanel prepare;
};

constexpr Format panels_stored = {0, 0, nullptr};

template <Type type>
constexpr Format format_of() {
    return {Block<type>::columns, Block<type>::bytes, prepare_panel<type>};
}

constexpr Format formats[type_count] = {
    {1, 4, nullptr},
    {1, 2, nullptr},
    {1, 2, nullptr},
    format_of<Type::Q4_0>(),
    format_of<Type::Q4_1>(),
    format_of<Type::Q5_0>(),
    format_of<Type::Q5_1>(),
    format_of<Type::Q8_0>(),
    format_of<Type::Q4_K>(),
    format_of<Type::Q5_K>(),
    format_of<Type::Q6_K>(),
    format_of<Type::Q3_K>(),
    format_of<Type::IQ4_NL>(),
    format_of<Type::IQ4_XS>(),
    panels_stored,
    panels_stored,
    panels_stored,
    panels_stored,
};

const Format& format(Type type) { return formats[static_cast<int>(type)]; }

// Whether all floats are finite: none has an exponent of ones.
bool floats_finite(Type type, const uint8_t* data, size_t bytes) {
    uint32_t bad = 0;
    if (type == Type::F32) {
        for (size_t i = 0; i + 4 <= bytes; i += 4) {
            bad |= static_cast<uint32_t>((read_u32(data + i) & 0x7f800000u) == 0x7f800000u);
        }
    } else {
        const uint32_t exponent = type == Type::F16 ? 0x7c00u : 0x7f80u;
        for (size_t i = 0; i + 2 <= bytes; i += 2) {
            bad |= static_cast<uint32_t>((read_u16(data + i) & exponent) == exponent);
        }
    }
    return bad == 0;
}

// Whether the 32 float16 numbers of a stored panel's head are finite.
bool head_finite(const uint8_t* head) {
    bool finite = true;
    for (int i = 0; i < 2 * panel_rows; ++i) {
        finite &= finite_f16(half_at(head, i));
    }
    return finite;
}

}  // namespace

Type type_named(const std::string& name) {
    for (int i = 0; i < type_count; ++i) {
        if (name == names[i]) {
            return static_cast<Type>(i);
        }
    }
    throw std::invalid_argument("no kernels for the type " + name);
}

const char* name_of(Type type) { return names[static_cast<int>(type)]; }

size_t stored_row_bytes(Type type, int columns) {
    const Format& form = format(type);
    if (form.block_columns == 0 || columns <= 0 || columns % form.block_columns != 0) {
        throw std::invalid_argument(std::to_string(columns) + " columns are not whole blocks of " +
                                    std::to_string(form.block_columns) + " (" + name_of(type) + ")");
    }
    return static_cast<size_t>(columns / form.block_columns) * static_cast<size_t>(form.block_bytes);
}

size_t panel_bytes(Type type, int columns) {
    if (columns <= 0 || columns % group_columns != 0) {
        throw std::invalid_argument(std::to_string(columns) + " columns are not whole groups of " +
                                    std::to_string(group_columns) + " (" + name_of(type) + ")");
    }
    const Layout layout = layout_of(type);
    const size_t bytes = head_bytes(layout) + groups_of(columns) * group_bytes(layout) +
                         supers_of(columns) * super_bytes(layout);
    return (bytes + 63) / 64 * 64;
}

Matrix::Matrix(Type type, int rows, int columns, const uint8_t* data, size_t bytes,
               ThreadPool& pool, bool release)
    : type_(type), rows_(rows), columns_(columns) {
    // Within these limits no product below overflows.
    if (rows <= 0 || rows > (1 << 24) || columns > (1 << 24)) {
        throw std::invalid_argument("a matrix of " + std::to_string(rows) + " x " +
                                    std::to_string(columns) + " is out of range");
    }
    stride_ = in_panels(type) ? panel_bytes(type, columns) : stored_row_bytes(type, columns);
    const size_t expected = is_stored_as_panels(type)
                                ? stride_ * static_cast<size_t>(panels())
                                : stored_row_bytes(type, columns) * static_cast<size_t>(rows);
    if (bytes != expected) {
        throw std::invalid_argument("a " + std::string(name_of(type)) + " matrix of " +
                                    std::to_string(rows) + " x " + std::to_string(columns) +
                                    " has " + std::to_string(expected) + " bytes, not " +
                                    std::to_string(bytes));
    }
    if (is_mapped()) {
        stored_ = data;
        bytes_ = bytes;
    } else {
        prepared_ = share_memory(stride_ * static_cast<size_t>(panels()));
        bytes_ = prepared_.size();
    }
    if (is_stored_as_panels(type)) {
        for (int panel = 0; panel < panels(); ++panel) {
            if (!head_finite(data + static_cast<size_t>(panel) * stride_)) {
                throw std::invalid_argument("holds numbers that are not finite");
            }
        }
    } else {
        read_rows(pool, data, release);
    }
}

void Matrix::read_rows(ThreadPool& pool, const uint8_t* data, bool release) {
    const size_t row_bytes = stored_row_bytes(type_, columns_);
    // A few hundred KiB at a time: even work for the threads, and few calls to let go of pages.
    const size_t per_panel = row_bytes * panel_rows;
    const int step = static_cast<int>(std::max<size_t>(1, (size_t{512} << 10) / per_panel));
    std::atomic<bool> finite{true};
    Phase phase(panels(), step);
    pool.run([&](int) {
        run_phase(phase, [&](int first, int last) {
            const int end = std::min(last * panel_rows, rows_);
            const uint8_t* begin = data + static_cast<size_t>(first * panel_rows) * row_bytes;
            const size_t size = static_cast<size_t>(end - first * panel_rows) * row_bytes;
            bool good = true;
            if (in_panels(type_)) {
                for (int panel = first; panel < last; ++panel) {
                    good &= format(type_).prepare(
                        data + static_cast<size_t>(panel * panel_rows) * row_bytes, row_bytes,
                        rows_in(panel), columns_,
                        prepared_.data() + static_cast<size_t>(panel) * stride_);
                }
            } else {
                good = floats_finite(type_, begin, size);
            }
            if (release) {
                release_pages(begin, size);
            }
            if (!good) {
                finite = false;
            }
        });
    });
    if (!finite) {
        throw std::invalid_argument("holds numbers that are not finite");
    }
}

Panel Matrix::panel(int index) const {
    return {data() + static_cast<size_t>(index) * stride_, columns_ / group_columns};
}

const uint8_t* Matrix::stored_rows(int panel) const {
    return stored_ + static_cast<size_t>(panel) * panel_rows * stride_;
}

void Matrix::row(int index, float* out) const {
    if (!in_panels(type_)) {
        const uint8_t* at = stored_ + static_cast<size_t>(index) * stride_;
        for (int column = 0; column < columns_; ++column) {
            out[column] = type_ == Type::F32   ? float_from_bits(read_u32(at + 4 * column))
                          : type_ == Type::F16 ? float_from_f16(read_u16(at + 2 * column))
                                               : float_from_bf16(read_u16(at + 2 * column));
        }
        return;
    }
    const Layout layout = layout_of(type_);
    const Panel from = panel(index / panel_rows);
    const int row = index % panel_rows;
    for (int group = 0; group < from.groups; ++group) {
        const uint8_t* quants = from.data + group_at(layout, group);
        for (int half = 0; half < 2; ++half) {
            const Affine affine = affine_at(layout, from, group, row, half);
            for (int column = 16 * half; column < 16 * half + 16; ++column) {
                const int number = number_at(layout, quants, row, column);
                out[group * group_columns + column] =
                    affine.scale * static_cast<float>(number) + affine.minimum;
            }
        }
    }
}

}  // namespace pocketlm
