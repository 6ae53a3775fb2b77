#include "gguf.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>

#include "error.h"
#include "half.h"
#include "matrix.h"
#include "unpack.h"
#include "utf8.h"

namespace pocketlm {

namespace {

// The largest size or offset: that of a signed 64-bit integer.
constexpr uint64_t largest = std::numeric_limits<int64_t>::max();

enum Kind : uint32_t {
    u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64
};
constexpr size_t kind_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

constexpr uint64_t default_alignment = 32;
constexpr uint32_t most_dimensions = 4;
// How many keys and how many tensors a file may have: far more than any model.
constexpr uint64_t most_entries = 1 << 16;
// The fewest bytes that one entry takes: an entry of metadata has a key (8), a type (4) and a value (1); a
// tensor a name (8), the number of its dimensions (4), one dimension (8), a type (4) and an offset (8).
constexpr uint64_t least_metadata_bytes = 13;
constexpr uint64_t least_tensor_bytes = 32;

// Types by their numbers, those of bytes that mean something by metadata alone among them.
constexpr uint32_t type_i8 = 24;
struct TypeNumber {
    uint32_t number;
    Type type;
};
constexpr TypeNumber type_numbers[] = {
    {0, Type::F32},   {1, Type::F16},   {2, Type::Q4_0},  {3, Type::Q4_1},    {6, Type::Q5_0},
    {7, Type::Q5_1},  {8, Type::Q8_0},  {11, Type::Q3_K}, {12, Type::Q4_K},   {13, Type::Q5_K},
    {14, Type::Q6_K}, {20, Type::IQ4_NL}, {23, Type::IQ4_XS}, {30, Type::BF16},
};

// What is read of a file at first: the headers of most models.
constexpr size_t first_head = size_t{4} << 20;

constexpr std::string_view panel_tensors = "pocketlm.panels.tensors";
constexpr std::string_view panel_type_names = "pocketlm.panels.types";
constexpr std::string_view panel_row_counts = "pocketlm.panels.rows";
constexpr std::string_view panel_column_counts = "pocketlm.panels.columns";

[[noreturn]] void refuse_file(const std::string& text) { refuse(Fault::file, text); }

uint64_t add(uint64_t a, uint64_t b, const std::string& what) {
    if (a > largest || b > largest - a) {
        refuse_file(what + " is out of range");
    }
    return a + b;
}

uint64_t multiply_sizes(uint64_t a, uint64_t b, const std::string& what) {
    if (a != 0 && b > largest / a) {
        refuse_file(what + " is out of range");
    }
    return a * b;
}

uint64_t u64_at(const uint8_t* at) {
    return read_u32(at) | static_cast<uint64_t>(read_u32(at + 4)) << 32;
}

// More of the file is needed than is there.
struct More {};

// Reads from front to back, and nothing beyond the end.
class Cursor {
  public:
    // `bytes` are the beginning of a file of `size` bytes, or all of it.
    Cursor(const Source::Bytes& bytes, uint64_t size) : bytes_(bytes), size_(size) {}

    size_t position() const { return position_; }
    uint64_t size() const { return size_; }

    // Moves past `length` bytes; returns where they start.
    const uint8_t* take(uint64_t length, const std::string& what) {
        if (length > size_ - position_) {
            refuse_file(what + " runs past the end of the file (" + std::to_string(size_) +
                        " bytes), which is truncated or damaged");
        }
        if (length > bytes_.size - position_) {
            throw More{};
        }
        const uint8_t* start = bytes_.data + position_;
        position_ += static_cast<size_t>(length);
        return start;
    }
    // Checks that `count` things of at least `least` bytes each can follow.
    void expect(uint64_t count, uint64_t least, const std::string& what) const {
        if (count > (size_ - position_) / least) {
            refuse_file(what + " is " + std::to_string(count) + ", more than the file can hold");
        }
    }
    uint32_t number32(const std::string& what) { return read_u32(take(4, what)); }
    uint64_t number64(const std::string& what) { return u64_at(take(8, what)); }
    // A string: its length in 64 bits, then that many bytes of UTF-8.
    std::string_view text(const std::string& what) {
        const uint64_t length = number64(what);
        const char* start = reinterpret_cast<const char*>(take(length, what));
        const std::string_view text(start, static_cast<size_t>(length));
        if (!is_utf8(text)) {
            refuse_file(what + " is not valid UTF-8");
        }
        return text;
    }

