#include "model.h"

#include <cmath>
#include <map>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "error.h"
#include "half.h"
#include "unpack.h"
#include "vocabulary.h"

namespace pocketlm {
namespace {

constexpr int most_threads = 1024;

bool is_float(Type type) { return type == Type::F32 || type == Type::F16 || type == Type::BF16; }

// Where rows `start` … `start + rows` of a tensor lie.
struct Place {
    uint64_t offset;
    size_t bytes;
};

Place place_of(const Weight& weight) {
    const uint64_t total = weight.tensor->shape[0];
    const size_t row = weight.tensor->bytes / static_cast<size_t>(total);
    return {weight.tensor->offset + static_cast<uint64_t>(row) * static_cast<uint64_t>(weight.start),
            static_cast<uint64_t>(weight.rows) == total ? weight.tensor->bytes
                                                        : row * static_cast<size_t>(weight.rows)};
}

std::shared_ptr<ThreadPool> make_pool(const ModelOptions& options) {
    const int threads = options.threads == 0 ? default_threads() : options.threads;
    if (threads < 1 || threads > most_threads) {
        refuse(Fault::argument, "threads is " + std::to_string(threads) + "; it must be 1 to " +
                                    std::to_string(most_threads) + ", or 0 for the physical cores");
    }
    try {
        return std::make_shared<ThreadPool>(threads, options.instruction_set);
    } catch (const std::invalid_argument& error) {
        refuse(Fault::argument, error.what());
    }
}

std::shared_ptr<KVCache> make_cache(const Program& program, const std::string& type) {
    try {
        // One that no model refuses, so that a model's shape is not taken for a wrong type.
        KVCache(1, 1, 32, type);
        if (type.find("q4") != std::string::npos && program.head_dim % 32 != 0) {
            refuse(Fault::argument, "cache type " + type +
                                        " needs heads of a multiple of 32 numbers; this model's have " +
                                        std::to_string(program.head_dim) + ": use q8");
        }
    } catch (const std::invalid_argument& error) {
        refuse(Fault::argument, error.what());
    }
    try {
        return std::make_shared<KVCache>(program.layers, program.kv_heads, program.head_dim, type);
    } catch (const std::invalid_argument& error) {
        refuse(Fault::file, error.what());
    }
}

}  // namespace

// Makes an executor of a program: each weight a matrix, once; each operation a call.
class Model::Binder {
  public:
    explicit Binder(Model& model) : model_(model) {}

    void bind() {
        for (const Operation& operation : model_.program_.operations) {
            append(operation);
        }
    }

  private:
    void append(const Operation& operation) {
        Executor& executor = *model_.executor_;
        switch (operation.kind) {
            case Operation::Kind::embed:
                executor.embed(operation.output, matrix(operation.layers[0].weight));
                break;
            case Operation::Kind::attend:
                executor.attend(operation.input, operation.output, operation.layer);
                break;
            case Operation::Kind::pick:
                executor.pick(operation.input, operation.output);
                break;
            case Operation::Kind::project: {
                std::vector<std::shared_ptr<const Matrix>> weights;
                std::vector<std::vector<float>> biases;
                for (const Linear& layer : operation.layers) {
                    weights.push_back(matrix(layer.weight));
                    biases.push_back(layer.bias ? vector(*layer.bias) : std::vector<float>());
                }
                executor.project(operation.input, operation.output, std::move(weights),
                                 std::move(biases),
                                 operation.norm ? vector(*operation.norm) : std::vector<float>(),
                                 operation.gate, operation.add);
                break;
            }
        }
    }

    std::shared_ptr<const Matrix> matrix(const Weight& weight) {
        std::shared_ptr<const Matrix>& made = matrices_[{weight.tensor, weight.start}];
        if (made == nullptr) {
            const Place place = place_of(weight);
            const Type type = *weight.tensor->type;
            Source& source = *model_.source_;
            // Kernels read floats and panels as the file has them.
            const bool keep = is_float(type) || is_stored_as_panels(type);
            const uint8_t* const data = source.bytes(place.offset, place.bytes, keep);
            try {
                made = std::make_shared<Matrix>(type, weight.rows, weight.columns, data, place.bytes,
                                                *model_.pool_, source.is_mapped() && !keep);
            } catch (const std::invalid_argument& error) {
                refuse(Fault::file, "tensor " + shown(weight.tensor->name) + ": " + error.what());
            }
            model_.weight_bytes_ += made->bytes();
            model_.mapped_bytes_ += keep && source.is_whole() ? made->bytes() : 0;
        }
        return made;
    }

    std::vector<float> vector(const Weight& weight) const {
        const Type type = *weight.tensor->type;
        if (!is_float(type)) {
            refuse(Fault::unsupported, "tensor " + shown(weight.tensor->name) +
                                           " is a vector of type " + weight.tensor->type_name);
        }
        const size_t size = type == Type::F32 ? 4 : 2;
        const size_t bytes = size * static_cast<size_t>(weight.rows);
        const uint8_t* at = model_.source_->bytes(
            weight.tensor->offset + size * static_cast<size_t>(weight.start), bytes, false);
        std::vector<float> numbers(static_cast<size_t>(weight.rows));
        for (float& number : numbers) {
            number = type == Type::F32   ? float_from_bits(read_u32(at))
                     : type == Type::F16 ? float_from_f16(read_u16(at))
                                         : float_from_bf16(read_u16(at));
            at += size;
            if (!std::isfinite(number)) {
                refuse(Fault::file, "tensor " + shown(weight.tensor->name) +
                                        " holds values that are not finite");
            }
        }
        return numbers;
    }

    Model& model_;
    std::map<std::pair<const GgufTensor*, int>, std::shared_ptr<const Matrix>> matrices_;
};

std::shared_ptr<Model> Model::load(std::unique_ptr<Source> source, const ModelOptions& options) {
    const Gguf file(*source);
    return std::shared_ptr<Model>(new Model(std::move(source), file, options));
}

Model::Model(std::unique_ptr<Source> source, const Gguf& file, const ModelOptions& options)
    : source_(std::move(source)),
      program_(build_program(file)),
      tokenizer_(read_tokenizer(file)),
      name_(file.text("general.name").value_or("")),
      chat_template_(file.text("tokenizer.chat_template").value_or("")),
      ends_(end_tokens(file, tokenizer_)),
      pool_(make_pool(options)),
      cache_(make_cache(program_, options.cache_type)) {
    for (int32_t id = 0; id < program_.vocab_size; ++id) {
        if (id >= tokenizer_.size() || tokenizer_.is_unused(id)) {
            banned_.push_back(id);
        }
    }
    try {
        executor_ = std::make_unique<Executor>(
            pool_, cache_, program_.buffer_widths,
            AttentionShape{program_.heads, program_.kv_heads, program_.head_dim,
                           program_.attention_scale, program_.window},
            RopeShape{program_.inverse_frequencies, program_.rope_scale, program_.rope_adjacent},
            program_.norm_epsilon);
        Binder(*this).bind();
    } catch (const std::invalid_argument& error) {
        refuse(Fault::file, error.what());
    }
    program_.operations.clear();
    source_->forget();
}

void Model::run(const int32_t* tokens, int count, int position, int rope_set,
                const std::vector<int32_t>& blocks, float* logits) {
    const Segment segment{count, position, rope_set, blocks.data(), static_cast<int>(blocks.size())};
    const int32_t pick = count - 1;
    executor_->run(tokens, count, {segment}, &pick, logits == nullptr ? 0 : 1, logits);
}

}  // namespace pocketlm
