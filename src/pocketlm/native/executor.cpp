#include "executor.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace pocketlm {
namespace {

void require(bool holds, const char* what) {
    if (!holds) {
        throw std::invalid_argument(what);
    }
}

// __restrict lets the compiler use vectors here.
template <typename Count>
inline void add_floats(const float* __restrict from, Count count, float* __restrict to) {
    for (int i = 0; i < count; ++i) {
        to[i] += from[i];
    }
}

template <typename Count>
inline void copy_floats(const float* __restrict from, Count count, float* __restrict to) {
    for (int i = 0; i < count; ++i) {
        to[i] = from[i];
    }
}

// Turn the pairs (x[i], y[i]), numbers of either `stride` apart.
template <int stride>
inline void turn_pairs(float* __restrict x, float* __restrict y, const float* __restrict cosines,
                       const float* __restrict sines, int count) {
    for (int i = 0; i < count; ++i) {
        const float a = x[i * stride];
        const float b = y[i * stride];
        x[i * stride] = a * cosines[i] - b * sines[i];
        y[i * stride] = b * cosines[i] + a * sines[i];
    }
}

}  // namespace

Executor::Executor(std::shared_ptr<ThreadPool> pool, std::shared_ptr<KVCache> cache,
                   std::vector<int> buffer_widths, AttentionShape shape, RopeShape rope,
                   float norm_epsilon)
    : pool_(std::move(pool)),
      cache_(std::move(cache)),
      widths_(std::move(buffer_widths)),
      shape_(shape),
      rope_(std::move(rope)),
      norm_epsilon_(norm_epsilon),
      buffers_(widths_.size()),
      inputs_(static_cast<size_t>(1 + pool_->threads())) {
    // Within these limits no product of counts and widths overflows.
    require(shape.heads > 0 && shape.heads <= (1 << 16), "the number of heads is out of range");
    require(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0,
            "the number of heads is not a multiple of the number of key and value heads");
    require(cache_->heads() == shape.kv_heads && cache_->head_dim() == shape.head_dim,
            "the cache has another shape than the program's attention");
    require(shape.window >= 0, "the window is negative");
    require(!rope_.inverse_frequencies.empty(), "no rotary frequencies");
    const size_t half = rope_.inverse_frequencies[0].size();
    for (const std::vector<float>& set : rope_.inverse_frequencies) {
        require(set.size() == half, "the sets of rotary frequencies differ in length");
    }
    require(2 * half <= static_cast<size_t>(shape.head_dim), "more rotary floats than a head has");
    rotary_half_ = static_cast<int>(half);
    for (int width : widths_) {
        require(width > 0 && width <= (1 << 24), "a buffer's width is out of range");
    }
    for (int thread = 0; thread < pool_->threads(); ++thread) {
        scratch_.emplace_back(cache_->padded_dim());
    }
}

void Executor::append(Operation operation) {
    operation.place = operations_.size();
    operations_.push_back(std::move(operation));
    phases_.emplace_back();
}

void Executor::embed(int output, std::shared_ptr<const Matrix> weight) {
    require(operations_.empty(), "a program begins with its one embedding");
    require(output >= 0 && output < static_cast<int>(widths_.size()), "no such buffer");
    require(weight->columns() == width(output), "the embedding is not as wide as its buffer");
    Operation operation;
    operation.kind = Kind::Embed;
    operation.output = output;
    operation.weights.push_back(std::move(weight));
    append(std::move(operation));
}

