// Whole programs against the same thing in plain loops and float64; and every precondition of a step.
#include "executor.h"

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <thread>
#include <tuple>

#include "check.h"
#include "half.h"
#include "reference.h"

using namespace pocketlm;
using reference::Random;
using reference::uniform;

namespace {

using Numbers = std::vector<double>;

constexpr int vocabulary = 19;
constexpr int hidden = 20;
constexpr int wide = 23;
constexpr int head_dim = 6;
constexpr int layers = 2;
constexpr float epsilon = 1e-5f;
constexpr int greatest = std::numeric_limits<int>::max();

struct Options {
    int heads = 4;
    int kv_heads = 2;
    int window = 0;
    int rotary_half = 2;  // of head_dim / 2: part of a head is turned
    bool adjacent = false;
    int rope_set = 0;
    bool biased = true;
};

Type weight_type(int layer) { return layer % 2 == 0 ? Type::F32 : Type::F16; }

// A weight as it is stored, and its numbers.
struct Weight {
    Weight(Type type, int row_count, int column_count, Random& random)
        : rows(row_count),
          columns(column_count),
          data(reference::random_weights(type, row_count, column_count, random)) {
        ThreadPool pool(1, "");
        matrix = std::make_shared<Matrix>(type, rows, columns, data.data(), data.size(), pool, false);
        for (int row = 0; row < rows; ++row) {
            for (int column = 0; column < columns; ++column) {
                numbers.push_back(reference::number(type, data.data(), columns, row, column));
            }
        }
    }

    // One row times the weight transposed.
    Numbers operator()(const Numbers& x, const std::vector<float>& bias = {}) const {
        Numbers out;
        for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
            double sum = bias.empty() ? 0.0 : static_cast<double>(bias[row]);
            for (size_t i = 0; i < x.size(); ++i) {
                sum += numbers[row * x.size() + i] * x[i];
            }
            out.push_back(sum);
        }
        return out;
    }

    int rows;
    int columns;
    std::vector<uint8_t> data;
    std::shared_ptr<Matrix> matrix;
    Numbers numbers;
};

struct Layer {
    Weight q, k, v, o, gate, up, down;
    std::vector<float> attention_norm, mlp_norm, q_bias, down_bias;
};

// A LLaMA-like model of two layers.
struct Model {
    explicit Model(const Options& chosen)
        : options(chosen),
          random(7),
          embedding(Type::F32, vocabulary, hidden, random),
          head(Type::BF16, vocabulary, hidden, random),
          norm(uniform(random, hidden)) {
        const int queries = options.heads * head_dim;
        const int keys = options.kv_heads * head_dim;
        for (int i = 0; i < layers; ++i) {
            const Type type = weight_type(i);
            blocks.push_back({Weight(type, queries, hidden, random),
                              Weight(type, keys, hidden, random),
                              Weight(type, keys, hidden, random),
                              Weight(type, hidden, queries, random),
                              Weight(type, wide, hidden, random),
                              Weight(type, wide, hidden, random),
                              Weight(type, hidden, wide, random), uniform(random, hidden),
                              uniform(random, hidden), {}, {}});
            if (options.biased) {
                blocks.back().q_bias = uniform(random, static_cast<size_t>(queries));
                blocks.back().down_bias = uniform(random, hidden);
            }
        }
        for (int set = 0; set < 2; ++set) {
            frequencies.emplace_back();
            for (int i = 0; i < options.rotary_half; ++i) {
                frequencies.back().push_back(std::pow(10.0f, static_cast<float>(-i - set)));
            }
        }
    }

    float scale() const { return 1.0f / std::sqrt(static_cast<float>(head_dim)); }
    static constexpr float rope_scale = 1.25f;

    std::unique_ptr<Executor> executor(std::shared_ptr<ThreadPool> pool,
                                       std::shared_ptr<KVCache> cache) const {
        const int queries = options.heads * head_dim;
        const int all = queries + 2 * options.kv_heads * head_dim;
        auto made = std::make_unique<Executor>(
            std::move(pool), std::move(cache),
            std::vector<int>{hidden, all, queries, wide, hidden, vocabulary},
            AttentionShape{options.heads, options.kv_heads, head_dim, scale(), options.window},
            RopeShape{frequencies, rope_scale, options.adjacent}, epsilon);
        made->embed(0, embedding.matrix);
        for (int i = 0; i < layers; ++i) {
            const Layer& layer = blocks[static_cast<size_t>(i)];
            made->project(0, 1, {layer.q.matrix, layer.k.matrix, layer.v.matrix},
                          {layer.q_bias, {}, {}}, layer.attention_norm, false, false);
            made->attend(1, 2, i);
            made->project(2, 0, {layer.o.matrix}, {}, {}, false, true);
            made->project(0, 3, {layer.gate.matrix, layer.up.matrix}, {}, layer.mlp_norm, true,
                          false);
            made->project(3, 0, {layer.down.matrix}, {layer.down_bias}, {}, false, true);
        }
        made->pick(0, 4);
        made->project(4, 5, {head.matrix}, {}, norm, false, false);
        return made;
    }

