#include "glue_quantise.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>

#include "matrix.h"
#include "panel_types.h"
#include "quantise.h"

namespace nb = nanobind;

namespace {

using namespace pocketlm;

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatRows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using BytesOut = nb::ndarray<nb::numpy, uint8_t, nb::ndim<2>>;
using FloatsOut = nb::ndarray<nb::numpy, float, nb::ndim<2>>;

// A new array of rows that Python owns.
template <typename Number>
struct Rows {
    Rows(size_t row_count, size_t row_width)
        : rows(row_count), width(row_width), data(new Number[row_count * row_width]) {}

    nb::ndarray<nb::numpy, Number, nb::ndim<2>> array() {
        Number* const numbers = data.release();
        nb::capsule owner(numbers, [](void* p) noexcept { delete[] static_cast<Number*>(p); });
        return nb::ndarray<nb::numpy, Number, nb::ndim<2>>(numbers, {rows, width}, owner);
    }

    size_t rows;
    size_t width;
    std::unique_ptr<Number[]> data;
};

const float* checked(const std::optional<Floats>& importance, const FloatRows& weights) {
    if (!importance) {
        return nullptr;
    }
    if (importance->size() != weights.shape(1)) {
        throw nb::value_error("importance and weights differ in columns");
    }
    return importance->data();
}

BytesOut quantise_rows(ThreadPool& pool, const std::string& type, const FloatRows& weights,
                       const std::optional<Floats>& importance) {
    const auto columns = static_cast<int64_t>(weights.shape(1));
    const float* const w = checked(importance, weights);
    Rows<uint8_t> out(weights.shape(0), quantised_row_bytes(type, columns));
    {
        const nb::gil_scoped_release unlocked;
        quantise(pool, type, weights.data(), static_cast<int64_t>(weights.shape(0)), columns, w,
                 out.data.get());
    }
    return out.array();
}

FloatsOut fit_row_numbers(ThreadPool& pool, const std::string& type, const FloatRows& weights,
                          const std::optional<Floats>& importance) {
    const float* const w = checked(importance, weights);
    Rows<float> shared(weights.shape(0), static_cast<size_t>(shared_numbers(type)));
    {
        const nb::gil_scoped_release unlocked;
        fit_rows(pool, type, weights.data(), static_cast<int64_t>(weights.shape(0)),
                 static_cast<int64_t>(weights.shape(1)), w, shared.data.get());
    }
    return shared.array();
}

std::tuple<BytesOut, FloatsOut> quantise_with_feedback(ThreadPool& pool, const std::string& type,
                                                       const FloatRows& weights,
                                                       const std::optional<Floats>& importance,
                                                       const FloatRows& factor,
                                                       const std::optional<FloatRows>& shared) {
    const size_t width = weights.shape(1);
    const float* const w = checked(importance, weights);
    if (factor.shape(0) != width || factor.shape(1) != width) {
        throw nb::value_error("factor and weights differ in columns");
    }
    const auto numbers = static_cast<size_t>(shared_numbers(type));
    if (shared ? shared->shape(0) != weights.shape(0) || shared->shape(1) != numbers
               : numbers != 0) {
        throw nb::value_error("shared is not what fit_rows gives for these rows");
    }
    Rows<uint8_t> out(weights.shape(0), quantised_block_bytes(type, static_cast<int64_t>(width)));
    Rows<float> errors(weights.shape(0), width);
    {
        const nb::gil_scoped_release unlocked;
        quantise_columns(pool, type, weights.data(), static_cast<int64_t>(weights.shape(0)),
                         static_cast<int64_t>(width), w, factor.data(), shared ? shared->data() : nullptr,
                         out.data.get(), errors.data.get());
    }
    return {out.array(), errors.array()};
}

FloatsOut dequantise_rows(ThreadPool& pool, const std::string& type, const Bytes& data, int rows,
                          int columns) {
    if (rows < 1 || data.size() / static_cast<size_t>(rows) != quantised_row_bytes(type, columns)) {
        throw nb::value_error("data is not that many rows and columns");
    }
    Rows<float> out(static_cast<size_t>(rows), static_cast<size_t>(columns));
    {
        const nb::gil_scoped_release unlocked;
        dequantise(pool, type, data.data(), data.size(), rows, columns, out.data.get());
    }
    return out.array();
}

BytesOut interleave_rows(ThreadPool& pool, const std::string& type, const Bytes& data, int rows,
                         int columns) {
    const Type kind = type_named(type);
    if (rows < 1 || data.size() / static_cast<size_t>(rows) != quantised_row_bytes(type, columns)) {
        throw nb::value_error("data is not that many rows and columns");
    }
    const size_t panels = (static_cast<size_t>(rows) + panel_rows - 1) / panel_rows;
    Rows<uint8_t> out(panels, is_stored_as_panels(kind) ? panel_bytes(kind, columns) : 0);
    {
        const nb::gil_scoped_release unlocked;
        interleave(pool, kind, data.data(), data.size(), rows, columns, out.data.get());
    }
    return out.array();
}

}  // namespace

void define_quantise(nb::module_& module) {
    module.def("quantise", &quantise_rows, nb::arg("pool"), nb::arg("type"),
               nb::arg("weights").noconvert(), nb::arg("importance").noconvert() = nb::none());
    module.def("fit_rows", &fit_row_numbers, nb::arg("pool"), nb::arg("type"),
               nb::arg("weights").noconvert(), nb::arg("importance").noconvert() = nb::none());
    module.def("quantise_columns", &quantise_with_feedback, nb::arg("pool"), nb::arg("type"),
               nb::arg("weights").noconvert(), nb::arg("importance").none().noconvert(),
               nb::arg("factor").noconvert(), nb::arg("shared").noconvert() = nb::none());
    module.def("dequantise", &dequantise_rows, nb::arg("pool"), nb::arg("type"),
               nb::arg("data").noconvert(), nb::arg("rows"), nb::arg("columns"));
    module.def("interleave", &interleave_rows, nb::arg("pool"), nb::arg("type"),
               nb::arg("data").noconvert(), nb::arg("rows"), nb::arg("columns"));
}