void Executor::project(int input, int output, std::vector<std::shared_ptr<const Matrix>> weights,
                       std::vector<std::vector<float>> biases, std::vector<float> norm, bool gate,
                       bool add) {
    const int buffer_count = static_cast<int>(widths_.size());
    require(!operations_.empty(), "a program begins with an embedding");
    require(input >= 0 && input < buffer_count && output >= 0 && output < buffer_count &&
                input != output,
            "no such buffer, or one that is both input and output");
    require(!weights.empty(), "a projection needs a weight");
    require(biases.empty() || biases.size() == weights.size(), "biases do not match the weights");
    require(norm.empty() || norm.size() == static_cast<size_t>(width(input)),
            "the norm is not as long as the input is wide");
    int rows = 0;
    Operation operation;
    for (size_t i = 0; i < weights.size(); ++i) {
        require(weights[i]->columns() == width(input), "a weight is not as wide as the input");
        require(biases.empty() || biases[i].empty() ||
                    biases[i].size() == static_cast<size_t>(weights[i]->rows()),
                "a bias is not as long as its weight has rows");
        rows += weights[i]->rows();
        require(rows <= (1 << 24), "the weights have too many rows");
        operation.quantised |= in_panels(weights[i]->type());
    }
    if (gate) {
        require(weights.size() == 2 && weights[0]->rows() == weights[1]->rows(),
                "a gate needs two weights of equal shape");
        rows /= 2;
    }
    require(rows == width(output), "the weights have not as many rows as the output is wide");
    operation.kind = Kind::Project;
    operation.picked = operations_.back().picked || operations_.back().kind == Kind::Pick;
    for (const std::shared_ptr<const Matrix>& weight : weights) {
        projected_bytes_ += operation.picked ? 0 : weight->bytes();
    }
    operation.input = input;
    operation.output = output;
    operation.weights = std::move(weights);
    operation.biases = std::move(biases);
    operation.norm = std::move(norm);
    operation.gate = gate;
    operation.add = add;
    append(std::move(operation));
}