    // The plain statement: logits of every position.
    std::vector<Numbers> logits(const std::vector<int32_t>& tokens) const {
        std::vector<Numbers> rows;
        for (int32_t token : tokens) {
            const auto begin = embedding.numbers.begin() + token * hidden;
            rows.emplace_back(begin, begin + hidden);
        }
        for (const Layer& layer : blocks) {
            std::vector<Numbers> q, k, v;
            for (size_t i = 0; i < rows.size(); ++i) {
                const Numbers x = normalised(rows[i], layer.attention_norm);
                q.push_back(turned(layer.q(x, layer.q_bias), static_cast<int>(i)));
                k.push_back(as_cached(turned(layer.k(x), static_cast<int>(i))));
                v.push_back(as_cached(layer.v(x)));
            }
            for (size_t i = 0; i < rows.size(); ++i) {
                add(rows[i], layer.o(attended(q[i], k, v, static_cast<int>(i))));
                const Numbers x = normalised(rows[i], layer.mlp_norm);
                Numbers gated = layer.gate(x);
                const Numbers up = layer.up(x);
                for (size_t j = 0; j < gated.size(); ++j) {
                    gated[j] = gated[j] / (1.0 + std::exp(-gated[j])) * up[j];
                }
                add(rows[i], layer.down(gated, layer.down_bias));
            }
        }
        for (Numbers& row : rows) {
            row = head(normalised(row, norm));
        }
        return rows;
    }

    Options options;
    Random random;
    Weight embedding;
    Weight head;
    std::vector<float> norm;
    std::vector<Layer> blocks;
    std::vector<std::vector<float>> frequencies;

  private:
    static Numbers normalised(const Numbers& x, const std::vector<float>& weight) {
        double squares = 0.0;
        for (double number : x) {
            squares += number * number;
        }
        const double root =
            std::sqrt(squares / static_cast<double>(x.size()) + static_cast<double>(epsilon));
        Numbers out;
        for (size_t i = 0; i < x.size(); ++i) {
            out.push_back(x[i] / root * static_cast<double>(weight[i]));
        }
        return out;
    }

    // The cache holds 16 bits.
    static Numbers as_cached(Numbers x) {
        for (double& number : x) {
            number = reference::half(f16_from_float(static_cast<float>(number)));
        }
        return x;
    }

    static void add(Numbers& to, const Numbers& what) {
        for (size_t i = 0; i < to.size(); ++i) {
            to[i] += what[i];
        }
    }

    Numbers turned(Numbers heads, int position) const {
        const std::vector<float>& set = frequencies[static_cast<size_t>(options.rope_set)];
        const size_t half = set.size();
        for (size_t head_at = 0; head_at < heads.size(); head_at += head_dim) {
            for (size_t i = 0; i < half; ++i) {
                double& x = heads[head_at + (options.adjacent ? 2 * i : i)];
                double& y = heads[head_at + (options.adjacent ? 2 * i + 1 : i + half)];
                const double angle = static_cast<double>(static_cast<float>(position) * set[i]);
                const double cosine = std::cos(angle) * static_cast<double>(rope_scale);
                const double sine = std::sin(angle) * static_cast<double>(rope_scale);
                const double before = x;
                x = x * cosine - y * sine;
                y = y * cosine + before * sine;
            }
        }
        return heads;
    }

    Numbers attended(const Numbers& q, const std::vector<Numbers>& k, const std::vector<Numbers>& v,
                     int position) const {
        const int oldest = options.window == 0 ? 0 : std::max(0, position - options.window + 1);
        Numbers out(q.size());
        for (int h = 0; h < options.heads; ++h) {
            const size_t query = static_cast<size_t>(h * head_dim);
            const size_t key =
                static_cast<size_t>(h / (options.heads / options.kv_heads) * head_dim);
            Numbers weights;
            double total = 0.0;
            for (int p = oldest; p <= position; ++p) {
                double score = 0.0;
                for (size_t d = 0; d < head_dim; ++d) {
                    score += q[query + d] * k[static_cast<size_t>(p)][key + d];
                }
                weights.push_back(std::exp(score * static_cast<double>(scale())));
                total += weights.back();
            }
            for (int p = oldest; p <= position; ++p) {
                for (size_t d = 0; d < head_dim; ++d) {
                    out[query + d] += weights[static_cast<size_t>(p - oldest)] / total *
                                      v[static_cast<size_t>(p)][key + d];
                }
            }
        }
        return out;
    }
};

// An adapter of the model's second layer, and the model with it merged.
struct Adapted {
    Adapted(const Model& base, Type type, uint32_t seed) : merged(base) {
        Random random(seed);
        Layer& layer = merged.blocks[1];
        const int queries = base.options.heads * head_dim;
        std::vector<Adapter::Part> parts;
        // Operations: an embedding, five of each layer.
        const auto add = [&](int place, int rank, int columns, std::vector<Weight*> weights,
                             const std::vector<std::pair<int, int>>& ups) {
            downs.emplace_back(type, rank, columns, random);
            parts.push_back({1 + 5 + place, downs.back().matrix, {}});
            for (size_t i = 0; i < ups.size(); ++i) {
                const auto [first, count] = ups[i];
                if (count == 0) {
                    parts.back().ups.emplace_back();
                    continue;
                }
                Weight& weight = *weights[i];
                const std::vector<float> up =
                    uniform(random, static_cast<size_t>(weight.rows * count));
                parts.back().ups.emplace_back(first, weight.rows, count, up.data());
                merge(weight, downs.back(), first, count, up);
            }
        };
        // Of q and v, with numbers of their own; k is left as it is.
        add(0, 23, hidden, {&layer.q, &layer.k, &layer.v}, {{0, 3}, {0, 0}, {3, 20}});
        add(2, 1, queries, {&layer.o}, {{0, 1}});
        // Gate and up share numbers.
        add(3, 5, hidden, {&layer.gate, &layer.up}, {{0, 5}, {1, 4}});
        add(4, 17, wide, {&layer.down}, {{0, 17}});
        adapter = std::make_unique<Adapter>(std::move(parts));
    }