  private:
    Source::Bytes bytes_;
    uint64_t size_;
    size_t position_ = 0;
};

uint64_t read_entries(Cursor& cursor, uint64_t least_bytes, const std::string& what) {
    const uint64_t count = cursor.number64(what);
    cursor.expect(count, least_bytes, what);
    if (count > most_entries) {
        refuse_file(what + " is " + std::to_string(count) + ", expected at most " +
                    std::to_string(most_entries));
    }
    return count;
}

bool is_scalar(uint32_t kind) { return kind <= f64 && kind_bytes[kind] > 0; }

GgufValue read_array(Cursor& cursor, const std::string& what) {
    const uint32_t element = cursor.number32(what);
    const uint64_t count = cursor.number64(what);
    GgufValue value{array, element, count, nullptr, 0};
    if (element == string) {
        cursor.expect(count, 8, what);
        value.data = cursor.take(0, what);
        const size_t start = cursor.position();
        for (uint64_t i = 0; i < count; ++i) {
            cursor.take(cursor.number64(what), what);
        }
        value.bytes = cursor.position() - start;
        return value;
    }
    if (element == array) {
        refuse(Fault::unsupported, what + " is an array of arrays, which is not supported");
    }
    if (!is_scalar(element)) {
        refuse_file(what + " has elements of type " + std::to_string(element) +
                    ", which GGUF does not have");
    }
    const uint64_t bytes = multiply_sizes(count, kind_bytes[element], what);
    value.data = cursor.take(bytes, what);
    value.bytes = static_cast<size_t>(bytes);
    if (element == boolean &&
        std::any_of(value.data, value.data + value.bytes, [](uint8_t byte) { return byte > 1; })) {
        refuse_file(what + " has values other than true (1) and false (0)");
    }
    return value;
}

GgufValue read_value(Cursor& cursor, const std::string& what) {
    const uint32_t kind = cursor.number32(what);
    if (is_scalar(kind)) {
        const size_t bytes = kind_bytes[kind];
        const GgufValue value{kind, 0, 0, cursor.take(bytes, what), bytes};
        if (kind == boolean && *value.data > 1) {
            refuse_file(what + " is " + std::to_string(*value.data) +
                        ", expected true (1) or false (0)");
        }
        return value;
    }
    if (kind == string) {
        const std::string_view text = cursor.text(what);
        return {kind, 0, 0, reinterpret_cast<const uint8_t*>(text.data()), text.size()};
    }
    if (kind == array) {
        return read_array(cursor, what);
    }
    refuse_file(what + " is of type " + std::to_string(kind) + ", which GGUF does not have");
}

bool is_integer(uint32_t kind) {
    return kind == u64 || kind == i64 || kind <= i32;
}

// A number of an integer type. What needs all 64 bits counts as the largest there is: it is out of every range.
int64_t integer_at(uint32_t kind, const uint8_t* at) {
    switch (kind) {
        case u8: return at[0];
        case i8: return static_cast<int8_t>(at[0]);
        case u16: return read_u16(at);
        case i16: return static_cast<int16_t>(read_u16(at));
        case u32: return read_u32(at);
        case i32: return static_cast<int32_t>(read_u32(at));
        case u64: return static_cast<int64_t>(std::min(u64_at(at), largest));
        default: return static_cast<int64_t>(u64_at(at));
    }
}

// The decimal that the writer of a float meant: 1e-05, not 9.999999747378752e-06.
double shortest_decimal(float value) {
    char text[32];
    for (int digits = 1; digits < 9; ++digits) {
        std::snprintf(text, sizeof text, "%.*g", digits, static_cast<double>(value));
        if (std::strtof(text, nullptr) == value) {
            return std::strtod(text, nullptr);
        }
    }
    std::snprintf(text, sizeof text, "%.9g", static_cast<double>(value));
    return std::strtod(text, nullptr);
}

double number_at(uint32_t kind, const uint8_t* at) {
    if (kind == f32) {
        const float value = float_from_bits(read_u32(at));
        return std::isfinite(value) ? shortest_decimal(value) : static_cast<double>(value);
    }
    if (kind == f64) {
        const uint64_t bits = u64_at(at);
        double value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }
    return static_cast<double>(integer_at(kind, at));
}

[[noreturn]] void refuse_key(std::string_view key, const char* expected) {
    refuse_file("metadata key " + shown(key) + " is not " + expected);
}

uint64_t read_alignment(const Gguf& file) {
    const std::optional<int64_t> stated = file.integer("general.alignment");
    const auto alignment = stated ? static_cast<uint64_t>(*stated) : default_alignment;
    // Eight at least, so that every number lies where the processor wants it.
    if (alignment < 8 || alignment > uint64_t{1} << 31 || (alignment & (alignment - 1)) != 0) {
        refuse_file("general.alignment is not a power of two from 8 on");
    }
    return alignment;
}

// A tensor as the file describes it; `offset` counts from where the data begin.
struct Header {
    GgufTensor tensor;
    uint64_t offset;
    uint64_t bytes;
};

Header read_header(Cursor& cursor) {
    const std::string_view name = cursor.text("a tensor's name");
    const std::string what = "tensor " + shown(name);
    const uint32_t dimensions = cursor.number32(what);
    if (dimensions < 1 || dimensions > most_dimensions) {
        refuse_file(what + " has " + std::to_string(dimensions) + " dimensions, expected 1 to 4");
    }
    Header header{{name, {}, {}, std::vector<uint64_t>(dimensions), 0, 0}, 0, 0};
    // The file has the fastest dimension, a row's length, first.
    std::vector<uint64_t>& shape = header.tensor.shape;
    for (size_t i = dimensions; i-- > 0;) {
        shape[i] = cursor.number64(what);
        if (shape[i] == 0) {
            refuse_file(what + " has a dimension of 0");
        }
    }
    const std::string size = "the size of " + what;
    uint64_t rows = 1;
    for (size_t i = 0; i + 1 < shape.size(); ++i) {
        rows = multiply_sizes(rows, shape[i], size);
    }
    multiply_sizes(rows, shape.back(), size);
    const uint32_t number = cursor.number32(what);
    header.tensor.type_name = number == type_i8 ? "I8" : "type number " + std::to_string(number);
    header.bytes = number == type_i8 ? rows * shape.back() : 0;
    for (const TypeNumber& known : type_numbers) {
        if (known.number == number) {
            header.tensor.type = known.type;
            header.tensor.type_name = name_of(known.type);
            if (shape.back() > static_cast<uint64_t>(std::numeric_limits<int>::max())) {
                refuse_file(size + " is out of range");
            }
            size_t row_bytes = 0;
            try {
                row_bytes = stored_row_bytes(known.type, static_cast<int>(shape.back()));
            } catch (const std::invalid_argument& error) {
                refuse_file(what + ": " + error.what());
            }
            header.bytes = multiply_sizes(rows, row_bytes, size);
        }
    }
    header.offset = cursor.number64(what);
    return header;
}

// Finds the tensors' data in the file, checking that they lie in it and apart.
void place(std::vector<Header>& headers, const Cursor& cursor, uint64_t alignment) {
    if (headers.empty()) {
        return;
    }
    const uint64_t base = add(cursor.position(), alignment - 1, "the start of the tensor data") /
                          alignment * alignment;
    std::vector<size_t> order(headers.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return headers[a].offset < headers[b].offset; });
    uint64_t end = base;
    for (const size_t index : order) {
        Header& header = headers[index];
        const std::string what = "tensor " + shown(header.tensor.name);
        if (header.offset % alignment != 0) {
            refuse_file(what + " begins at " + std::to_string(header.offset) +
                        ", not a multiple of " + std::to_string(alignment));
        }
        const uint64_t start = add(base, header.offset, "the offset of " + what);
        if (start < end) {
            refuse_file(what + " overlaps the tensor before it");
        }
        end = add(start, header.bytes, what);
        if (end > cursor.size()) {
            refuse_file(what + " ends at byte " + std::to_string(end) + " of " +
                        std::to_string(cursor.size()) + "; the file is truncated or damaged");
        }
        if (header.bytes > PTRDIFF_MAX) {
            refuse(Fault::memory, what + " has " + std::to_string(header.bytes) +
                                      " bytes, more than this system can address");
        }
        header.tensor.offset = start;
        header.tensor.bytes = static_cast<size_t>(header.bytes);
    }
}

}  // namespace