void Executor::attend(int input, int output, int layer) {
    const int buffer_count = static_cast<int>(widths_.size());
    require(!operations_.empty() && !operations_.back().picked &&
                operations_.back().kind != Kind::Pick,
            "attention needs all rows");
    require(input >= 0 && input < buffer_count && output >= 0 && output < buffer_count,
            "no such buffer");
    require(width(input) == (shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim &&
                width(output) == shape_.heads * shape_.head_dim,
            "attention's buffers do not have its shape");
    require(layer >= 0 && layer < cache_->layers(), "the cache has no such layer");
    Operation operation;
    operation.kind = Kind::Attend;
    operation.input = input;
    operation.output = output;
    operation.layer = layer;
    append(std::move(operation));
}

void Executor::pick(int input, int output) {
    const int buffer_count = static_cast<int>(widths_.size());
    require(!operations_.empty() && !operations_.back().picked &&
                operations_.back().kind != Kind::Pick,
            "rows are picked once");
    require(input >= 0 && input < buffer_count && output >= 0 && output < buffer_count &&
                input != output && width(input) == width(output),
            "no such buffer, or of another width, or one that is both input and output");
    Operation operation;
    operation.kind = Kind::Pick;
    operation.input = input;
    operation.output = output;
    append(std::move(operation));
}

int Executor::output_width() const {
    require(!operations_.empty() && operations_.back().picked,
            "a program ends with a projection of the picked rows");
    // The result has room for the picked rows alone.
    const int last = operations_.back().output;
    for (const Operation& operation : operations_) {
        const bool writes_all = !operation.picked && operation.kind != Kind::Pick;
        require(operation.picked || (operation.input != last &&
                                     !(writes_all && operation.output == last)),
                "the last buffer written is used for all rows too");
    }
    return width(last);
}

float* Executor::row_of(int buffer, int row) {
    float* base = buffer == operations_.back().output ? step_.out
                                                       : buffers_[static_cast<size_t>(buffer)].data();
    return base + static_cast<size_t>(row) * static_cast<size_t>(width(buffer));
}

void Executor::check(const int32_t* tokens, int count, const std::vector<Segment>& segments,
                     const int32_t* picks, int pick_count) const {
    const int vocabulary = operations_.front().weights.front()->rows();
    for (int i = 0; i < count; ++i) {
        require(tokens[i] >= 0 && tokens[i] < vocabulary, "a token is outside the vocabulary");
    }
    int total = 0;
    for (const Segment& segment : segments) {
        require(segment.count > 0 && segment.count <= count - total,
                "the segments do not add up to the tokens");
        total += segment.count;
        require(segment.rope_set >= 0 && static_cast<size_t>(segment.rope_set) <
                                             rope_.inverse_frequencies.size(),
                "no such set of rotary frequencies");
        require(segment.position >= 0 && segment.position < (1 << 28), "a position is out of range");
        const int end = segment.position + segment.count;
        require((end + block_positions - 1) / block_positions <= segment.block_count,
                "a segment's block table is too short");
        const int first =
            shape_.window == 0 ? 0 : std::max(0, segment.position - shape_.window + 1);
        for (int block = first / block_positions; block * block_positions < end; ++block) {
            require(cache_->holds(segment.blocks[block]),
                    "a segment needs a block that the cache does not hold");
        }
        if (segment.adapter != nullptr) {
            check(*segment.adapter);
        }
    }
    require(total == count, "the segments do not add up to the tokens");
    for (int i = 0; i < pick_count; ++i) {
        require(picks[i] >= 0 && picks[i] < count && (i == 0 || picks[i] > picks[i - 1]),
                "the picks are not ascending indices into the tokens");
    }
}

void Executor::check(const Adapter& adapter) const {
    for (const Adapter::Part& part : adapter.parts()) {
        const size_t place = static_cast<size_t>(part.operation);
        require(place < operations_.size() && operations_[place].kind == Kind::Project &&
                    !operations_[place].picked,
                "an adapter adds to what is no projection of all rows");
        const Operation& operation = operations_[place];
        require(part.down->columns() == width(operation.input) &&
                    part.ups.size() == operation.weights.size(),
                "an adapter is for another program");
        for (size_t i = 0; i < part.ups.size(); ++i) {
            require(part.ups[i].rank == 0 || part.ups[i].rows == operation.weights[i]->rows(),
                    "an adapter is for another program");
        }
    }
}

void Executor::run(const int32_t* tokens, int count, const std::vector<Segment>& segments,
                   const int32_t* picks, int pick_count, float* out) {
    output_width();
    check(tokens, count, segments, picks, pick_count);
    if (count == 0) {
        return;
    }
    const Lock lock(running_);
    step_ = {tokens, count, picks, pick_count, out};
    plan(segments);
    pool_->run([&](int thread) { run_operations(thread); });
}

void Executor::run_operations(int thread) {
    const int threads = pool_->threads();
    run_phase(rope_phase_, thread, threads, [&](int first, int last) { run_rope(first, last); });
    for (size_t i = 0; i < operations_.size(); ++i) {
        const Operation& operation = operations_[i];
        switch (operation.kind) {
            case Kind::Embed:
                run_embed(operation, phases_[i], thread);
                break;
            case Kind::Project:
                run_project(operation, phases_[i], thread);
                break;
            case Kind::Attend:
                run_attend(operation, phases_[i], thread);
                break;
            case Kind::Pick:
                run_pick(operation, phases_[i]);
                break;
        }
    }
}

// The angle is a product of float32 numbers, as the reference computes it.
void Executor::run_rope(int first, int last) {
    for (int row = first; row < last; ++row) {
        const size_t set = static_cast<size_t>(segment_of_[static_cast<size_t>(row)]->rope_set);
        const std::vector<float>& frequencies = rope_.inverse_frequencies[set];
        const float position = static_cast<float>(positions_[static_cast<size_t>(row)]);
        for (int i = 0; i < rotary_half_; ++i) {
            const float angle = position * frequencies[static_cast<size_t>(i)];
            const size_t at = static_cast<size_t>(row * rotary_half_ + i);
            cosines_[at] = static_cast<float>(std::cos(static_cast<double>(angle))) * rope_.scale;
            sines_[at] = static_cast<float>(std::sin(static_cast<double>(angle))) * rope_.scale;
        }
    }
}

void Executor::run_embed(const Operation& operation, Phases& phases, int thread) {
    run_phase(phases.work, thread, pool_->threads(), [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            operation.weights[0]->row(step_.tokens[row], row_of(operation.output, row));
        }
    });
}

void Executor::run_pick(const Operation& operation, Phases& phases) {
    run_phase(phases.work, [&](int first, int last) {
        for (int row = first; row < last; ++row) {
            const float* from = row_of(operation.input, step_.picks[row]);
            std::copy_n(from, width(operation.output), row_of(operation.output, row));
        }
    });
}