    static void merge(Weight& weight, const Weight& down, int first, int count,
                      const std::vector<float>& up) {
        const size_t columns = static_cast<size_t>(weight.columns);
        for (size_t row = 0; row < static_cast<size_t>(weight.rows); ++row) {
            for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
                const double factor =
                    static_cast<double>(up[row * static_cast<size_t>(count) + i]);
                for (size_t column = 0; column < columns; ++column) {
                    weight.numbers[row * columns + column] +=
                        factor * down.numbers[(static_cast<size_t>(first) + i) * columns + column];
                }
            }
        }
    }

    Model merged;
    std::deque<Weight> downs;
    std::unique_ptr<Adapter> adapter;
};

// A model with a pool, a cache and a sequence in it.
struct Session {
    Session(const Model& m, int threads, const char* instruction_set, const char* cache_type = "f16",
            const Adapter* own = nullptr)
        : model(m),
          adapter(own),
          cache(std::make_shared<KVCache>(layers, m.options.kv_heads, head_dim, cache_type)),
          executor(m.executor(std::make_shared<ThreadPool>(threads, instruction_set), cache)) {}

    // Logits of `tokens`, which follow what was fed before. With a window, blocks that no query sees
    // any more are let go of.
    std::vector<float> feed(const std::vector<int32_t>& tokens) {
        const int count = static_cast<int>(tokens.size());
        while (static_cast<int>(blocks.size()) * block_positions < length + count) {
            blocks.push_back(cache->allocate());
        }
        const int window = model.options.window;
        for (int i = 0; window > 0 && (i + 1) * block_positions <= length - window + 1; ++i) {
            int32_t& block = blocks[static_cast<size_t>(i)];
            if (block >= 0) {
                cache->release(block);
                block = -1;
            }
        }
        std::vector<int32_t> picks;
        for (int i = 0; i < count; ++i) {
            picks.push_back(i);
        }
        std::vector<float> out(static_cast<size_t>(count * vocabulary));
        executor->run(tokens.data(), count, {{count, length, model.options.rope_set, blocks.data(),
                                              static_cast<int>(blocks.size()), adapter}},
                      picks.data(), count, out.data());
        length += count;
        return out;
    }

    // The same in steps of `size` tokens.
    std::vector<float> feed(const std::vector<int32_t>& tokens, size_t size) {
        std::vector<float> out;
        for (size_t i = 0; i < tokens.size(); i += size) {
            const auto begin = tokens.begin() + static_cast<long>(i);
            const auto end = begin + static_cast<long>(std::min(size, tokens.size() - i));
            const std::vector<float> part = feed(std::vector<int32_t>(begin, end));
            out.insert(out.end(), part.begin(), part.end());
        }
        return out;
    }

    const Model& model;
    const Adapter* adapter;
    std::shared_ptr<KVCache> cache;
    std::unique_ptr<Executor> executor;
    std::vector<int32_t> blocks;
    int length = 0;
};

std::vector<int32_t> some_tokens(int count, uint32_t seed = 1) {
    Random random(seed);
    std::vector<int32_t> tokens;
    for (int i = 0; i < count; ++i) {
        tokens.push_back(static_cast<int32_t>(random() % vocabulary));
    }
    return tokens;
}

double distance(const std::vector<float>& got, const std::vector<Numbers>& expected) {
    double largest = 0.0;
    CHECK_EQUAL(got.size(), expected.size() * vocabulary);
    for (size_t i = 0; i < got.size(); ++i) {
        const double error =
            std::fabs(static_cast<double>(got[i]) - expected[i / vocabulary][i % vocabulary]);
        CHECK(!std::isnan(error));
        largest = std::max(largest, error);
    }
    return largest;
}

void check_model(const Options& options) {
    const Model model(options);
    const std::vector<int32_t> tokens = some_tokens(75);
    const std::vector<Numbers> expected = model.logits(tokens);
    for (const Kernels* kernels : available_kernels()) {
        const std::vector<float> at_once = Session(model, 1, kernels->name).feed(tokens);
        // What differs is the cache's 16 bits.
        CHECK(distance(at_once, expected) < 1e-3);
        // In chunks, token by token and by more threads the very same bits come out.
        CHECK(Session(model, 3, kernels->name).feed(tokens) == at_once);
        for (size_t size : {size_t{1}, size_t{7}, size_t{32}, size_t{40}}) {
            CHECK(Session(model, 2, kernels->name).feed(tokens, size) == at_once);
        }
    }
}

}  // namespace

TEST(a_program_matches_plain_loops) { check_model({}); }

