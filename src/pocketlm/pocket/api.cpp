// pocketlm.h: arguments checked and handed on, what is thrown caught and told.
#include "pocketlm.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "error.h"
#include "model.h"
#include "sampler.h"
#include "session.h"

struct pocketlm_model {
    std::shared_ptr<pocketlm::Model> model;
};

struct pocketlm_session {
    pocketlm::Session session;
};

struct pocketlm_sampler {
    std::shared_ptr<pocketlm::Model> model;
    pocketlm::Sampler sampler;
};

struct pocketlm_detokenizer {
    std::shared_ptr<pocketlm::Model> model;
    pocketlm::Detokenizer detokenizer;
    std::string text;
};

namespace {

using namespace pocketlm;

// Of a fixed size: telling that there is no memory must need none.
thread_local char last_error[1024] = "";

pocketlm_status fail(pocketlm_status status, const char* text) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s", text);
    return status;
}

pocketlm_status status_of(Fault fault) noexcept {
    switch (fault) {
        case Fault::argument: return POCKETLM_ERROR_ARGUMENT;
        case Fault::file: return POCKETLM_ERROR_FILE;
        case Fault::unsupported: return POCKETLM_ERROR_UNSUPPORTED;
        case Fault::context: return POCKETLM_ERROR_CONTEXT;
        case Fault::memory: return POCKETLM_ERROR_MEMORY;
    }
    return POCKETLM_ERROR_INTERNAL;
}

// Runs `body`, which may return a status; nothing is thrown past here.
template <typename Body>
pocketlm_status guarded(const Body& body) noexcept {
    try {
        return body();
    } catch (const Error& error) {
        return fail(status_of(error.fault()), error.what());
    } catch (const std::bad_alloc&) {
        return fail(POCKETLM_ERROR_MEMORY, "no memory left");
    } catch (const std::system_error& error) {
        return fail(POCKETLM_ERROR_MEMORY, error.what());  // the system has no more threads
    } catch (const std::length_error&) {
        return fail(POCKETLM_ERROR_ARGUMENT, "a text or list is too long");
    } catch (const std::exception& error) {
        return fail(POCKETLM_ERROR_INTERNAL, error.what());
    } catch (...) {
        return fail(POCKETLM_ERROR_INTERNAL, "an unknown fault");
    }
}

// The same for what makes an object, which is NULL where that fails.
template <typename Object, typename Make>
Object* made(const Make& make) noexcept {
    Object* object = nullptr;
    guarded([&] {
        object = make();
        return POCKETLM_OK;
    });
    return object;
}

template <typename... Pointers>
void require(Pointers... pointers) {
    if (((pointers == nullptr) || ...)) {
        refuse(Fault::argument, "a pointer that must not be NULL is NULL");
    }
}

// A structure of a caller that may know fewer fields than there are now: the others are as in `defaults`.
template <typename Options>
Options known_fields(const Options* given, Options defaults) {
    if (given == nullptr) {
        return defaults;
    }
    size_t size = 0;
    std::memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > sizeof defaults) {
        refuse(Fault::argument, "a structure's size is " + std::to_string(size) +
                                    "; it must be the sizeof of the structure in pocketlm.h, " +
                                    std::to_string(sizeof defaults));
    }
    std::memcpy(&defaults, given, size);
    return defaults;
}

int checked_count(size_t count) {
    if (count > static_cast<size_t>(std::numeric_limits<int>::max())) {
        refuse(Fault::argument, "there are too many tokens");
    }
    return static_cast<int>(count);
}

template <typename Items, typename Item>
pocketlm_status copy_out(const Items& items, Item* out, size_t capacity, size_t* count) {
    *count = items.size();
    if (items.size() > capacity) {
        const std::string text = "the buffer has room for " + std::to_string(capacity) + " of " +
                                 std::to_string(items.size());
        return fail(POCKETLM_ERROR_BUFFER, text.c_str());
    }
    if (!items.empty()) {
        require(out);
        std::copy(items.begin(), items.end(), out);
    }
    return POCKETLM_OK;
}

pocketlm_model* load(std::unique_ptr<Source> source, const pocketlm_model_options* given) {
    const pocketlm_model_options options = known_fields(given, pocketlm_model_options_default());
    ModelOptions wanted;
    wanted.threads = options.threads;
    if (options.cache_type != nullptr) {
        wanted.cache_type = options.cache_type;
    }
    if (options.instruction_set != nullptr) {
        wanted.instruction_set = options.instruction_set;
    }
    return new pocketlm_model{Model::load(std::move(source), wanted)};
}

SamplingParameters parameters_of(const pocketlm_sampling* given) {
    const pocketlm_sampling sampling = known_fields(given, pocketlm_sampling_default());
    SamplingParameters parameters;
    parameters.temperature = sampling.temperature;
    parameters.top_k = sampling.top_k;
    parameters.top_p = sampling.top_p;
    parameters.min_p = sampling.min_p;
    parameters.repetition_penalty = sampling.repetition_penalty;
    parameters.presence_penalty = sampling.presence_penalty;
    parameters.frequency_penalty = sampling.frequency_penalty;
    if (sampling.has_seed != 0) {
        parameters.seed = sampling.seed;
    }
    if (sampling.bias_count > 0) {
        require(sampling.bias_tokens, sampling.bias_values);
    }
    for (size_t i = 0; i < sampling.bias_count; ++i) {
        parameters.logit_bias.emplace_back(sampling.bias_tokens[i], sampling.bias_values[i]);
    }
    return parameters;
}

