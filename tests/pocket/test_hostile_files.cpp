// Mutated files through the C API: whatever the bytes, an error or an answer, and never a fault. With sanitizers
// (tests/native/run_sanitizers) a read past the end of anything is one.
//   test_hostile_files [MUTATIONS [SEED]]
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>

#include "check.h"
#include "pocketlm.h"
#include "small_file.h"

namespace {

using Bytes = std::vector<uint8_t>;

int mutations = 3000;
unsigned first_seed = 1;

using Engine = std::mt19937;

size_t below(Engine& engine, size_t limit) { return engine() % limit; }

// Numbers that sizes go wrong at.
uint64_t odd_number(Engine& engine) {
    constexpr uint64_t numbers[] = {0,          1,          2,          3,          7,
                                    31,         33,         255,        256,        65535,
                                    0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 62,
                                    1ull << 63, ~0ull,      ~0ull - 7,  1ull << 24, 0x7fc00000};
    const uint64_t number = numbers[below(engine, std::size(numbers))];
    return below(engine, 4) == 0 ? number + below(engine, 3) - 1 : number;
}

// Where mutations go: mostly before the tensors' data, which is a file's end.
size_t place(Engine& engine, const Bytes& bytes) {
    const size_t header = std::min<size_t>(bytes.size(), 3200);
    return below(engine, 8) == 0 ? below(engine, bytes.size()) : below(engine, header);
}

void mutate(Engine& engine, Bytes& bytes) {
    const size_t at = place(engine, bytes);
    switch (below(engine, 6)) {
        case 0:
            bytes[at] = static_cast<uint8_t>(engine());
            break;
        case 1:
            bytes[at] ^= static_cast<uint8_t>(1u << below(engine, 8));
            break;
        case 2: {
            const uint64_t number = odd_number(engine);
            const size_t size = std::min<size_t>(below(engine, 2) == 0 ? 4 : 8, bytes.size() - at);
            std::memcpy(bytes.data() + at, &number, size);
            break;
        }
        case 3:
            if (below(engine, 4) == 0) {
                bytes.resize(at + 1);
            }
            break;
        case 4: {  // a piece moved to another place
            const size_t from = place(engine, bytes);
            const size_t size = std::min({size_t{1} + below(engine, 64), bytes.size() - at,
                                          bytes.size() - from});
            std::memmove(bytes.data() + at, bytes.data() + from, size);
            break;
        }
        default: {  // a piece cut out or put in
            const size_t size = size_t{1} + below(engine, 16);
            const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
            if (below(engine, 2) == 0 && at + size < bytes.size()) {
                bytes.erase(begin, begin + static_cast<std::ptrdiff_t>(size));
            } else {
                bytes.insert(begin, size, static_cast<uint8_t>(engine()));
            }
        }
    }
}

// Whether the bytes are a model that runs. Every failure must have a status and a text.
bool run(const Bytes& bytes) {
    pocketlm_model_options options = pocketlm_model_options_default();
    options.threads = 1;
    // Of exactly this size, so that a sanitizer sees what reads past it.
    const std::unique_ptr<uint8_t[]> copy(new uint8_t[bytes.size()]);
    std::copy(bytes.begin(), bytes.end(), copy.get());
    pocketlm_model* model = pocketlm_model_load_memory(copy.get(), bytes.size(), &options);
    if (model == nullptr) {
        CHECK(pocketlm_last_error()[0] != '\0');
        return false;
    }
    pocketlm_facts facts;
    facts.size = sizeof facts;
    CHECK(pocketlm_model_facts(model, &facts) == POCKETLM_OK);
    std::vector<int32_t> tokens(64);
    size_t count = 0;
    const char text[] = "abc </s> xyz";
    const pocketlm_status status = pocketlm_tokenize(model, text, sizeof text - 1, POCKETLM_BOS,
                                                     tokens.data(), tokens.size(), &count);
    CHECK(status == POCKETLM_OK);
    pocketlm_session* session = pocketlm_session_new(model, 0);
    pocketlm_sampling sampling = pocketlm_sampling_default();
    sampling.temperature = 1.0;
    sampling.top_p = 0.9;
    pocketlm_sampler* sampler = pocketlm_sampler_new(model, &sampling, nullptr, 0);
    CHECK(session != nullptr && sampler != nullptr);
    bool ran = count > 0 && pocketlm_session_step(session, tokens.data(), count) == POCKETLM_OK;
    for (int i = 0; ran && i < 3; ++i) {
        int32_t token = 0;
        ran = pocketlm_sampler_sample(sampler, session, &token) == POCKETLM_OK &&
              pocketlm_session_step(session, &token, 1) == POCKETLM_OK;
        size_t length = 0;
        char piece[64];
        pocketlm_token_bytes(model, token, piece, sizeof piece, &length);
    }
    pocketlm_sampler_free(sampler);
    pocketlm_session_free(session);
    pocketlm_model_free(model);
    return ran;
}

void run_mutations(const char* architecture) {
    const Bytes sound = small_file::model(architecture);
    CHECK(run(sound));
    int ran = 0;
    for (int i = 0; i < mutations; ++i) {
        Engine engine(first_seed + static_cast<unsigned>(i));
        Bytes bytes = sound;
        for (size_t count = 1 + below(engine, 3); count > 0; --count) {
            mutate(engine, bytes);
        }
        ran += run(bytes) ? 1 : 0;
    }
    std::printf("%s: %d of %d mutated files ran\n", architecture, ran, mutations);
    CHECK(ran < mutations);
}

}  // namespace

