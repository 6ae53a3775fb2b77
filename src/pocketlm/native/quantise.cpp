#include "quantise.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <new>
#include <stdexcept>
#include <vector>

#include "unpack.h"
#include "write_steps.h"

namespace pocketlm {
namespace {

bool copy_floats(const float* row, const float*, int64_t columns, uint8_t* out) {
    std::memcpy(out, row, static_cast<size_t>(columns) * sizeof(float));
    return finite(row, columns);
}

bool round_to_f16(const float* row, const float*, int64_t columns, uint8_t* out) {
    bool fits = true;
    for (int64_t i = 0; i < columns; ++i) {
        const uint16_t half = f16_from_float(row[i]);
        fits &= (half & 0x7c00u) != 0x7c00u;
        put_u16(out + 2 * i, half);
    }
    return fits;
}

bool round_to_bf16(const float* row, const float*, int64_t columns, uint8_t* out) {
    bool fits = true;
    for (int64_t i = 0; i < columns; ++i) {
        const uint32_t bits = bits_from_float(row[i]);
        const uint16_t half =
            static_cast<uint16_t>((static_cast<uint64_t>(bits) + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
        fits &= (bits & 0x7f800000u) != 0x7f800000u && (half & 0x7f80u) != 0x7f80u;
        put_u16(out + 2 * i, half);
    }
    return fits;
}

void read_f32(const uint8_t* row, int64_t columns, float* out) {
    std::memcpy(out, row, static_cast<size_t>(columns) * sizeof(float));
}

void read_f16(const uint8_t* row, int64_t columns, float* out) {
    for (int64_t i = 0; i < columns; ++i) {
        out[i] = float_from_f16(read_u16(row + 2 * i));
    }
}

void read_bf16(const uint8_t* row, int64_t columns, float* out) {
    for (int64_t i = 0; i < columns; ++i) {
        out[i] = float_from_bf16(read_u16(row + 2 * i));
    }
}

// A group of 32 columns, one scale for each half.
void read_group(const uint32_t words[8], Layout layout, const float scales[2], float minimum,
                float* out) {
    for (int i = 0; i < 32; ++i) {
        const uint32_t byte = words[i / 4] >> (8 * (i % 4)) & 0xffu;
        const int quant = layout.bits == 8 ? static_cast<int8_t>(byte) : static_cast<int>(byte);
        const int number = layout.codebook == Codebook::none
                               ? quant
                               : codebook_numbers[static_cast<int>(layout.codebook)][quant];
        const float level = static_cast<float>(number) - layout.zero;
        out[i] = scales[i / 16] * level + minimum;
    }
}

template <Type type>
void read_blocks(const uint8_t* row, int64_t columns, float* out) {
    using Format = Block<type>;
    constexpr Layout layout = layout_of(type);
    constexpr int groups_in = Format::columns / group_columns;
    for (int64_t at = 0; at < columns; at += Format::columns, row += Format::bytes) {
        Group groups[groups_in];
        Super super{};
        Format::unpack(row, groups, &super);
        const float unit = float_from_f16(super.scale);
        const float minimum_unit = float_from_f16(super.minimum);
        for (int i = 0; i < groups_in; ++i) {
            const Group& group = groups[i];
            float scales[2];
            float minimum = 0.0f;
            if constexpr (layout.scales == Scales::super_halves) {
                scales[0] = unit * static_cast<float>(static_cast<int8_t>(group.scale));
                scales[1] = unit * static_cast<float>(static_cast<int8_t>(group.minimum));
            } else if constexpr (layout.scales == Scales::super_minimum) {
                scales[0] = scales[1] = unit * static_cast<float>(group.scale);
                minimum = -(minimum_unit * static_cast<float>(group.minimum));
            } else if constexpr (layout.scales == Scales::super_signed) {
                scales[0] = scales[1] =
                    unit * static_cast<float>(static_cast<int8_t>(group.scale));
            } else {
                scales[0] = scales[1] = float_from_f16(group.scale);
                if constexpr (layout.scales == Scales::half_minimum) {
                    minimum = float_from_f16(group.minimum);
                }
            }
            read_group(group.words, layout, scales, minimum, out + at + i * group_columns);
        }
    }
}

// A row of P3 to P6 as its writer makes it.
template <Type type>
void read_steps(const uint8_t* row, int64_t columns, float* out) {
    const float base = float_from_f16(read_u16(row));
    const float step = float_from_f16(read_u16(row + 2));
    row += row_steps_head;
    for (int64_t at = 0; at < columns; at += group_columns, row += Block<type>::bytes) {
        Group group;
        Block<type>::unpack(row, &group, nullptr);
        const float scale = std::fma(static_cast<float>(group.scale), step, base);
        const float scales[2] = {scale, scale};
        read_group(group.words, layout_of(type), scales, 0.0f, out + at);
    }
}

struct Format {
    const char* name;
    int columns;
    int bytes;
    bool (*quantise)(const float* row, const float* w, int64_t columns, uint8_t* out);
    void (*feed_back)(const float* weights, int rows, int64_t width, const float* w,
                      const float* factor, const float* shared, uint8_t* out, float* errors);
    void (*read)(const uint8_t* row, int64_t columns, float* out);
    int shared_numbers = 0;
    int shared_bytes = 0;
    void (*fit_row)(const float* row, const float* w, int64_t columns, float* shared) = nullptr;
};

template <typename Writer>
constexpr Format format(const char* name, decltype(Format::read) read) {
    static_assert(Writer::columns % feedback_step == 0 && Writer::columns % Writer::group == 0);
    Format made{name,
                Writer::columns,
                Writer::bytes,
                quantise_row<Writer>,
                feed_back<Writer>,
                read,
                Writer::shared_numbers,
                Writer::shared_bytes};
    if constexpr (Writer::shared_numbers > 0) {
        made.fit_row = Writer::fit_row;
    }
    return made;
}

const Format formats[] = {
    {"F32", 1, 4, copy_floats, nullptr, read_f32},
    {"F16", 1, 2, round_to_f16, nullptr, read_f16},
    {"BF16", 1, 2, round_to_bf16, nullptr, read_bf16},
    format<WriteQ4_0>("Q4_0", read_blocks<Type::Q4_0>),
    format<WriteQ4_1>("Q4_1", read_blocks<Type::Q4_1>),
    format<WriteQ5_0>("Q5_0", read_blocks<Type::Q5_0>),
    format<WriteQ8_0>("Q8_0", read_blocks<Type::Q8_0>),
    format<WriteQ3_K>("Q3_K", read_blocks<Type::Q3_K>),
    format<WriteQ4_K>("Q4_K", read_blocks<Type::Q4_K>),
    format<WriteQ5_K>("Q5_K", read_blocks<Type::Q5_K>),
    format<WriteQ6_K>("Q6_K", read_blocks<Type::Q6_K>),
    format<WriteIQ4_NL>("IQ4_NL", read_blocks<Type::IQ4_NL>),
    format<WriteIQ4_XS>("IQ4_XS", read_blocks<Type::IQ4_XS>),
    format<WriteP3>("P3", read_steps<Type::P3>),
    format<WriteP4>("P4", read_steps<Type::P4>),
    format<WriteP5>("P5", read_steps<Type::P5>),
    format<WriteP6>("P6", read_steps<Type::P6>),
};

const Format& format_named(const std::string& name) {
    for (const Format& format : formats) {
        if (name == format.name) {
            return format;
        }
    }
    throw std::invalid_argument("no weights can be written as type " + name);
}

void check_shape(const Format& format, int64_t rows, int64_t columns) {
    constexpr int64_t most = std::numeric_limits<int>::max();
    if (rows < 1 || columns < 1 || rows > most || columns > most) {
        throw std::invalid_argument("a shape of " + std::to_string(rows) + " x " +
                                    std::to_string(columns) + " is out of range");
    }
    if (columns % format.columns != 0) {
        throw std::invalid_argument(std::string(format.name) + " comes in blocks of " +
                                    std::to_string(format.columns) + " columns, and " +
                                    std::to_string(columns) + " is no multiple of that");
    }
}

int64_t block_bytes_of(const Format& format, int64_t columns) {
    return columns / format.columns * format.bytes;
}

int64_t row_bytes_of(const Format& format, int64_t columns) {
    return format.shared_bytes + block_bytes_of(format, columns);
}

// The importance of columns, its average 1 and none 0, over what is fitted together: a block, or the
// row.
std::vector<float> weights_of(const Format& format, const float* importance, int64_t columns) {
    std::vector<float> w(static_cast<size_t>(columns), 1.0f);
    const int64_t block = format.shared_numbers > 0 ? columns : format.columns;
    if (importance == nullptr) {
        return w;
    }
    for (int64_t i = 0; i < columns; ++i) {
        if (!(importance[i] >= 0.0f) || !finite(importance + i, 1)) {
            throw std::invalid_argument("the importance of column " + std::to_string(i) +
                                        " is not a number from 0");
        }
    }
    for (int64_t at = 0; at < columns; at += block) {
        double total = 0.0;
        for (int64_t i = at; i < at + block; ++i) {
            total += static_cast<double>(importance[i]);
        }
        for (int64_t i = at; i < at + block && total > 0.0; ++i) {
            const double share = static_cast<double>(importance[i]) / total;
            w[static_cast<size_t>(i)] =
                static_cast<float>(std::max(share * static_cast<double>(block), 1e-6));
        }
    }
    return w;
}

// The first row of which `work` says that something is wrong with it, or `rows`. Throws std::bad_alloc
// where `work` did, though a pool's work must not.
template <typename Work>
int64_t for_rows(ThreadPool& pool, int64_t rows, int step, const Work& work) {
    Phase phase(static_cast<int>(rows), step);
    std::atomic<int64_t> wrong{rows};
    std::atomic<bool> exhausted{false};
    pool.run([&](int) {
        run_phase(phase, [&](int first, int last) {
            int64_t bad = last;
            try {
                bad = work(first, last);
            } catch (const std::bad_alloc&) {
                exhausted = true;
            }
            int64_t before = wrong.load();
            while (bad < last && bad < before && !wrong.compare_exchange_weak(before, bad)) {
            }
        });
    });
    if (exhausted) {
        throw std::bad_alloc();
    }
    return wrong.load();
}

}  // namespace

size_t quantised_row_bytes(const std::string& type, int64_t columns) {
    const Format& format = format_named(type);
    check_shape(format, 1, columns);
    return static_cast<size_t>(row_bytes_of(format, columns));
}

size_t quantised_block_bytes(const std::string& type, int64_t columns) {
    const Format& format = format_named(type);
    check_shape(format, 1, columns);
    return static_cast<size_t>(block_bytes_of(format, columns));
}

int shared_numbers(const std::string& type) { return format_named(type).shared_numbers; }

void quantise(ThreadPool& pool, const std::string& type, const float* weights, int64_t rows,
              int64_t columns, const float* importance, uint8_t* out) {
    const Format& format = format_named(type);
    check_shape(format, rows, columns);
    const std::vector<float> w = weights_of(format, importance, columns);
    const int64_t row_bytes = row_bytes_of(format, columns);
    const int64_t wrong = for_rows(pool, rows, 1, [&](int first, int last) {
        for (int64_t row = first; row < last; ++row) {
            if (!format.quantise(weights + row * columns, w.data(), columns, out + row * row_bytes)) {
                return row;
            }
        }
        return static_cast<int64_t>(last);
    });
    if (wrong < rows) {
        throw std::invalid_argument("row " + std::to_string(wrong) + " has a weight that " + type +
                                    " cannot hold: not finite, or too large");
    }
}

void fit_rows(ThreadPool& pool, const std::string& type, const float* weights, int64_t rows,
              int64_t columns, const float* importance, float* shared) {
    const Format& format = format_named(type);
    check_shape(format, rows, columns);
    const std::vector<float> w = weights_of(format, importance, columns);
    const int64_t wrong = for_rows(pool, rows, 1, [&](int first, int last) {
        for (int64_t row = first; row < last; ++row) {
            if (!finite(weights + row * columns, columns)) {
                return row;
            }
            if (format.fit_row != nullptr) {
                format.fit_row(weights + row * columns, w.data(), columns,
                               shared + row * format.shared_numbers);
            }
        }
        return static_cast<int64_t>(last);
    });
    if (wrong < rows) {
        throw std::invalid_argument("row " + std::to_string(wrong) +
                                    " has a weight that is not finite");
    }
}

void quantise_columns(ThreadPool& pool, const std::string& type, const float* weights, int64_t rows,
                      int64_t width, const float* importance, const float* factor,
                      const float* shared, uint8_t* out, float* errors) {
    const Format& format = format_named(type);
    check_shape(format, rows, width);
    if (format.feed_back == nullptr) {
        throw std::invalid_argument(type + " takes no error feedback");
    }
    if (width > most_feedback_columns) {
        throw std::invalid_argument("error feedback takes " + std::to_string(most_feedback_columns) +
                                    " columns at once at most, not " + std::to_string(width));
    }
    if (!finite(shared, rows * format.shared_numbers)) {
        throw std::invalid_argument("what the rows' blocks share is not finite");
    }
    for (int64_t i = 0; i < width; ++i) {
        if (!(factor[i * width + i] > 0.0f) || !finite(factor + i * width + i, width - i)) {
            throw std::invalid_argument("row " + std::to_string(i) +
                                        " of the factor is not finite, or not positive on the diagonal");
        }
    }
    const std::vector<float> w = weights_of(format, importance, width);
    const int64_t row_bytes = block_bytes_of(format, width);
    const int64_t wrong = for_rows(pool, rows, feedback_rows, [&](int first, int last) {
        const float* const from = weights + first * width;
        float* const to = errors + first * width;
        format.feed_back(from, last - first, width, w.data(), factor,
                         shared + first * format.shared_numbers, out + first * row_bytes, to);
        for (int64_t row = first; row < last; ++row) {
            if (!finite(weights + row * width, width) || !finite(errors + row * width, width)) {
                return row;
            }
        }
        return static_cast<int64_t>(last);
    });
    if (wrong < rows) {
        throw std::invalid_argument("row " + std::to_string(wrong) +
                                    " has a weight that is not finite, or that became so by feedback");
    }
}

void dequantise(ThreadPool& pool, const std::string& type, const uint8_t* data, size_t bytes,
                int64_t rows, int64_t columns, float* out) {
    const Format& format = format_named(type);
    check_shape(format, rows, columns);
    const int64_t row_bytes = row_bytes_of(format, columns);
    if (bytes / static_cast<size_t>(row_bytes) != static_cast<size_t>(rows) ||
        bytes % static_cast<size_t>(row_bytes) != 0) {
        throw std::invalid_argument(std::to_string(rows) + " x " + std::to_string(columns) + " in " +
                                    type + " are not " + std::to_string(bytes) + " bytes");
    }
    for_rows(pool, rows, 1, [&](int first, int last) {
        for (int64_t row = first; row < last; ++row) {
            format.read(data + row * row_bytes, columns, out + row * columns);
        }
        return static_cast<int64_t>(last);
    });
}

}  // namespace pocketlm