Gguf::Gguf(Source& source) : source_(&source) {
    // How long the header is, is known when it was read.
    for (size_t size = first_head;; size *= 2) {
        try {
            parse(source.head(size));
            return;
        } catch (const More&) {
            metadata_.clear();
        }
    }
}

void Gguf::parse(const Source::Bytes& head) {
    Cursor cursor(head, source_->size());
    if (cursor.size() < 4 || std::memcmp(cursor.take(4, "the magic number"), "GGUF", 4) != 0) {
        refuse_file("not a GGUF file (it does not begin with 'GGUF')");
    }
    const uint32_t version = cursor.number32("the version");
    if (version == 2u << 24 || version == 3u << 24) {
        refuse(Fault::unsupported, "a big-endian GGUF file; convert it to little endian");
    }
    if (version != 2 && version != 3) {
        refuse(Fault::unsupported, "GGUF version " + std::to_string(version) +
                                       " is not supported, only 2 and 3 are");
    }
    const uint64_t tensor_count = read_entries(cursor, least_tensor_bytes, "the number of tensors");
    const uint64_t metadata_count =
        read_entries(cursor, least_metadata_bytes, "the number of metadata keys");
    for (uint64_t i = 0; i < metadata_count; ++i) {
        const std::string_view key = cursor.text("a metadata key");
        const std::string what = "metadata key " + shown(key);
        if (has(key)) {
            refuse_file(what + " is there twice");
        }
        metadata_.emplace(key, read_value(cursor, what));
    }
    std::vector<Header> headers;
    for (uint64_t i = 0; i < tensor_count; ++i) {
        headers.push_back(read_header(cursor));
    }
    place(headers, cursor, read_alignment(*this));
    for (Header& header : headers) {
        if (!by_name_.emplace(header.tensor.name, tensors_.size()).second) {
            refuse_file("tensor " + shown(header.tensor.name) + " is there twice");
        }
        tensors_.push_back(std::move(header.tensor));
    }
    restore_panels();
}