// What a detokenizer gives out lies in it.
template <typename Next>
const char* next_text(pocketlm_detokenizer* detokenizer, size_t* length, const Next& next) noexcept {
    const char* text = nullptr;
    guarded([&] {
        require(detokenizer);
        detokenizer->text = next();
        text = detokenizer->text.c_str();
        if (length != nullptr) {
            *length = detokenizer->text.size();
        }
        return POCKETLM_OK;
    });
    return text;
}

}  // namespace

int32_t pocketlm_api_version(void) { return POCKETLM_API_VERSION; }

const char* pocketlm_last_error(void) { return last_error; }

pocketlm_model* pocketlm_model_load(const char* path, const pocketlm_model_options* options) {
    return made<pocketlm_model>([&] {
        require(path);
        auto source = std::make_unique<Source>(path);
        try {
            return load(std::move(source), options);
        } catch (const Error& error) {
            if (error.fault() == Fault::file || error.fault() == Fault::unsupported) {
                throw Error(error.fault(), std::string(path) + ": " + error.what());
            }
            throw;
        }
    });
}

pocketlm_model* pocketlm_model_load_memory(const void* data, size_t size,
                                           const pocketlm_model_options* options) {
    return made<pocketlm_model>([&] {
        require(data);
        if (reinterpret_cast<uintptr_t>(data) % 8 != 0) {
            refuse(Fault::argument, "the model's memory is not aligned to 8 bytes");
        }
        return load(std::make_unique<Source>(static_cast<const uint8_t*>(data), size), options);
    });
}

pocketlm_model* pocketlm_model_load_reader(const pocketlm_reader* reader,
                                           const pocketlm_model_options* options) {
    return made<pocketlm_model>([&] {
        require(reader);
        const pocketlm_reader of = known_fields(reader, pocketlm_reader{});
        require(of.read);
        return load(std::make_unique<Source>(of.bytes,
                                             [of](uint64_t offset, uint8_t* to, size_t size) {
                                                 return of.read(of.context, offset, to, size) == 0;
                                             }),
                    options);
    });
}

void pocketlm_model_free(pocketlm_model* model) { delete model; }

pocketlm_status pocketlm_model_facts(const pocketlm_model* model, pocketlm_facts* facts) {
    return guarded([&] {
        require(model, facts);
        const Model& of = *model->model;
        const Program& program = of.program();
        const Tokenizer& tokenizer = of.tokenizer();
        pocketlm_facts all;
        std::memset(&all, 0, sizeof all);
        all.size = known_fields(facts, all).size;
        all.architecture = program.architecture.c_str();
        all.name = of.name().c_str();
        all.chat_template = of.chat_template().c_str();
        all.instruction_set = of.instruction_set();
        all.threads = of.threads();
        all.vocab_size = program.vocab_size;
        all.token_count = tokenizer.size();
        all.context = program.context;
        all.layers = program.layers;
        all.hidden_size = program.hidden;
        all.window = program.window;
        all.bos_token = tokenizer.bos();
        all.eos_token = tokenizer.eos();
        all.adds_bos = tokenizer.add_bos() && tokenizer.bos() != no_token ? 1 : 0;
        all.weight_bytes = of.weight_bytes();
        all.mapped_bytes = of.mapped_bytes();
        all.block_bytes = model->model->cache().block_bytes();
        all.block_tokens = block_positions;
        all.pad_token = tokenizer.pad();
        all.unknown_token = tokenizer.unknown();
        std::memcpy(facts, &all, all.size);
        return POCKETLM_OK;
    });
}

int32_t pocketlm_model_is_end(const pocketlm_model* model, int32_t token) {
    if (model == nullptr) {
        return 0;
    }
    const std::vector<int32_t>& ends = model->model->ends();
    return std::binary_search(ends.begin(), ends.end(), token) ? 1 : 0;
}

int32_t pocketlm_model_is_control(const pocketlm_model* model, int32_t token) {
    return model != nullptr && model->model->tokenizer().is_control(token) ? 1 : 0;
}

pocketlm_status pocketlm_tokenize(const pocketlm_model* model, const char* text, size_t length,
                                  uint32_t flags, int32_t* tokens, size_t capacity, size_t* count) {
    return guarded([&] {
        require(model, count);
        if (length > 0) {
            require(text);
        }
        if ((flags & ~(POCKETLM_CONTROL | POCKETLM_BOS)) != 0) {
            refuse(Fault::argument, "unknown flags: " + std::to_string(flags));
        }
        const Tokenizer& tokenizer = model->model->tokenizer();
        std::vector<int32_t> ids = tokenizer.encode(std::string_view(length > 0 ? text : "", length),
                                                    (flags & POCKETLM_CONTROL) != 0);
        if ((flags & POCKETLM_BOS) != 0 && tokenizer.add_bos() && tokenizer.bos() != no_token &&
            (ids.empty() || ids[0] != tokenizer.bos())) {
            ids.insert(ids.begin(), tokenizer.bos());
        }
        return copy_out(ids, tokens, capacity, count);
    });
}