void Executor::run_project(const Operation& operation, Phases& phases, int thread) {
    const int threads = pool_->threads();
    run_phase(phases.ready, thread, threads, [&](int first, int last) {
        prepare_rows(operation, first, last, inputs_[0]);
    });
    const bool alone = rows_of(operation) == 1;
    Inputs& inputs = inputs_[alone ? static_cast<size_t>(1 + thread) : 0];
    bool ready = !alone;
    const std::vector<RowShare>& shares = shares_of(operation);
    const int panels = panels_of(operation);
    run_phase(phases.work, thread, threads, [&](int first, int last) {
        if (!ready) {
            // Not before there is a task: until that is done, nobody overwrites the input.
            prepare_rows(operation, 0, 1, inputs);
            ready = true;
        }
        const int share = first / panels;
        project_panels(operation, shares[static_cast<size_t>(share)].tiles, first - share * panels,
                       last - share * panels, inputs);
    });
}

// The panels first … last - 1 of the weights' rows, joined, times the rows of `tiles`.
void Executor::project_panels(const Operation& operation, const std::vector<RowTile>& tiles,
                              int first, int last, const Inputs& inputs) {
    const size_t weight_count = operation.gate ? 1 : operation.weights.size();
    float one[largest_tile * panel_rows];
    float two[largest_tile * panel_rows];
    for (const RowTile& tile : tiles) {
        int base = 0;    // the first panel of the weight
        int column = 0;  // and where its rows begin in the output
        for (size_t i = 0; i < weight_count; ++i) {
            const Matrix& weight = *operation.weights[i];
            const auto write = [&](int panel, const float* values) {
                write_panel(operation, column + panel * panel_rows, weight.rows_in(panel), tile,
                            values);
            };
            const int end = std::min(last - base, weight.panels());
            for (int panel = std::max(first - base, 0); panel < end; ++panel) {
                if (operation.gate) {
                    multiply_tiles(operation, {0, panel, one}, {1, panel, two}, tile, inputs);
                    pool_->kernels().gate(one, two, tile.size * panel_rows, one);
                    write(panel, one);
                } else if (panel + 1 < end) {
                    multiply_tiles(operation, {i, panel, one}, {i, panel + 1, two}, tile, inputs);
                    write(panel, one);
                    write(++panel, two);
                } else {
                    multiply_tile(operation, {i, panel, one}, tile, inputs);
                    write(panel, one);
                }
            }
            base += weight.panels();
            column += weight.rows();
        }
    }
}

// Normalise the rows first … last - 1, and quantise them if a weight is prepared.
void Executor::prepare_rows(const Operation& operation, int first, int last, Inputs& inputs) {
    const Kernels& kernels = pool_->kernels();
    const int columns = width(operation.input);
    auto share = shares_of(operation).begin();
    while (first >= share->last) {
        ++share;
    }
    auto tile = share->tiles.begin();
    for (int i = first; i < last; ++i) {
        while (i >= tile->first + tile->size) {
            ++tile;
        }
        const float* row = row_of(operation.input, i);
        if (!operation.norm.empty()) {
            float* normalised = inputs.normalised.data() +
                                static_cast<size_t>(i) * static_cast<size_t>(columns);
            kernels.normalise(row, operation.norm.data(), norm_epsilon_, columns, normalised);
            row = normalised;
        }
        if (operation.quantised) {
            inputs.quantised.quantise(kernels, row, columns, *tile, i - tile->first);
        }
    }
    if (lowered_width_ > 0 && !operation.picked) {
        lower_rows(operation, first, last, inputs);
    }
}