// Tensors that are panels, stored as bytes, get the types and shapes that the metadata give them.
void Gguf::restore_panels() {
    if (!has(panel_tensors)) {
        return;
    }
    const auto names = texts(panel_tensors);
    const auto types = texts(panel_type_names);
    const auto rows = integers(panel_row_counts);
    const auto columns = integers(panel_column_counts);
    if (!types || !rows || !columns || types->size() != names->size() ||
        rows->size() != names->size() || columns->size() != names->size()) {
        refuse_file("pocketlm.panels has no list of one for each tensor in panels");
    }
    for (size_t i = 0; i < names->size(); ++i) {
        const auto found = by_name_.find((*names)[i]);
        const std::string what = "tensor " + shown((*names)[i]);
        if (found == by_name_.end()) {
            refuse_file("pocketlm.panels names a " + what + ", which is not there");
        }
        GgufTensor& tensor = tensors_[found->second];
        constexpr Type panel_types[] = {Type::P3, Type::P4, Type::P5, Type::P6};
        const Type* type = std::find_if(std::begin(panel_types), std::end(panel_types),
                                        [&](Type known) { return (*types)[i] == name_of(known); });
        if (type == std::end(panel_types)) {
            refuse(Fault::unsupported, what + " is of type " + shown((*types)[i]) +
                                           ": the file needs a newer pocketlm");
        }
        const int64_t row_count = (*rows)[i];
        const int64_t column_count = (*columns)[i];
        constexpr int64_t most = 1 << 24;  // of either in a matrix
        if (row_count < 1 || row_count > most || column_count < 1 || column_count > most ||
            column_count % group_columns != 0) {
            refuse_file(what + " has " + std::to_string(row_count) + " x " +
                        std::to_string(column_count) + " weights, which no panels hold");
        }
        const auto panels = static_cast<uint64_t>((row_count + panel_rows - 1) / panel_rows);
        const uint64_t bytes = panel_bytes(*type, static_cast<int>(column_count));
        if (tensor.type_name != "I8" || tensor.shape != std::vector<uint64_t>{panels, bytes}) {
            refuse_file(what + " is not made of " + std::to_string(panels) + " panels of " +
                        std::to_string(bytes) + " bytes");
        }
        tensor.type = *type;
        tensor.type_name = name_of(*type);
        tensor.shape = {static_cast<uint64_t>(row_count), static_cast<uint64_t>(column_count)};
    }
}