pocketlm_status pocketlm_tokenize_after(const pocketlm_model* model, int32_t after, const char* text,
                                        size_t length, int32_t* tokens, size_t capacity, size_t* count) {
    return guarded([&] {
        require(model, count);
        if (length > 0) {
            require(text);
        }
        const std::string_view run(length > 0 ? text : "", length);
        return copy_out(model->model->tokenizer().encode_run(run, after), tokens, capacity, count);
    });
}

pocketlm_status pocketlm_token_spelling(const pocketlm_model* model, int32_t token, char* bytes,
                                        size_t capacity, size_t* length) {
    return guarded([&] {
        require(model, length);
        return copy_out(model->model->tokenizer().spelling(token), bytes, capacity, length);
    });
}

pocketlm_status pocketlm_token_bytes(const pocketlm_model* model, int32_t token, char* bytes,
                                     size_t capacity, size_t* length) {
    return guarded([&] {
        require(model, length);
        return copy_out(model->model->tokenizer().token_bytes(token), bytes, capacity, length);
    });
}

int32_t pocketlm_control_token(const pocketlm_model* model, const char* spelling) {
    int32_t token = no_token;
    guarded([&] {
        require(model, spelling);
        token = model->model->tokenizer().control_token(spelling);
        return POCKETLM_OK;
    });
    return token;
}

pocketlm_detokenizer* pocketlm_detokenizer_new(const pocketlm_model* model, int32_t after) {
    return made<pocketlm_detokenizer>([&] {
        require(model);
        return new pocketlm_detokenizer{
            model->model, Detokenizer(model->model->tokenizer(), after), {}};
    });
}

const char* pocketlm_detokenizer_push(pocketlm_detokenizer* detokenizer, int32_t token,
                                      size_t* length) {
    return next_text(detokenizer, length, [&] { return detokenizer->detokenizer.push(token); });
}

const char* pocketlm_detokenizer_flush(pocketlm_detokenizer* detokenizer, size_t* length) {
    return next_text(detokenizer, length, [&] { return detokenizer->detokenizer.flush(); });
}

void pocketlm_detokenizer_free(pocketlm_detokenizer* detokenizer) { delete detokenizer; }

pocketlm_session* pocketlm_session_new(pocketlm_model* model, int32_t context) {
    return made<pocketlm_session>([&] {
        require(model);
        return new pocketlm_session{{model->model, context}};
    });
}

pocketlm_status pocketlm_session_step(pocketlm_session* session, const int32_t* tokens,
                                      size_t count) {
    return guarded([&] {
        require(session, tokens);
        session->session.step(tokens, checked_count(count));
        return POCKETLM_OK;
    });
}

const float* pocketlm_session_logits(const pocketlm_session* session) {
    const float* logits = nullptr;
    guarded([&] {
        require(session);
        logits = session->session.logits();
        if (logits == nullptr) {
            refuse(Fault::argument, "the session has no logits: step first");
        }
        return POCKETLM_OK;
    });
    return logits;
}

size_t pocketlm_session_length(const pocketlm_session* session) {
    return session == nullptr ? 0 : session->session.tokens().size();
}

pocketlm_status pocketlm_session_rewind(pocketlm_session* session, size_t length) {
    return guarded([&] {
        require(session);
        session->session.rewind(checked_count(length));
        return POCKETLM_OK;
    });
}

void pocketlm_session_free(pocketlm_session* session) { delete session; }

pocketlm_sampler* pocketlm_sampler_new(const pocketlm_model* model,
                                       const pocketlm_sampling* sampling, const int32_t* prompt,
                                       size_t count) {
    return made<pocketlm_sampler>([&] {
        require(model);
        if (count > 0) {
            require(prompt);
        }
        const Model& of = *model->model;
        return new pocketlm_sampler{
            model->model,
            Sampler(parameters_of(sampling), std::vector<int32_t>(prompt, prompt + count),
                    of.banned(), of.program().vocab_size)};
    });
}

pocketlm_status pocketlm_sampler_sample(pocketlm_sampler* sampler, const pocketlm_session* session,
                                        int32_t* token) {
    return guarded([&] {
        require(sampler, session, token);
        if (&session->session.model() != sampler->model.get()) {
            refuse(Fault::argument, "the sampler is for another model than the session");
        }
        const float* logits = session->session.logits();
        if (logits == nullptr) {
            refuse(Fault::argument, "the session has no logits: step first");
        }
        *token = sampler->sampler.choose(logits);
        return POCKETLM_OK;
    });
}

void pocketlm_sampler_free(pocketlm_sampler* sampler) { delete sampler; }