// What comes down of the rows first … last - 1, for those that have an adapter.
void Executor::lower_rows(const Operation& operation, int first, int last, Inputs& inputs) {
    constexpr int together = 8;
    float values[together * panel_rows];
    while (first < last) {
        const Adapted own = adapted(first, std::min(first + together, last));
        const Adapter::Part* part = own.adapter ? own.adapter->part(operation.place) : nullptr;
        for (int panel = 0; part != nullptr && panel < part->down->panels(); ++panel) {
            const Matrix& down = *part->down;
            pool_->kernels().multiply_rows[static_cast<int>(down.type())](
                down.stored_rows(panel), down.stride(), down.rows_in(panel), down.columns(),
                float_rows(operation, first, inputs), own.last - first, values);
            for (int row = first; row < own.last; ++row) {
                std::copy_n(values + (row - first) * panel_rows, down.rows_in(panel),
                            inputs.lowered.data() + static_cast<size_t>(row) * lowered_width_ +
                                panel * panel_rows);
            }
        }
        first = own.last;
    }
}

// The adapter of row `first`, and the first row after it, up to `last`, that has another.
Executor::Adapted Executor::adapted(int first, int last) const {
    const size_t row = static_cast<size_t>(first);
    return {segment_of_[row]->adapter, std::min(adapted_ends_[row], last)};
}

// The rows from `first` on as weights read them that are not prepared: float32.
const float* Executor::float_rows(const Operation& operation, int first, const Inputs& inputs) {
    if (operation.norm.empty()) {
        return row_of(operation.input, first);
    }
    return inputs.normalised.data() +
           static_cast<size_t>(first) * static_cast<size_t>(width(operation.input));
}

// product.out[tile.size][16] = its panel times the tile's rows, plus the bias and what adapters add.
void Executor::multiply_tile(const Operation& operation, const Product& product,
                             const RowTile& tile, const Inputs& inputs) {
    multiply_panel(pool_->kernels(), *operation.weights[product.weight], product.panel, tile,
                   inputs.quantised, float_rows(operation, tile.first, inputs), product.out);
    add_bias(operation, product, tile);
    add_adapters(operation, product, tile, inputs);
}

// The same twice.
void Executor::multiply_tiles(const Operation& operation, const Product& first,
                              const Product& second, const RowTile& tile, const Inputs& inputs) {
    multiply_panels(pool_->kernels(), {*operation.weights[first.weight], first.panel},
                    {*operation.weights[second.weight], second.panel}, tile, inputs.quantised,
                    float_rows(operation, tile.first, inputs), first.out, second.out);
    add_bias(operation, first, tile);
    add_bias(operation, second, tile);
    add_adapters(operation, first, tile, inputs);
    add_adapters(operation, second, tile, inputs);
}

void Executor::add_bias(const Operation& operation, const Product& product, const RowTile& tile) {
    if (operation.biases.empty() || operation.biases[product.weight].empty()) {
        return;
    }
    const float* bias = operation.biases[product.weight].data() + product.panel * panel_rows;
    const int rows = operation.weights[product.weight]->rows_in(product.panel);
    for (int token = 0; token < tile.size; ++token) {
        for (int row = 0; row < rows; ++row) {
            product.out[token * panel_rows + row] += bias[row];
        }
    }
}

void Executor::add_adapters(const Operation& operation, const Product& product,
                            const RowTile& tile, const Inputs& inputs) const {
    if (lowered_width_ == 0 || operation.picked) {
        return;
    }
    const int last = tile.first + tile.size;
    for (int first = tile.first; first < last;) {
        const Adapted own = adapted(first, last);
        const Adapter::Part* part = own.adapter ? own.adapter->part(operation.place) : nullptr;
        if (part != nullptr && part->ups[product.weight].rank > 0) {
            const Adapter::Up& up = part->ups[product.weight];
            pool_->kernels().add_low_rank(
                up.panel(product.panel), up.rank,
                inputs.lowered.data() + static_cast<size_t>(first) * lowered_width_ + up.first,
                lowered_width_, own.last - first, product.out + (first - tile.first) * panel_rows);
        }
        first = own.last;
    }
}

void Executor::write_panel(const Operation& operation, int column, int columns, const RowTile& tile,
                           const float* values) {
    float* const out = row_of(operation.output, tile.first) + column;
    const size_t stride = static_cast<size_t>(width(operation.output));
    const auto write = [&](auto count) {
        for (size_t token = 0; token < static_cast<size_t>(tile.size); ++token) {
            const float* const from = values + token * panel_rows;
            if (operation.add) {
                add_floats(from, count, out + token * stride);
            } else {
                copy_floats(from, count, out + token * stride);
            }
        }
    };
    if (columns == panel_rows) {
        // A number that the compiler knows: a few vectors instead of a loop.
        write(std::integral_constant<int, panel_rows>{});
    } else {
        write(columns);
    }
}

