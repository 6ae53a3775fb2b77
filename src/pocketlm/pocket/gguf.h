// The GGUF container, versions 2 and 3, little endian: bytes to metadata and tensors.
//
// It knows the layout (the specification is docs/gguf.md of ggml), and how files of ours hold panels. It
// believes none of a file's numbers, and does not know what keys or tensors mean. formats/gguf.py reads the
// same files by the same rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "layout.h"
#include "source.h"

namespace pocketlm {

// A value of metadata, where it lies in the file.
struct GgufValue {
    uint32_t kind;        // GGUF's number of its type
    uint32_t element;     // of an array: the type of its elements
    uint64_t count;       // of an array: how many
    const uint8_t* data;  // the number, the string's bytes, or the array's first element
    size_t bytes;
};

struct GgufTensor {
    std::string_view name;
    std::optional<Type> type;  // none: a type that is not run
    std::string type_name;
    std::vector<uint64_t> shape;  // rows first
    uint64_t offset;              // in the file
    size_t bytes;
};

// Views of the source's head. The source must outlive it, and nothing else ask for its head.
class Gguf {
  public:
    // Throws Error.
    explicit Gguf(Source& source);

    Source& source() const { return *source_; }

    // Values by key; nothing where the key is absent, Error for a value of another type. An integer may
    // also be a list, one a layer, of equal ones.
    bool has(std::string_view key) const { return find(key) != nullptr; }
    std::optional<int64_t> integer(std::string_view key) const;
    std::optional<double> number(std::string_view key) const;  // finite
    std::optional<bool> flag(std::string_view key) const;
    std::optional<std::string_view> text(std::string_view key) const;
    std::optional<std::vector<std::string_view>> texts(std::string_view key) const;
    std::optional<std::vector<double>> numbers(std::string_view key) const;
    std::optional<std::vector<int64_t>> integers(std::string_view key) const;
    // How many elements an array of strings has.
    std::optional<uint64_t> text_count(std::string_view key) const;

    const std::vector<GgufTensor>& tensors() const { return tensors_; }
    const GgufTensor* tensor(std::string_view name) const;

  private:
    const GgufValue* find(std::string_view key) const;
    void parse(const Source::Bytes& head);
    void restore_panels();

    Source* source_;
    std::map<std::string_view, GgufValue> metadata_;
    std::vector<GgufTensor> tensors_;
    std::map<std::string_view, size_t> by_name_;
};

}  // namespace pocketlm