TEST(every_form_of_attention_matches_plain_loops) {
    Options options;
    options.adjacent = true;
    options.rope_set = 1;
    check_model(options);
    options.kv_heads = 4;
    options.rotary_half = 3;
    options.biased = false;
    check_model(options);
    options.kv_heads = 1;
    options.rotary_half = 0;
    check_model(options);
    // More heads to a key than are attended together.
    options.heads = 26;
    check_model(options);
}

TEST(a_window_hides_what_is_before_it) {
    for (int window : {1, 5, 31, 32, 33, 40}) {
        Options options;
        options.window = window;
        const Model model(options);
        const std::vector<int32_t> tokens = some_tokens(110);
        const std::vector<Numbers> expected = model.logits(tokens);
        const std::vector<float> at_once = Session(model, 1, "").feed(tokens);
        CHECK(distance(at_once, expected) < 1e-3);
        for (size_t size : {size_t{1}, size_t{9}, size_t{33}}) {
            Session session(model, 2, "");
            CHECK(session.feed(tokens, size) == at_once);
            CHECK_EQUAL(session.blocks[0], -1);
        }
    }
}

// Long enough that threads share the positions of one query, or have rows of their own.
TEST(long_texts_are_shared_out) {
    for (int window : {0, 400}) {
        Options options;
        options.window = window;
        const Model model(options);
        const std::vector<int32_t> tokens = some_tokens(800);
        const std::vector<Numbers> expected = model.logits(tokens);
        const std::vector<float> at_once = Session(model, 1, "").feed(tokens);
        CHECK(distance(at_once, expected) < 1e-3);
        for (int threads : {1, 2, 7}) {
            for (size_t size : {size_t{1}, size_t{3}, size_t{230}}) {
                CHECK(Session(model, threads, "").feed(tokens, size) == at_once);
            }
        }
    }
}

TEST(an_8_bit_cache_comes_close) {
    const Model model{Options{}};
    const std::vector<int32_t> tokens = some_tokens(40);
    const std::vector<Numbers> expected = model.logits(tokens);
    for (const Kernels* kernels : available_kernels()) {
        const std::vector<float> got = Session(model, 2, kernels->name, "q8").feed(tokens);
        CHECK(distance(got, expected) < 0.2);
        CHECK(Session(model, 1, kernels->name, "q8").feed(tokens, 3) == got);
    }
}

TEST(quantised_weights_run_too) {
    using Types = std::vector<Type>;
    for (const Types& types : {Types{Type::F16, Type::Q4_0, Type::Q8_0},
                               {Type::IQ4_NL, Type::IQ4_NL, Type::Q4_1},
                               {Type::P4, Type::P3, Type::P4},
                               {Type::P3, Type::P4, Type::Q5_0}}) {
        Random random(3);
        constexpr int columns = 64;
        auto pool = std::make_shared<ThreadPool>(2, "");
        const auto cache = std::make_shared<KVCache>(1, 1, 2, "f16");
        const Weight embedding(types[0], vocabulary, columns, random);
        const Weight gate(types[1], 37, columns, random);
        const Weight up(types[2], 37, columns, random);
        Executor executor(pool, cache, {columns, columns, 37}, {1, 1, 2, 1.0f, 0}, {{{}}, 1.0f, false},
                          epsilon);
        executor.embed(0, embedding.matrix);
        executor.pick(0, 1);
        executor.project(1, 2, {gate.matrix, up.matrix}, {}, {}, true, false);
        const std::vector<int32_t> tokens = some_tokens(9);
        const std::vector<int32_t> picks = {0, 3, 4, 5, 8};
        const std::vector<int32_t> blocks = {cache->allocate()};
        std::vector<float> out(picks.size() * 37);
        executor.run(tokens.data(), 9, {{9, 0, 0, blocks.data(), 1}}, picks.data(), 5, out.data());
        double error = 0.0;
        double size = 0.0;
        for (size_t i = 0; i < picks.size(); ++i) {
            const auto begin =
                embedding.numbers.begin() + tokens[static_cast<size_t>(picks[i])] * columns;
            const Numbers x(begin, begin + columns);
            const Numbers g = gate(x);
            const Numbers u = up(x);
            for (size_t j = 0; j < 37; ++j) {
                const double expected = g[j] / (1.0 + std::exp(-g[j])) * u[j];
                error += std::pow(static_cast<double>(out[i * 37 + j]) - expected, 2);
                size += expected * expected;
            }
        }
        CHECK(std::sqrt(error / size) < 0.02);
    }
}

TEST(sequences_in_one_step_do_not_meet) {
    const Model model{Options{}};
    const std::vector<int32_t> first = some_tokens(37, 1);
    const std::vector<int32_t> second = some_tokens(5, 2);
    const std::vector<float> first_alone = Session(model, 1, "").feed(first);
    const std::vector<float> second_alone = Session(model, 1, "").feed(second);

    Session session(model, 2, "");
    const std::vector<int32_t> first_blocks = {session.cache->allocate(), session.cache->allocate()};
    const std::vector<int32_t> second_blocks = {session.cache->allocate()};
    std::vector<int32_t> tokens = first;
    tokens.insert(tokens.end(), second.begin(), second.end());
    const std::vector<int32_t> picks = {36, 37, 41};
    std::vector<float> out(3 * vocabulary);
    session.executor->run(tokens.data(), 42,
                          {{37, 0, 0, first_blocks.data(), 2}, {5, 0, 0, second_blocks.data(), 1}},
                          picks.data(), 3, out.data());
    CHECK(std::equal(first_alone.end() - vocabulary, first_alone.end(), out.begin()));
    CHECK(std::equal(second_alone.begin(), second_alone.begin() + vocabulary,
                     out.begin() + vocabulary));
    CHECK(std::equal(second_alone.end() - vocabulary, second_alone.end(),
                     out.begin() + 2 * vocabulary));
}