void Executor::rotate(float* head, const float* cosines, const float* sines) const {
    if (rope_.adjacent) {
        turn_pairs<2>(head, head + 1, cosines, sines, rotary_half_);
    } else {
        turn_pairs<1>(head, head + rotary_half_, cosines, sines, rotary_half_);
    }
}

void Executor::run_attend(const Operation& operation, Phases& phases, int thread) {
    const int threads = pool_->threads();
    run_phase(phases.ready, thread, threads, [&](int first, int last) {
        const int heads = shape_.heads + shape_.kv_heads;
        for (int item = first; item < last; ++item) {
            turn_and_store(operation, item / heads, item % heads);
        }
    });
    const int head_tasks = shape_.heads / heads_together_;
    run_phase(phases.work, thread, threads, [&](int first, int last) {
        for (int task = first; task < last; ++task) {
            attend_stretch(operation, static_cast<size_t>(task / head_tasks), task % head_tasks,
                           scratch_[static_cast<size_t>(thread)]);
        }
    });
}

// Turn a row's query or key head by its position; a key goes into the cache with its value.
void Executor::turn_and_store(const Operation& operation, int row, int head) {
    float* const input = row_of(operation.input, row) + head * shape_.head_dim;
    const size_t angles = static_cast<size_t>(row * rotary_half_);
    rotate(input, cosines_.data() + angles, sines_.data() + angles);
    if (head >= shape_.heads) {
        const int position = positions_[static_cast<size_t>(row)];
        const int32_t* blocks = segment_of_[static_cast<size_t>(row)]->blocks;
        cache_->store(blocks[position / block_positions], operation.layer, head - shape_.heads,
                      position % block_positions, input,
                      input + shape_.kv_heads * shape_.head_dim, pool_->kernels());
    }
}

void Executor::attend_stretch(const Operation& operation, size_t index, int head_task,
                              AttentionScratch& scratch) {
    const Stretch& stretch = stretches_[index];
    const QueryTile& tile = *stretch.tile;
    const int head = head_task * heads_together_;
    Query queries[attention_rows];
    int count = 0;
    for (int i = 0; i < tile.count; ++i) {
        const int position = tile.position + i;
        for (int h = head; h < head + heads_together_; ++h) {
            queries[count++] = {row_of(operation.input, tile.row + i) + h * shape_.head_dim,
                                row_of(operation.output, tile.row + i) + h * shape_.head_dim,
                                oldest_seen(position), position};
        }
    }
    const Attention attention(*cache_, tile.segment->blocks, operation.layer,
                              head / (shape_.heads / shape_.kv_heads), queries, count, shape_.scale,
                              pool_->kernels(), scratch);
    if (stretch.count == 0) {
        attention.attend_all();
        return;
    }
    const size_t head_tasks = static_cast<size_t>(shape_.heads / heads_together_);
    const auto partial = [&](size_t i) {
        const size_t slot = i * head_tasks + static_cast<size_t>(head_task);
        return Softmaxes(partials_.data() + slot * partial_floats_, count, cache_->padded_dim());
    };
    attention.attend(stretch.first + stretch.index, partial(index));
    // Whoever comes last adds up, in the order of the positions.
    std::atomic<int>& arrived =
        arrived_[stretch.tile_index * head_tasks + static_cast<size_t>(head_task)];
    if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 < stretch.count) {
        return;
    }
    arrived.store(0, std::memory_order_relaxed);
    const size_t first = index - static_cast<size_t>(stretch.index);
    for (size_t i = first + 1; i < first + static_cast<size_t>(stretch.count); ++i) {
        partial(first).add(partial(i), pool_->kernels());
    }
    partial(first).write(queries, shape_.head_dim);
}

}  // namespace pocketlm
