// What a step is made of: everything that allocates, before the threads start.
#include <algorithm>

#include "executor.h"

namespace pocketlm {
namespace {

// Rows that a thread makes ready before it takes more.
constexpr int ready_rows = 8;

// Rows are worth a share of their own, whose thread reads and unpacks all weights for itself, if there
// is one for each of these bytes of a layer's weights (measured where a line takes long from one
// core's cache to another's), and at least so many.
constexpr size_t share_bytes = size_t{1} << 20;
constexpr int least_share_rows = 8;

// Weights that a thread multiplies with all rows before it takes more: they stay in its cache.
constexpr size_t task_bytes = size_t{192} << 10;

template <typename T>
void grow(std::vector<T>& vector, size_t size) {
    if (vector.size() < size) {
        vector.resize(size);
    }
}

}  // namespace

void Executor::plan(const std::vector<Segment>& segments) {
    const int count = step_.count;
    const size_t rows = static_cast<size_t>(count);
    for (size_t i = 0; i < buffers_.size(); ++i) {
        if (static_cast<int>(i) != operations_.back().output) {
            grow(buffers_[i], rows * static_cast<size_t>(widths_[i]));
        }
    }
    int widest = 0;
    for (const Operation& operation : operations_) {
        if (operation.kind == Kind::Project) {
            widest = std::max(widest, width(operation.input));
        }
    }
    for (size_t i = 0; i < inputs_.size(); ++i) {
        const int held = i == 0 ? count : 1;
        inputs_[i].quantised.reserve(held, widest);
        grow(inputs_[i].normalised, static_cast<size_t>(held) * static_cast<size_t>(widest));
    }
    plan_adapters(segments);
    plan_shares();
    grow(cosines_, rows * static_cast<size_t>(rotary_half_));
    grow(sines_, rows * static_cast<size_t>(rotary_half_));
    segment_of_.clear();
    positions_.clear();
    query_tiles_.clear();
    const int tile = std::max(1, attention_rows * shape_.kv_heads / shape_.heads);
    for (const Segment& segment : segments) {
        const int row = static_cast<int>(positions_.size());
        for (int i = 0; i < segment.count; i += tile) {
            query_tiles_.push_back(
                {&segment, row + i, segment.position + i, std::min(tile, segment.count - i)});
        }
        for (int i = 0; i < segment.count; ++i) {
            segment_of_.push_back(&segment);
            positions_.push_back(segment.position + i);
        }
    }
    plan_attention();
    rope_phase_.reset(ends_of(shares_, 1), 16);
    for (size_t i = 0; i < operations_.size(); ++i) {
        plan_phases(operations_[i], phases_[i]);
    }
}

void Executor::plan_adapters(const std::vector<Segment>& segments) {
    int widest = 0;
    for (const Segment& segment : segments) {
        widest = std::max(widest, segment.adapter == nullptr ? 0 : segment.adapter->widest());
    }
    lowered_width_ = static_cast<size_t>(widest);
    for (size_t i = 0; i < inputs_.size(); ++i) {
        const int held = i == 0 ? step_.count : 1;
        grow(inputs_[i].lowered, static_cast<size_t>(held) * lowered_width_);
    }
    if (lowered_width_ > 0) {
        grow(adapted_ends_, static_cast<size_t>(step_.count));
        int end = step_.count;
        int first = step_.count;
        const Adapter* adapter = segments.back().adapter;
        for (size_t i = segments.size(); i-- > 0;) {
            if (segments[i].adapter != adapter) {
                adapter = segments[i].adapter;
                end = first;
            }
            first -= segments[i].count;
            std::fill_n(adapted_ends_.begin() + first, segments[i].count, end);
        }
    }
}

// Many rows are worked on by one thread each throughout: what an operation writes is in the core's cache
// when the next one reads it. Of few rows, threads share the weights instead.
void Executor::plan_shares() {
    const int tile = pool_->kernels().tile;
    const size_t worth = projected_bytes_ / static_cast<size_t>(cache_->layers()) / share_bytes;
    const int rows = std::max(static_cast<int>(std::min(worth, size_t{1} << 16)), least_share_rows);
    const int count = std::clamp(step_.count / rows, 1, std::min(pool_->threads(), Ends::most));
    shares_.clear();
    int first = 0;
    for (int i = 1; i <= count; ++i) {
        const int even = step_.count * i / count;
        const int last = i == count ? even : even / least_share_rows * least_share_rows;
        shares_.push_back({last, tile_rows(first, last, tile)});
        first = last;
    }
    picked_shares_ = {{step_.pick_count, tile_rows(0, step_.pick_count, tile)}};
}

// `count` tasks shared out among the threads: each takes its own from a counter of its own.
Ends Executor::spread(int count) const {
    const int shares = std::min(pool_->threads(), Ends::most);
    Ends ends{};
    for (int i = 1; i <= shares; ++i) {
        ends.add(count * i / shares);
    }
    return ends;
}

// The ends of the shares' tasks, if each row has so many.
Ends Executor::ends_of(const std::vector<RowShare>& shares, int tasks_a_row) const {
    if (shares.size() == 1) {
        return spread(shares.front().last * tasks_a_row);
    }
    Ends ends{};
    for (const RowShare& share : shares) {
        ends.add(share.last * tasks_a_row);
    }
    return ends;
}

// Few queries over many positions: threads share the positions too.
void Executor::plan_attention() {
    stretches_.clear();
    const auto stretches_of = [&](const QueryTile& tile) {
        return (tile.position + tile.count - 1) / stretch_positions -
               oldest_seen(tile.position) / stretch_positions + 1;
    };
    int total = 0;
    int rows = 0;
    for (const QueryTile& tile : query_tiles_) {
        total += stretches_of(tile);
        rows = std::max(rows, tile.count);
    }
    const int enough = 4 * pool_->threads();
    const int tiles = static_cast<int>(query_tiles_.size());
    const int group = shape_.heads / shape_.kv_heads;
    // Heads that share keys go together, unless that leaves threads without work.
    const bool together = group <= attention_rows && total * shape_.kv_heads >= enough;
    heads_together_ = together ? group : 1;
    const int head_tasks = shape_.heads / heads_together_;
    const bool share = tiles * head_tasks < enough && total > tiles;
    partial_floats_ = 0;
    const auto add = [&](size_t tile) {
        if (!share) {
            stretches_.push_back({&query_tiles_[tile], tile, 0, 0, 0});
            return;
        }
        const int first = oldest_seen(query_tiles_[tile].position) / stretch_positions;
        const int count = stretches_of(query_tiles_[tile]);
        for (int i = 0; i < count; ++i) {
            stretches_.push_back({&query_tiles_[tile], tile, first, i, count});
        }
    };
    // The last positions of a share see most: they go first, so that threads end together.
    size_t begin = 0;
    stretch_ends_ = {};
    for (const RowShare& own : shares_) {
        size_t end = begin;
        while (end < query_tiles_.size() && query_tiles_[end].row < own.last) {
            ++end;
        }
        for (size_t tile = end; tile-- > begin;) {
            add(tile);
        }
        stretch_ends_.add(static_cast<int>(stretches_.size()));
        begin = end;
    }
    if (share) {
        partial_floats_ = Softmaxes::floats(rows * heads_together_, cache_->padded_dim());
        grow(partials_, stretches_.size() * static_cast<size_t>(head_tasks) * partial_floats_);
        while (arrived_.size() < static_cast<size_t>(tiles * head_tasks)) {
            arrived_.emplace_back(0);
        }
    }
}

int Executor::oldest_seen(int position) const {
    return shape_.window == 0 ? 0 : std::max(0, position - shape_.window + 1);
}

int Executor::panels_of(const Operation& operation) {
    int panels = 0;
    for (const std::shared_ptr<const Matrix>& weight : operation.weights) {
        panels += weight->panels();
    }
    return operation.gate ? panels / 2 : panels;
}

void Executor::plan_phases(const Operation& operation, Phases& phases) const {
    const int threads = pool_->threads();
    const int rows = rows_of(operation);
    switch (operation.kind) {
        case Kind::Embed:
            phases.work.reset(ends_of(shares_, 1), 4);
            break;
        case Kind::Pick:
            phases.work.reset(step_.pick_count, 16);
            break;
        case Kind::Attend: {
            const int heads = shape_.heads + shape_.kv_heads;
            phases.ready.reset(ends_of(shares_, heads), std::max(1, rows * heads / (4 * threads)));
            const int head_tasks = shape_.heads / heads_together_;
            Ends ends{};
            for (int i = 0; i < stretch_ends_.count(); ++i) {
                ends.add(stretch_ends_[i] * head_tasks);
            }
            phases.work.reset(ends.count() == 1 ? spread(ends[0]) : ends, 1);
            break;
        }
        case Kind::Project: {
            // One row is made ready by each thread for itself: quicker than waiting for another.
            const std::vector<RowShare>& shares = shares_of(operation);
            // With an adapter a row is more work: few rows are shared out.
            const int step = lowered_width_ == 0 ? ready_rows
                                                 : std::clamp(rows / threads, 1, ready_rows);
            phases.ready.reset(ends_of(shares, rows == 1 ? 0 : 1), step);
            const int panels = panels_of(operation);
            size_t bytes = 0;
            for (const std::shared_ptr<const Matrix>& weight : operation.weights) {
                bytes += weight->bytes();
            }
            const int together = operation.gate ? 2 * panels : panels;
            const int fits = static_cast<int>(task_bytes * static_cast<size_t>(together) / bytes);
            // Each share's rows times all panels; of one share, the panels are shared out.
            const int share_count = static_cast<int>(shares.size());
            Ends ends{};
            if (share_count == 1) {
                ends = spread(rows == 0 ? 0 : panels);
            } else {
                for (int i = 1; i <= share_count; ++i) {
                    ends.add(i * panels);
                }
            }
            const int even = panels * share_count / (8 * threads);
            phases.work.reset(ends, std::max(1, rows == 1 ? even : std::min(even, fits)));
            break;
        }
    }
}

}  // namespace pocketlm