TEST(an_adapter_gives_what_merged_weights_give) {
    for (Type type : {Type::F32, Type::F16, Type::BF16}) {
        const Model model{Options{}};
        const Adapted adapted(model, type, 11);
        const std::vector<int32_t> tokens = some_tokens(75);
        const std::vector<Numbers> expected = adapted.merged.logits(tokens);
        const std::vector<float> without = Session(model, 1, "").feed(tokens);
        CHECK(distance(without, expected) > 0.03);
        for (const Kernels* kernels : available_kernels()) {
            const auto feed = [&](int threads, size_t size) {
                return Session(model, threads, kernels->name, "f16", adapted.adapter.get())
                    .feed(tokens, size);
            };
            const std::vector<float> at_once = feed(1, 75);
            CHECK(distance(at_once, expected) < 1e-3);
            CHECK(feed(3, 75) == at_once);
            for (size_t size : {size_t{1}, size_t{7}, size_t{32}, size_t{40}}) {
                CHECK(feed(2, size) == at_once);
            }
        }
    }
}

TEST(an_adapter_adds_to_quantised_weights) {
    Random random(3);
    constexpr int columns = 64;
    for (const Kernels* kernels : available_kernels()) {
        const auto pool = std::make_shared<ThreadPool>(2, kernels->name);
        const auto cache = std::make_shared<KVCache>(1, 1, 2, "f16");
        const Weight embedding(Type::F16, vocabulary, columns, random);
        const Weight gate(Type::Q4_0, 37, columns, random);
        const Weight up(Type::Q4_0, 37, columns, random);
        const Weight head(Type::F32, 37, 37, random);
        const Weight down(Type::F32, 4, columns, random);
        Executor executor(pool, cache, {columns, 37, 37, 37}, {1, 1, 2, 1.0f, 0}, {{{}}, 1.0f, false},
                          epsilon);
        executor.embed(0, embedding.matrix);
        executor.project(0, 1, {gate.matrix, up.matrix}, {}, {}, true, false);
        executor.pick(1, 2);
        executor.project(2, 3, {head.matrix}, {}, {}, false, false);
        const std::vector<float> numbers = uniform(random, 37 * 4);
        Weight merged = up;
        Adapted::merge(merged, down, 0, 4, numbers);
        std::vector<Adapter::Part> parts;
        parts.push_back({1, down.matrix, {{}, {0, 37, 4, numbers.data()}}});
        const Adapter adapter(std::move(parts));
        for (int count : {1, 2, 9, 70}) {
            const std::vector<int32_t> tokens = some_tokens(count);
            const std::vector<int32_t> blocks = {cache->allocate(), cache->allocate(),
                                                 cache->allocate()};
            const int32_t pick = count - 1;
            std::vector<float> out(37);
            executor.run(tokens.data(), count, {{count, 0, 0, blocks.data(), 3, &adapter}}, &pick, 1,
                         out.data());
            const auto begin = embedding.numbers.begin() + tokens.back() * columns;
            const Numbers x(begin, begin + columns);
            Numbers gated = gate(x);
            const Numbers u = merged(x);
            for (size_t i = 0; i < gated.size(); ++i) {
                gated[i] = gated[i] / (1.0 + std::exp(-gated[i])) * u[i];
            }
            const Numbers expected = head(gated);
            double error = 0.0;
            double size = 0.0;
            for (size_t i = 0; i < expected.size(); ++i) {
                error += std::pow(static_cast<double>(out[i]) - expected[i], 2);
                size += expected[i] * expected[i];
            }
            CHECK(std::sqrt(error / size) < 0.02);
        }
    }
}

TEST(adapters_in_one_step_do_not_meet) {
    const Model model{Options{}};
    const Adapted one(model, Type::F32, 11);
    const Adapted two(model, Type::BF16, 12);
    const std::vector<const Adapter*> adapters = {nullptr, one.adapter.get(), two.adapter.get(),
                                                  one.adapter.get(), nullptr};
    const std::vector<int> counts = {21, 1, 9, 30, 1};
    for (const Kernels* kernels : available_kernels()) {
        for (int threads : {1, 3}) {
            Session session(model, threads, kernels->name);
            std::vector<std::vector<int32_t>> blocks;
            std::vector<Segment> segments;
            std::vector<int32_t> tokens;
            std::vector<int32_t> picks;
            std::vector<float> alone;
            for (size_t i = 0; i < counts.size(); ++i) {
                blocks.push_back({session.cache->allocate()});
            }
            for (size_t i = 0; i < counts.size(); ++i) {
                const std::vector<int32_t> own = some_tokens(counts[i], static_cast<uint32_t>(i));
                segments.push_back({counts[i], 0, 0, blocks[i].data(), 1, adapters[i]});
                tokens.insert(tokens.end(), own.begin(), own.end());
                const std::vector<float> logits =
                    Session(model, 1, kernels->name, "f16", adapters[i]).feed(own);
                alone.insert(alone.end(), logits.begin(), logits.end());
            }
            for (int i = 0; i < static_cast<int>(tokens.size()); ++i) {
                picks.push_back(i);
            }
            std::vector<float> together(alone.size());
            session.executor->run(tokens.data(), static_cast<int>(tokens.size()), segments,
                                  picks.data(), static_cast<int>(picks.size()), together.data());
            CHECK(together == alone);
        }
    }
}

