// The executor: runs a program's operations over a batch of tokens, one call a step.
//
// It knows operations and buffers. It does not know models, files, or what tokens mean.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "adapter.h"
#include "attention.h"
#include "cache.h"
#include "matrix.h"
#include "mutex.h"
#include "pool.h"
#include "product.h"

namespace pocketlm {

// What all attention operations of a program share.
struct AttentionShape {
    int heads;
    int kv_heads;
    int head_dim;
    float scale;
    int window;  // positions a query sees, its own among them; 0: all
};

// Rotary positions: sets of inverse frequencies (of equal length), and what cos and sin are multiplied
// by. A head's first 2 * size floats are turned; floats 2i and 2i + 1 pair up when `adjacent`, else i
// and i + size.
struct RopeShape {
    std::vector<std::vector<float>> inverse_frequencies;
    float scale;
    bool adjacent;
};

// The next `count` tokens of a step continue one sequence from `position`; block p / 32 of its table
// holds position p. What an adapter adds, if there is one, is for this segment alone.
struct Segment {
    int count;
    int position;
    int rope_set;
    const int32_t* blocks;
    int block_count;
    const Adapter* adapter = nullptr;
};

class Executor {
  public:
    // Throws std::invalid_argument for shapes that contradict each other.
    Executor(std::shared_ptr<ThreadPool> pool, std::shared_ptr<KVCache> cache,
             std::vector<int> buffer_widths, AttentionShape shape, RopeShape rope, float norm_epsilon);

    // Append an operation (models/program.py says what each does). Throws std::invalid_argument.
    void embed(int output, std::shared_ptr<const Matrix> weight);
    void project(int input, int output, std::vector<std::shared_ptr<const Matrix>> weights,
                 std::vector<std::vector<float>> biases, std::vector<float> norm, bool gate, bool add);
    void attend(int input, int output, int layer);
    void pick(int input, int output);

    // Width in floats of what run returns a row.
    int output_width() const;

    // Run a step; `out` has pick_count rows of output_width(). Throws std::invalid_argument when a
    // token, position, block or pick is out of range, or an adapter is for another program;
    // std::bad_alloc.
    void run(const int32_t* tokens, int count, const std::vector<Segment>& segments,
             const int32_t* picks, int pick_count, float* out);

  private:
    enum class Kind { Embed, Project, Attend, Pick };

    // What an operation does in a step goes in two phases: its inputs made ready, then the rest.
    struct Operation {
        Kind kind = Kind::Embed;
        size_t place = 0;     // in the program
        bool picked = false;  // runs on the picked rows alone
        int input = -1;
        int output = -1;
        int layer = 0;
        bool gate = false;
        bool add = false;
        std::vector<std::shared_ptr<const Matrix>> weights;
        std::vector<std::vector<float>> biases;
        std::vector<float> norm;
        bool quantised = false;  // some weight is a prepared one
    };

    // Rows of a projection's input, as its weights read them.
    struct Inputs {
        QuantisedRows quantised;
        std::vector<float> normalised;
        std::vector<float> lowered;  // what adapters' projections down make of them
    };

    // A panel of one of an operation's weights, and where its product with a tile goes.
    struct Product {
        size_t weight;
        int panel;
        float* out;
    };

    // Queries of neighbouring positions of one segment.
    struct QueryTile {
        const Segment* segment;
        int row;
        int position;
        int count;
    };

    // A part of the positions that a tile of queries sees: number `index` of `count`, from stretch
    // `first` on; or, with a count of 0, all of them.
    struct Stretch {
        const QueryTile* tile;
        size_t tile_index;
        int first;
        int index;
        int count;
    };

    struct Step {
        const int32_t* tokens;
        int count;
        const int32_t* picks;
        int pick_count;
        float* out;
    };

    struct Phases {
        Phase ready;
        Phase work;
    };

    // Neighbouring rows of a step, up to `last` - 1, which one thread works on from the first
    // operation to the last.
    struct RowShare {
        int last;
        std::vector<RowTile> tiles;
    };

