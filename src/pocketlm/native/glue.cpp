// The Python module `_native`: arguments checked and handed on. Documented in _native.pyi.
//
// Arrays are `noconvert`: one of another type or order is refused, not copied in silence.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#include "executor.h"
#include "glue_quantise.h"
#include "roofline.h"

namespace nb = nanobind;

namespace {

using namespace pocketlm;

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatRows = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatsOut = nb::ndarray<nb::numpy, float>;
using BytesOut = nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>;

std::vector<float> copied(const Floats& array) {
    return std::vector<float>(array.data(), array.data() + array.size());
}

// A new array that Python owns.
struct Result {
    explicit Result(std::vector<size_t> shape) : shape_(std::move(shape)) {
        size_t size = 1;
        for (size_t extent : shape_) {
            size *= extent;
        }
        data = std::make_unique<float[]>(size);
    }

    FloatsOut array() {
        float* numbers = data.release();
        nb::capsule owner(numbers, [](void* p) noexcept { delete[] static_cast<float*>(p); });
        return FloatsOut(numbers, shape_.size(), shape_.data(), owner);
    }

    std::unique_ptr<float[]> data;

  private:
    std::vector<size_t> shape_;
};

// Preparing takes a while: other Python threads go on.
Matrix prepare(const std::string& type, int rows, int columns, const Bytes& data, ThreadPool& pool,
               bool release) {
    const nb::gil_scoped_release unlocked;
    return Matrix(type_named(type), rows, columns, data.data(), data.size(), pool, release);
}

// A matrix and the pool whose kernels its rows are multiplied with.
struct PreparedMatrix : Matrix {
    PreparedMatrix(const std::string& type, int rows, int columns, const Bytes& data,
                   std::shared_ptr<ThreadPool> threads, bool release)
        : Matrix(prepare(type, rows, columns, data, *threads, release)),
          pool(std::move(threads)) {
        if (is_mapped()) {
            mapping = data;
        }
    }