TEST(adapters_come_and_go_while_threads_step) {
    const Model model{Options{}};
    const std::vector<int32_t> tokens = some_tokens(40);
    constexpr size_t callers = 3;
    auto common = std::make_shared<const Adapted>(model, Type::BF16, callers);
    std::vector<std::vector<float>> alone;
    for (uint32_t seed = 0; seed < callers; ++seed) {
        const Adapted own(model, Type::F32, seed);
        alone.push_back(Session(model, 1, "", "f16", own.adapter.get()).feed(tokens));
    }
    alone.push_back(Session(model, 1, "", "f16", common->adapter.get()).feed(tokens));
    Session session(model, 2, "");
    // Two texts in one step: with an adapter that nobody else has, and with one that all have.
    const auto agree = [&](size_t seed, const Adapted& shared, const std::vector<int32_t>& blocks) {
        const auto own = std::make_unique<Adapted>(model, Type::F32, static_cast<uint32_t>(seed));
        const int count = static_cast<int>(tokens.size());
        std::vector<int32_t> both = tokens;
        both.insert(both.end(), tokens.begin(), tokens.end());
        std::vector<int32_t> picks;
        for (int i = 0; i < 2 * count; ++i) {
            picks.push_back(i);
        }
        std::vector<float> out(both.size() * vocabulary);
        session.executor->run(both.data(), 2 * count,
                              {{count, 0, 0, blocks.data(), 2, own->adapter.get()},
                               {count, 0, 0, blocks.data() + 2, 2, shared.adapter.get()}},
                              picks.data(), 2 * count, out.data());
        std::vector<float> expected = alone[seed];
        expected.insert(expected.end(), alone.back().begin(), alone.back().end());
        return out == expected;
    };
    std::array<int, callers> agreed{};
    // Blocks come from the cache while nothing steps, as in the engine.
    std::array<std::vector<int32_t>, callers> blocks;
    for (std::vector<int32_t>& own : blocks) {
        std::generate_n(std::back_inserter(own), 4, [&] { return session.cache->allocate(); });
    }
    std::vector<std::thread> threads;
    for (size_t caller = 0; caller < callers; ++caller) {
        threads.emplace_back([&, caller, shared = common] {
            for (size_t round = 0; round < 6; ++round) {
                agreed[caller] += agree((caller + round) % callers, *shared, blocks[caller]) ? 1 : 0;
            }
        });
    }
    common.reset();  // whichever thread is done last drops it
    for (std::thread& thread : threads) {
        thread.join();
    }
    for (int rounds : agreed) {
        CHECK_EQUAL(rounds, 6);
    }
}

TEST(wrong_adapters_are_refused) {
    Random random(5);
    const std::vector<float> numbers(64 * 64, 1.0f);
    const auto up = [&](int first, int rows, int rank) {
        return Adapter::Up(first, rows, rank, numbers.data());
    };
    for (int wrong : {0, -1, (1 << 24) + 1, greatest}) {
        CHECK_REFUSED(up(0, wrong, 1));
        CHECK_REFUSED(up(0, 1, wrong));
    }
    const Weight down(Type::F32, 4, hidden, random);
    const auto make = [&](int operation, const std::shared_ptr<Matrix>& matrix,
                          std::vector<Adapter::Up> ups) {
        std::vector<Adapter::Part> parts;
        parts.push_back({operation, matrix, std::move(ups)});
        return Adapter(std::move(parts));
    };
    for (int operation : {-1, 1 << 16, greatest}) {
        CHECK_REFUSED(make(operation, down.matrix, {}));
    }
    CHECK_REFUSED(make(1, nullptr, {}));
    CHECK_REFUSED(make(1, Weight(Type::Q8_0, 4, 32, random).matrix, {}));
    CHECK_REFUSED(make(1, down.matrix, {up(0, 4, 5)}));
    CHECK_REFUSED(make(1, down.matrix, {up(1, 4, 4)}));
    CHECK_REFUSED(make(1, down.matrix, {up(-1, 4, 4)}));
    CHECK_REFUSED(make(1, down.matrix, {up(greatest, 4, 4)}));
    CHECK_REFUSED(Adapter({{1, down.matrix, {}}, {1, down.matrix, {}}}));

    // Each is sound, but for another program.
    const Model model{Options{}};
    const int keys = 2 * head_dim;
    const int queries = 4 * head_dim;
    const auto refused = [&](const Adapter& adapter) {
        Session session(model, 1, "", "f16", &adapter);
        CHECK_REFUSED(session.feed({1}));
    };
    refused(make(0, down.matrix, {up(0, vocabulary, 4)}));                // an embedding
    refused(make(2, down.matrix, {up(0, hidden, 4)}));                    // attention
    refused(make(11, down.matrix, {up(0, hidden, 4)}));                   // the picked rows
    refused(make(12, down.matrix, {up(0, vocabulary, 4)}));               // their projection
    refused(make(13, down.matrix, {up(0, vocabulary, 4)}));               // none
    refused(make(1, down.matrix, {}));
    refused(make(1, down.matrix, {up(0, queries, 4), {}}));
    refused(make(1, down.matrix, {up(0, keys, 4), {}, {}}));
    refused(make(1, Weight(Type::F32, 4, hidden + 1, random).matrix, {up(0, queries, 4), {}, {}}));
    const Adapter fits = make(1, down.matrix, {up(0, queries, 4), {}, {}});
    CHECK_EQUAL(fits.bytes(), 4 * 4 * hidden + 4 * 4 * 32);
    Session(model, 1, "", "f16", &fits).feed({1});
}