    void check(const int32_t* tokens, int count, const std::vector<Segment>& segments,
               const int32_t* picks, int pick_count) const;
    void check(const Adapter& adapter) const;
    void append(Operation operation);
    void plan(const std::vector<Segment>& segments);
    void plan_adapters(const std::vector<Segment>& segments);
    float* row_of(int buffer, int row);
    int width(int buffer) const { return widths_[static_cast<size_t>(buffer)]; }

    void plan_shares();
    void plan_attention();
    Ends spread(int count) const;
    Ends ends_of(const std::vector<RowShare>& shares, int tasks_a_row) const;
    void plan_phases(const Operation& operation, Phases& phases) const;
    void run_operations(int thread);
    void run_rope(int first, int last);
    void run_embed(const Operation& operation, Phases& phases, int thread);
    void run_project(const Operation& operation, Phases& phases, int thread);
    void run_attend(const Operation& operation, Phases& phases, int thread);
    void run_pick(const Operation& operation, Phases& phases);

    int rows_of(const Operation& operation) const {
        return operation.picked ? step_.pick_count : step_.count;
    }
    // Panels of the weights' rows, joined; of a gate, pairs of them.
    static int panels_of(const Operation& operation);
    const std::vector<RowShare>& shares_of(const Operation& operation) const {
        return operation.picked ? picked_shares_ : shares_;
    }
    void project_panels(const Operation& operation, const std::vector<RowTile>& tiles, int first,
                        int last, const Inputs& inputs);
    void prepare_rows(const Operation& operation, int first, int last, Inputs& inputs);
    const float* float_rows(const Operation& operation, int first, const Inputs& inputs);
    void lower_rows(const Operation& operation, int first, int last, Inputs& inputs);
    void multiply_tile(const Operation& operation, const Product& product, const RowTile& tile,
                       const Inputs& inputs);
    void multiply_tiles(const Operation& operation, const Product& first, const Product& second,
                        const RowTile& tile, const Inputs& inputs);
    static void add_bias(const Operation& operation, const Product& product, const RowTile& tile);
    void add_adapters(const Operation& operation, const Product& product, const RowTile& tile,
                      const Inputs& inputs) const;
    // Neighbouring rows of one adapter.
    struct Adapted {
        const Adapter* adapter;
        int last;
    };
    Adapted adapted(int first, int last) const;
    void write_panel(const Operation& operation, int column, int columns, const RowTile& tile,
                     const float* values);
    void rotate(float* head, const float* cosines, const float* sines) const;
    void turn_and_store(const Operation& operation, int row, int head);
    void attend_stretch(const Operation& operation, size_t index, int head_task,
                        AttentionScratch& scratch);
    // The first position that a query sees.
    int oldest_seen(int position) const;

    std::shared_ptr<ThreadPool> pool_;
    std::shared_ptr<KVCache> cache_;
    std::vector<int> widths_;
    AttentionShape shape_;
    RopeShape rope_;
    float norm_epsilon_;
    int rotary_half_;
    std::vector<Operation> operations_;
    size_t projected_bytes_ = 0;  // of the weights that all rows are multiplied with
    Mutex running_;

    // What a step works on; kept from step to step.
    Step step_{};
    std::vector<std::vector<float>> buffers_;
    std::vector<Inputs> inputs_;  // [0] is shared; [1 + thread] a thread's own, for one row
    std::vector<AttentionScratch> scratch_;
    Phase rope_phase_;
    std::deque<Phases> phases_;  // of each operation
    std::vector<const Segment*> segment_of_;  // of each row
    std::vector<int> positions_;              // of each row
    size_t lowered_width_ = 0;                // of a row; 0: no adapter
    std::vector<int> adapted_ends_;           // where a row's adapter ends; only if there is one
    std::vector<float> cosines_;
    std::vector<float> sines_;
    std::vector<RowShare> shares_;
    std::vector<RowShare> picked_shares_;  // one, of all picked rows
    std::vector<QueryTile> query_tiles_;
    int heads_together_ = 1;  // of one query
    std::vector<Stretch> stretches_;
    Ends stretch_ends_{};  // of each share
    size_t partial_floats_ = 0;
    std::vector<float> partials_;  // of each stretch and its heads
    std::deque<std::atomic<int>> arrived_;  // stretches of each tile and its heads
};

}  // namespace pocketlm