    std::shared_ptr<ThreadPool> pool;
    Bytes mapping;  // kept alive while it is used as it lies
};

void require_all(const std::vector<std::shared_ptr<PreparedMatrix>>& matrices) {
    for (const std::shared_ptr<PreparedMatrix>& matrix : matrices) {
        if (matrix == nullptr) {
            throw nb::type_error("a matrix is None");
        }
    }
}

FloatsOut row(const PreparedMatrix& matrix, int index) {
    if (index < 0 || index >= matrix.rows()) {
        throw nb::index_error("the matrix has no such row");
    }
    Result result({static_cast<size_t>(matrix.columns())});
    matrix.row(index, result.data.get());
    return result.array();
}

FloatsOut product(const PreparedMatrix& matrix, const FloatRows& x) {
    if (x.shape(1) != static_cast<size_t>(matrix.columns())) {
        throw nb::value_error("x is not as wide as the matrix");
    }
    const int count = static_cast<int>(x.shape(0));
    Result result({x.shape(0), static_cast<size_t>(matrix.rows())});
    {
        const nb::gil_scoped_release unlocked;
        multiply(*matrix.pool, matrix, x.data(), count, result.data.get());
    }
    return result.array();
}

FloatsOut run(Executor& executor, const Ints& tokens,
              const std::vector<std::tuple<int, int, int, Ints>>& segments, const Ints& picks,
              const std::vector<std::shared_ptr<Adapter>>& adapters) {
    if (!adapters.empty() && adapters.size() != segments.size()) {
        throw nb::value_error("there are not as many adapters as segments");
    }
    std::vector<Segment> parts;
    for (const auto& [count, position, rope_set, blocks] : segments) {
        const Adapter* adapter = adapters.empty() ? nullptr : adapters[parts.size()].get();
        parts.push_back({count, position, rope_set, blocks.data(), static_cast<int>(blocks.size()),
                         adapter});
    }
    Result result({picks.size(), static_cast<size_t>(executor.output_width())});
    {
        const nb::gil_scoped_release unlocked;
        executor.run(tokens.data(), static_cast<int>(tokens.size()), parts, picks.data(),
                     static_cast<int>(picks.size()), result.data.get());
    }
    return result.array();
}

void project(Executor& executor, int input, int output,
             const std::vector<std::shared_ptr<PreparedMatrix>>& weights,
             const std::vector<std::optional<Floats>>& biases, const std::optional<Floats>& norm,
             bool gate, bool add) {
    require_all(weights);
    std::vector<std::vector<float>> bias_copies;
    for (const std::optional<Floats>& bias : biases) {
        bias_copies.push_back(bias ? copied(*bias) : std::vector<float>());
    }
    executor.project(input, output, {weights.begin(), weights.end()}, std::move(bias_copies),
                     norm ? copied(*norm) : std::vector<float>(), gate, add);
}

// A projection up, [rows][rank], and the first of the numbers that it needs.
using NewUp = std::optional<std::tuple<int, FloatRows>>;
using NewPart = std::tuple<int, std::shared_ptr<PreparedMatrix>, std::vector<NewUp>>;

std::vector<Adapter::Part> adapter_parts(const std::vector<NewPart>& given) {
    std::vector<Adapter::Part> parts;
    for (const auto& [operation, down, ups] : given) {
        parts.push_back({operation, down, {}});
        for (const NewUp& up : ups) {
            if (up.has_value()) {
                const auto& [first, numbers] = *up;
                if (numbers.shape(0) > (1 << 24) || numbers.shape(1) > (1 << 24)) {
                    throw nb::value_error("a projection up is too large");
                }
                parts.back().ups.emplace_back(first, static_cast<int>(numbers.shape(0)),
                                              static_cast<int>(numbers.shape(1)), numbers.data());
            } else {
                parts.back().ups.emplace_back();
            }
        }
    }
    return parts;
}

// A view of a block, which keeps the block and its cache.
BytesOut block_data(std::shared_ptr<KVCache> cache, int block) {
    struct Hold {
        Hold(std::shared_ptr<KVCache> from, int number) : cache(std::move(from)), block(number) {
            cache->retain(block);
        }
        ~Hold() { cache->release(block); }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

        std::shared_ptr<KVCache> cache;
        int block;
    };
    auto hold = std::make_unique<Hold>(std::move(cache), block);
    Hold* held = hold.get();
    nb::capsule owner(held, [](void* p) noexcept { delete static_cast<Hold*>(p); });
    hold.release();
    return BytesOut(held->cache->data(block), {held->cache->block_bytes()}, owner);
}

}  // namespace