TEST(a_step_may_pick_nothing) {
    const Model model{Options{}};
    Session session(model, 2, "");
    const std::vector<int32_t> tokens = some_tokens(3);
    const std::vector<int32_t> blocks = {session.cache->allocate()};
    session.executor->run(tokens.data(), 3, {{3, 0, 0, blocks.data(), 1}}, nullptr, 0, nullptr);
    session.executor->run(nullptr, 0, {}, nullptr, 0, nullptr);
    session.blocks = blocks;
    session.length = 3;
    const std::vector<int32_t> next = some_tokens(1, 2);
    std::vector<int32_t> all = tokens;
    all.push_back(next[0]);
    const std::vector<float> expected = Session(model, 1, "").feed(all);
    const std::vector<float> got = session.feed(next);
    CHECK(std::equal(got.begin(), got.end(), expected.end() - vocabulary));
}

TEST(wrong_steps_are_refused) {
    Options options;
    options.window = 40;
    const Model model(options);
    Session session(model, 2, "");
    const int one = session.cache->allocate();
    const int two = session.cache->allocate();
    const int gone = session.cache->allocate();
    session.cache->release(gone);
    std::vector<float> out(4 * vocabulary);
    struct Step {
        std::vector<int32_t> tokens{1, 2, 3};
        std::vector<int32_t> blocks;
        int count = 3;
        int position = 0;
        int rope_set = 0;
        std::vector<int32_t> picks{2};
    };
    const auto run = [&](const Step& step) {
        session.executor->run(step.tokens.data(), static_cast<int>(step.tokens.size()),
                              {{step.count, step.position, step.rope_set, step.blocks.data(),
                                static_cast<int>(step.blocks.size())}},
                              step.picks.data(), static_cast<int>(step.picks.size()), out.data());
    };
    Step good;
    good.blocks = {one, two};
    run(good);
    const auto refused = [&](const std::function<void(Step&)>& change) {
        Step step = good;
        change(step);
        CHECK_REFUSED(run(step));
    };
    for (int32_t token : {-1, vocabulary, greatest}) {
        refused([&](Step& step) { step.tokens[1] = token; });
    }
    for (int count : {-1, 0, 2, 4, greatest}) {
        refused([&](Step& step) { step.count = count; });
    }
    for (int position : {-1, 62, 1 << 20, greatest}) {
        refused([&](Step& step) { step.position = position; });
    }
    for (int set : {-1, 2}) {
        refused([&](Step& step) { step.rope_set = set; });
    }
    for (int block : {-1, gone, greatest}) {
        refused([&](Step& step) { step.blocks = {block, two}; });
        // The window of 40 reaches back from position 70 to 31, in the first block.
        refused([&](Step& step) {
            step.blocks = {block, one, two};
            step.position = 70;
        });
        // From 71 it does not.
        Step later = good;
        later.blocks = {block, one, two};
        later.position = 71;
        run(later);
    }
    refused([](Step& step) { step.blocks.clear(); });
    for (const std::vector<int32_t>& picks :
         {std::vector<int32_t>{3}, {-1}, {1, 1}, {2, 1}, {0, 1, 2, 2}}) {
        refused([&](Step& step) { step.picks = picks; });
    }
    const int32_t token = 1;
    CHECK_REFUSED(session.executor->run(&token, 1, {}, nullptr, 0, nullptr));
    CHECK_REFUSED(session.executor->run(nullptr, 0, {}, &token, 1, out.data()));
    run(good);
}