TEST(mutated_llama) { run_mutations("llama"); }
TEST(mutated_mistral) { run_mutations("mistral"); }
TEST(mutated_phi3) { run_mutations("phi3"); }

TEST(null_pointers_are_refused) {
    const Bytes bytes = small_file::model();
    pocketlm_model_options options = pocketlm_model_options_default();
    options.threads = 1;
    CHECK(pocketlm_model_load(nullptr, &options) == nullptr);
    CHECK(pocketlm_model_load("/nowhere/model.gguf", &options) == nullptr);
    CHECK(std::string(pocketlm_last_error()).find("/nowhere/model.gguf") == 0);
    CHECK(pocketlm_model_load("/", &options) == nullptr);
    CHECK(pocketlm_model_load_memory(nullptr, 5, &options) == nullptr);
    CHECK(pocketlm_model_load_memory(bytes.data() + 1, 5, &options) == nullptr);
    CHECK(pocketlm_session_new(nullptr, 0) == nullptr);
    CHECK(pocketlm_session_step(nullptr, nullptr, 1) == POCKETLM_ERROR_ARGUMENT);
    CHECK(pocketlm_session_logits(nullptr) == nullptr);
    CHECK(pocketlm_sampler_new(nullptr, nullptr, nullptr, 0) == nullptr);
    CHECK(pocketlm_detokenizer_new(nullptr, -1) == nullptr);
    CHECK(pocketlm_detokenizer_push(nullptr, 0, nullptr) == nullptr);
    CHECK(pocketlm_tokenize(nullptr, "", 0, 0, nullptr, 0, nullptr) == POCKETLM_ERROR_ARGUMENT);
    pocketlm_model_free(nullptr);
    pocketlm_session_free(nullptr);
    pocketlm_sampler_free(nullptr);
    pocketlm_detokenizer_free(nullptr);
}

TEST(structures_of_a_wrong_size_are_refused) {
    const Bytes bytes = small_file::model();
    pocketlm_model_options options = pocketlm_model_options_default();
    options.size = 1;
    CHECK(pocketlm_model_load_memory(bytes.data(), bytes.size(), &options) == nullptr);
    options.size = sizeof options + 8;
    CHECK(pocketlm_model_load_memory(bytes.data(), bytes.size(), &options) == nullptr);
    // One of an older library, which had the number of threads alone.
    options = pocketlm_model_options_default();
    options.size = offsetof(pocketlm_model_options, cache_type);
    options.threads = 1;
    options.cache_type = reinterpret_cast<const char*>(8);
    pocketlm_model* model = pocketlm_model_load_memory(bytes.data(), bytes.size(), &options);
    CHECK(model != nullptr);
    pocketlm_facts facts;
    facts.size = sizeof facts;
    CHECK(pocketlm_model_facts(model, &facts) == POCKETLM_OK);
    CHECK_EQUAL(facts.threads, 1);
    CHECK_EQUAL(facts.mapped_bytes, facts.weight_bytes);
    pocketlm_model_free(model);
}

TEST(wrong_options_are_named) {
    const Bytes bytes = small_file::model();
    pocketlm_model_options options = pocketlm_model_options_default();
    options.threads = -1;
    CHECK(pocketlm_model_load_memory(bytes.data(), bytes.size(), &options) == nullptr);
    CHECK(std::string(pocketlm_last_error()).find("threads") == 0);
    options = pocketlm_model_options_default();
    options.cache_type = "q5";
    CHECK(pocketlm_model_load_memory(bytes.data(), bytes.size(), &options) == nullptr);
    CHECK(std::string(pocketlm_last_error()).find("q5") != std::string::npos);
    options.cache_type = "q4";  // heads of 8 numbers
    CHECK(pocketlm_model_load_memory(bytes.data(), bytes.size(), &options) == nullptr);
    CHECK(std::string(pocketlm_last_error()).find("multiple of 32") != std::string::npos);
    options = pocketlm_model_options_default();
    options.instruction_set = "abacus";
    CHECK(pocketlm_model_load_memory(bytes.data(), bytes.size(), &options) == nullptr);
}

int main(int argc, char** argv) {
    mutations = argc > 1 ? std::atoi(argv[1]) : mutations;
    first_seed = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : first_seed;
    return run_tests();
}