NB_MODULE(_native, module) {
    // A system that has no more threads has run out of a resource, as one without memory.
    nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
        try {
            std::rethrow_exception(thrown);
        } catch (const std::system_error& error) {
            PyErr_SetString(PyExc_MemoryError, error.what());
        }
    });

    module.def("instruction_sets", [] {
        std::vector<std::string> names;
        for (const Kernels* table : available_kernels()) {
            names.emplace_back(table->name);
        }
        return names;
    });
    module.def("default_threads", &default_threads);

    nb::class_<ThreadPool>(module, "ThreadPool")
        .def(
            "__init__",
            [](ThreadPool* pool, int threads, const std::optional<std::string>& instruction_set) {
                new (pool) ThreadPool(threads, instruction_set.value_or(""));
            },
            nb::arg("threads"), nb::arg("instruction_set") = nb::none())
        .def_prop_ro("threads", &ThreadPool::threads)
        .def(
            "read_gb_s",
            [](ThreadPool& pool, const std::vector<std::shared_ptr<PreparedMatrix>>& matrices) {
                require_all(matrices);
                const nb::gil_scoped_release unlocked;
                return read_gb_s(pool, {matrices.begin(), matrices.end()});
            },
            nb::arg("matrices"))
        .def("int8_gmac_s", &int8_gmac_s, nb::call_guard<nb::gil_scoped_release>())
        .def_prop_ro("instruction_set",
                     [](const ThreadPool& pool) { return pool.kernels().name; });

    nb::class_<PreparedMatrix>(module, "Matrix")
        .def(
            "__init__",
            [](PreparedMatrix* matrix, const std::string& type, int rows, int columns,
               const Bytes& data, std::shared_ptr<ThreadPool> pool, bool release) {
                new (matrix) PreparedMatrix(type, rows, columns, data, std::move(pool), release);
            },
            nb::arg("type"), nb::arg("rows"), nb::arg("columns"), nb::arg("data").noconvert(),
            nb::arg("pool"), nb::arg("release") = false)
        .def_prop_ro("type", [](const PreparedMatrix& matrix) { return name_of(matrix.type()); })
        .def_prop_ro("rows", [](const PreparedMatrix& matrix) { return matrix.rows(); })
        .def_prop_ro("columns", [](const PreparedMatrix& matrix) { return matrix.columns(); })
        .def_prop_ro("nbytes", [](const PreparedMatrix& matrix) { return matrix.bytes(); })
        .def("row", &row, nb::arg("index"))
        .def("multiply", &product, nb::arg("x").noconvert());

    nb::class_<KVCache>(module, "KVCache")
        .def(nb::init<int, int, int, const std::string&>(), nb::arg("layers"), nb::arg("kv_heads"),
             nb::arg("head_dim"), nb::arg("type") = "f16")
        .def_prop_ro("block_positions", [](const KVCache&) { return block_positions; })
        .def_prop_ro("block_bytes", &KVCache::block_bytes)
        .def_prop_ro("blocks_in_use", &KVCache::blocks_in_use)
        .def("allocate", &KVCache::allocate)
        .def("retain", &KVCache::retain, nb::arg("block"))
        .def("release", &KVCache::release, nb::arg("block"))
        .def("copy", &KVCache::copy, nb::arg("block"))
        .def("data", &block_data, nb::arg("block"));

    nb::class_<Adapter>(module, "Adapter")
        .def(
            "__init__",
            [](Adapter* adapter, const std::vector<NewPart>& parts) {
                new (adapter) Adapter(adapter_parts(parts));
            },
            nb::arg("parts").noconvert())
        .def_prop_ro("nbytes", &Adapter::bytes);

    nb::class_<Executor>(module, "Executor")
        .def(
            "__init__",
            [](Executor* executor, std::shared_ptr<ThreadPool> pool, std::shared_ptr<KVCache> cache,
               std::vector<int> buffers, int heads, int kv_heads, int head_dim, float norm_eps,
               float attention_scale, int window, const std::vector<Floats>& inverse_frequencies,
               float rope_scale, bool rope_adjacent) {
                RopeShape rope{{}, rope_scale, rope_adjacent};
                for (const Floats& set : inverse_frequencies) {
                    rope.inverse_frequencies.push_back(copied(set));
                }
                new (executor) Executor(std::move(pool), std::move(cache), std::move(buffers),
                                        {heads, kv_heads, head_dim, attention_scale, window},
                                        std::move(rope), norm_eps);
            },
            nb::arg("pool"), nb::arg("cache"), nb::arg("buffers"), nb::arg("heads"),
            nb::arg("kv_heads"), nb::arg("head_dim"), nb::arg("norm_eps"),
            nb::arg("attention_scale"), nb::arg("window"), nb::arg("inverse_frequencies").noconvert(),
            nb::arg("rope_scale"), nb::arg("rope_adjacent"))
        .def(
            "embed",
            [](Executor& executor, int output, std::shared_ptr<PreparedMatrix> weight) {
                executor.embed(output, std::move(weight));
            },
            nb::arg("output"), nb::arg("weight"))
        .def("project", &project, nb::arg("input"), nb::arg("output"), nb::arg("weights"),
             nb::arg("biases").noconvert(), nb::arg("norm").none().noconvert(), nb::arg("gate"),
             nb::arg("add"))
        .def("attend", &Executor::attend, nb::arg("input"), nb::arg("output"), nb::arg("layer"))
        .def("pick", &Executor::pick, nb::arg("input"), nb::arg("output"))
        .def("run", &run, nb::arg("tokens").noconvert(), nb::arg("segments").noconvert(),
             nb::arg("picks").noconvert(),
             nb::arg("adapters") = std::vector<std::shared_ptr<Adapter>>());

    define_quantise(module);
}