TEST(wrong_programs_are_refused) {
    Random random(5);
    const auto pool = std::make_shared<ThreadPool>(1, "");
    const auto cache = std::make_shared<KVCache>(2, 2, 4, "f16");
    const AttentionShape shape{4, 2, 4, 1.0f, 0};
    const RopeShape rope{{{1.0f, 0.5f}}, 1.0f, false};
    const std::vector<int> widths = {8, 32, 16, 8, 8};
    const auto make = [&](const AttentionShape& s, const RopeShape& r, const std::vector<int>& w) {
        return std::make_unique<Executor>(pool, cache, w, s, r, epsilon);
    };
    make(shape, rope, widths);
    for (const AttentionShape& wrong :
         {AttentionShape{3, 2, 4, 1.0f, 0}, AttentionShape{4, 1, 4, 1.0f, 0},
          AttentionShape{4, 2, 8, 1.0f, 0}, AttentionShape{0, 2, 4, 1.0f, 0},
          AttentionShape{4, 0, 4, 1.0f, 0}, AttentionShape{-2, 2, 4, 1.0f, 0},
          AttentionShape{greatest - 1, 2, 4, 1.0f, 0}, AttentionShape{4, 2, 4, 1.0f, -1}}) {
        CHECK_REFUSED(make(wrong, rope, widths));
    }
    CHECK_REFUSED(make(shape, {{}, 1.0f, false}, widths));
    CHECK_REFUSED(make(shape, {{{1.0f, 0.5f, 0.1f}}, 1.0f, false}, widths));
    CHECK_REFUSED(make(shape, {{{1.0f, 0.5f}, {1.0f}}, 1.0f, false}, widths));
    for (int width : {0, -1, (1 << 24) + 1, greatest}) {
        CHECK_REFUSED(make(shape, rope, {8, width}));
    }

    const Weight square(Type::F32, 8, 8, random);
    const Weight four(Type::F32, 4, 8, random);
    const Weight tall(Type::F32, 32, 8, random);
    const Weight broad(Type::F32, 8, 16, random);
    const std::vector<float> ones(8, 1.0f);
    // Orders that make no sense.
    for (const auto& wrong : std::vector<std::function<void(Executor&)>>{
             [&](Executor& e) { e.project(0, 3, {square.matrix}, {}, {}, false, false); },
             [&](Executor& e) { e.attend(1, 2, 0); }, [&](Executor& e) { e.pick(0, 3); },
             [&](Executor& e) { e.embed(-1, square.matrix); },
             [&](Executor& e) { e.embed(5, square.matrix); },
             [&](Executor& e) { e.embed(1, square.matrix); },
             [&](Executor& e) { e.output_width(); },
             [&](Executor& e) { e.run(nullptr, 0, {}, nullptr, 0, nullptr); }}) {
        const auto executor = make(shape, rope, widths);
        CHECK_REFUSED(wrong(*executor));
    }
    const auto executor = make(shape, rope, widths);
    Executor& e = *executor;
    e.embed(0, square.matrix);
    CHECK_REFUSED(e.embed(0, square.matrix));
    CHECK_REFUSED(e.output_width());
    // Operations that do not fit their buffers.
    const auto project = [&](int input, int output, std::vector<std::shared_ptr<const Matrix>> weights,
                             std::vector<std::vector<float>> biases = {},
                             std::vector<float> norm = {}, bool gate = false) {
        e.project(input, output, std::move(weights), std::move(biases), std::move(norm), gate, false);
    };
    for (int buffer : {-1, 5, greatest}) {
        CHECK_REFUSED(project(buffer, 3, {square.matrix}));
        CHECK_REFUSED(project(0, buffer, {square.matrix}));
        CHECK_REFUSED(e.attend(buffer, 2, 0));
        CHECK_REFUSED(e.attend(1, buffer, 0));
        CHECK_REFUSED(e.pick(buffer, 3));
        CHECK_REFUSED(e.pick(0, buffer));
    }
    CHECK_REFUSED(project(0, 0, {square.matrix}));
    CHECK_REFUSED(project(0, 3, {}));
    CHECK_REFUSED(project(0, 3, {broad.matrix}));
    CHECK_REFUSED(project(0, 3, {four.matrix}));
    CHECK_REFUSED(project(0, 1, {square.matrix}));
    CHECK_REFUSED(project(0, 3, {square.matrix}, {ones, ones}));
    CHECK_REFUSED(project(0, 3, {square.matrix}, {{1.0f}}));
    CHECK_REFUSED(project(0, 3, {square.matrix}, {}, {1.0f}));
    CHECK_REFUSED(project(0, 3, {square.matrix}, {}, {}, true));
    CHECK_REFUSED(project(0, 3, {square.matrix, four.matrix}, {}, {}, true));
    CHECK_REFUSED(e.attend(0, 2, 0));
    CHECK_REFUSED(e.attend(1, 0, 0));
    CHECK_REFUSED(e.attend(1, 2, 2));
    CHECK_REFUSED(e.attend(1, 2, -1));
    CHECK_REFUSED(e.pick(0, 1));
    CHECK_REFUSED(e.pick(0, 0));
    project(0, 1, {tall.matrix});
    e.attend(1, 2, 0);
    project(2, 3, {broad.matrix});
    e.pick(3, 0);
    CHECK_REFUSED(e.pick(3, 0));
    CHECK_REFUSED(e.attend(1, 2, 0));
    CHECK_REFUSED(e.output_width());
    project(0, 4, {square.matrix});
    CHECK_EQUAL(e.output_width(), 8);
    CHECK_REFUSED(e.pick(0, 3));
    // A result in a buffer that all rows were picked from, …
    project(4, 3, {square.matrix});
    CHECK_REFUSED(e.output_width());
    // … that they are read from, though nothing wrote them, or written to, though nothing reads them.
    for (const auto& [input, output, weight] :
         {std::make_tuple(3, 1, &tall), std::make_tuple(0, 3, &square)}) {
        const auto other = make(shape, rope, widths);
        other->embed(0, square.matrix);
        other->project(input, output, {weight->matrix}, {}, {}, false, false);
        other->pick(0, 4);
        other->project(4, 3, {square.matrix}, {}, {}, false, false);
        CHECK_REFUSED(other->output_width());
    }
}

int main() { return run_tests(); }