const GgufValue* Gguf::find(std::string_view key) const {
    const auto found = metadata_.find(key);
    return found == metadata_.end() ? nullptr : &found->second;
}

const GgufTensor* Gguf::tensor(std::string_view name) const {
    const auto found = by_name_.find(name);
    return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

std::optional<int64_t> Gguf::integer(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (value->kind == array && is_integer(value->element) && value->count > 0) {
        const std::vector<int64_t> all = *integers(key);
        if (std::any_of(all.begin(), all.end(), [&](int64_t one) { return one != all[0]; })) {
            refuse(Fault::unsupported,
                   shown(key) + " differs from layer to layer, which is not supported");
        }
        return all[0];
    }
    if (!is_integer(value->kind)) {
        refuse_key(key, "an integer");
    }
    return integer_at(value->kind, value->data);
}

std::optional<double> Gguf::number(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (!is_scalar(value->kind) || value->kind == boolean ||
        !std::isfinite(number_at(value->kind, value->data))) {
        refuse_key(key, "a finite number");
    }
    return number_at(value->kind, value->data);
}

std::optional<bool> Gguf::flag(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (value->kind != boolean) {
        refuse_key(key, "true or false");
    }
    return *value->data != 0;
}

std::optional<std::string_view> Gguf::text(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (value->kind != string) {
        refuse_key(key, "a string");
    }
    return std::string_view(reinterpret_cast<const char*>(value->data), value->bytes);
}

std::optional<uint64_t> Gguf::text_count(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (value->kind != array || value->element != string) {
        refuse_key(key, "an array of strings");
    }
    return value->count;
}

std::optional<std::vector<std::string_view>> Gguf::texts(std::string_view key) const {
    const std::optional<uint64_t> count = text_count(key);
    if (!count) {
        return {};
    }
    const GgufValue* value = find(key);
    Cursor cursor({value->data, value->bytes}, value->bytes);
    std::vector<std::string_view> all;
    all.reserve(static_cast<size_t>(*count));  // each has 8 bytes in the file
    for (uint64_t i = 0; i < *count; ++i) {
        all.push_back(cursor.text("a string of metadata key " + shown(key)));
    }
    return all;
}

std::optional<std::vector<double>> Gguf::numbers(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (value->kind != array || !is_scalar(value->element) || value->element == boolean) {
        refuse_key(key, "an array of numbers");
    }
    std::vector<double> all;
    all.reserve(static_cast<size_t>(value->count));
    for (size_t at = 0; at < value->bytes; at += kind_bytes[value->element]) {
        all.push_back(number_at(value->element, value->data + at));
    }
    return all;
}

std::optional<std::vector<int64_t>> Gguf::integers(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value == nullptr) {
        return {};
    }
    if (value->kind != array || !is_integer(value->element)) {
        refuse_key(key, "an array of integers");
    }
    std::vector<int64_t> all;
    all.reserve(static_cast<size_t>(value->count));
    for (size_t at = 0; at < value->bytes; at += kind_bytes[value->element]) {
        all.push_back(integer_at(value->element, value->data + at));
    }
    return all;
}

}  // namespace pocketlm
