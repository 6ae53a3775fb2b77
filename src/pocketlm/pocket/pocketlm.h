/* pocketlm in C: load a model, tokenize, step, sample, free.
 *
 * The library runs a language model from a GGUF file on the processor, offline. This header is all that an
 * application needs; docs/c-api.md tells how to build and to use it.
 *
 * Errors. A function returns a status, or a pointer that is NULL where it failed; pocketlm_last_error says
 * what was wrong. Nothing is thrown and nothing aborts, whatever a file, a text or an argument holds. An
 * argument that is a pointer to one of the types below, or to what a function fills, must not be NULL; NULL is
 * reported as any other wrong argument. The free functions take NULL and do nothing.
 *
 * Threads. A model may be used by several threads. A session, a sampler and a detokenizer are used by one at a
 * time. Steps of one model's sessions take turns.
 *
 * Versions. What is here stays as it is within one POCKETLM_API_VERSION; structures that the caller fills begin
 * with their size, and grow at the end alone.
 */
#ifndef POCKETLM_H
#define POCKETLM_H

#include <stddef.h>
#include <stdint.h>

#define POCKETLM_API_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pocketlm_status {
    POCKETLM_OK = 0,
    POCKETLM_ERROR_ARGUMENT = 1,    /* what the caller gave is out of range */
    POCKETLM_ERROR_FILE = 2,        /* no such file, or it is damaged */
    POCKETLM_ERROR_UNSUPPORTED = 3, /* a sound file of a kind that is not run */
    POCKETLM_ERROR_CONTEXT = 4,     /* the text is longer than the context */
    POCKETLM_ERROR_MEMORY = 5,      /* no memory, or no threads, left */
    POCKETLM_ERROR_BUFFER = 6,      /* the caller's buffer is too small; the size needed is told */
    POCKETLM_ERROR_INTERNAL = 7     /* a fault of the library */
} pocketlm_status;

typedef struct pocketlm_model pocketlm_model;
typedef struct pocketlm_session pocketlm_session;
typedef struct pocketlm_sampler pocketlm_sampler;
typedef struct pocketlm_detokenizer pocketlm_detokenizer;

/* The POCKETLM_API_VERSION that the library was built with. */
int32_t pocketlm_api_version(void);

/* What went wrong in this thread's last call that failed: one line of UTF-8; "" before any did. It lasts until
 * the next failure in this thread. */
const char* pocketlm_last_error(void);

/* ---- models ---- */

typedef struct pocketlm_model_options {
    size_t size;                 /* sizeof(pocketlm_model_options) */
    int32_t threads;             /* 0: as many as there are physical cores at our disposal */
    const char* cache_type;      /* "f32", "f16", "q8", "q4", or keys/values: "q8/q4"; NULL: "q8" */
    const char* instruction_set; /* of the kernels; NULL: the best that the processor has */
} pocketlm_model_options;

static inline pocketlm_model_options pocketlm_model_options_default(void) {
    pocketlm_model_options options;
    options.size = sizeof options;
    options.threads = 0;
    options.cache_type = NULL;
    options.instruction_set = NULL;
    return options;
}

/* Load the GGUF file at `path`. It is mapped where the system can, and must not be changed before the model is
 * freed. `options` NULL: the defaults. NULL where it fails. */
pocketlm_model* pocketlm_model_load(const char* path, const pocketlm_model_options* options);

/* Load the `size` bytes of a GGUF file at `data`, which must be aligned to 8 bytes. They stay the caller's, and
 * must stay as they are until the model and its sessions are freed; or until this returns, if then
 * pocketlm_facts.mapped_bytes is 0. */
pocketlm_model* pocketlm_model_load_memory(const void* data, size_t size,
                                           const pocketlm_model_options* options);

/* A GGUF file that is read piece by piece: from an archive, an application's assets, a browser's storage. */
typedef struct pocketlm_reader {
    size_t size;    /* sizeof(pocketlm_reader) */
    uint64_t bytes; /* of the file */
    /* Fill `to` with `length` bytes of the file from `offset` on; 0, or anything else where that fails. */
    int32_t (*read)(void* context, uint64_t offset, void* to, size_t length);
    void* context;  /* for `read` */
} pocketlm_reader;

/* Load the file that `reader` reads, which is not needed any more when this returns. The file is never whole in
 * memory: of each matrix there is what kernels read, and of one of them what the file has. */
pocketlm_model* pocketlm_model_load_reader(const pocketlm_reader* reader,
                                           const pocketlm_model_options* options);

/* Free a model. Its memory lasts as long as sessions, samplers and detokenizers of it. */
void pocketlm_model_free(pocketlm_model* model);

typedef struct pocketlm_facts {
    size_t size;                 /* sizeof(pocketlm_facts), set by the caller */
    const char* architecture;    /* "llama", "mistral", "phi3", "qwen2" */
    const char* name;            /* as the file has it; "" if it has none */
    const char* chat_template;   /* Jinja, as the file has it; "" if it has none. To render it is the caller's. */
    const char* instruction_set; /* of the kernels in use */
    int32_t threads;
    int32_t vocab_size;          /* logits of a step; token ids are below it */
    int32_t token_count;         /* tokens that have a spelling: at most vocab_size in sound files */
    int32_t context;             /* most tokens of a text */
    int32_t layers;
    int32_t hidden_size;
    int32_t window;              /* tokens that attention sees; 0: all */
    int32_t bos_token;           /* -1 where there is none */
    int32_t eos_token;           /* -1 where there is none */
    int32_t adds_bos;            /* 1: a text begins with bos_token */
    uint64_t weight_bytes;       /* of all matrices, as kernels read them */
    uint64_t mapped_bytes;       /* how many of these are read where the file has them */
    uint64_t block_bytes;        /* of cache that each `block_tokens` tokens of a session take */
    int32_t block_tokens;
    int32_t pad_token;           /* -1 where there is none; chat templates may ask for these two */
    int32_t unknown_token;
} pocketlm_facts;

/* Fill `facts`, whose `size` is set. Its texts last as long as the model. */
pocketlm_status pocketlm_model_facts(const pocketlm_model* model, pocketlm_facts* facts);

/* 1 for a token that ends an answer, by its name or as the file says; else 0, also for ids outside. */
int32_t pocketlm_model_is_end(const pocketlm_model* model, int32_t token);

/* 1 for a token that steers the model; else 0, also for ids outside. */
int32_t pocketlm_model_is_control(const pocketlm_model* model, int32_t token);

/* ---- text ---- */

#define POCKETLM_TEXT 0u    /* the text alone, in which nothing is a control token, whatever it spells */
#define POCKETLM_CONTROL 1u /* spellings of control tokens ("<|im_end|>") become these tokens */
#define POCKETLM_BOS 2u     /* put bos_token first, where adds_bos is 1 and the text does not begin with it */

/* Token ids of `length` bytes of UTF-8 text, to `tokens`, which has room for `capacity`; how many there are, to
 * `count`, also where the room is too small (POCKETLM_ERROR_BUFFER; then nothing is written). `tokens` may be
 * NULL with a capacity of 0. Bytes that are no UTF-8 are read as U+FFFD. */
pocketlm_status pocketlm_tokenize(const pocketlm_model* model, const char* text, size_t length,
                                  uint32_t flags, int32_t* tokens, size_t capacity, size_t* count);

/* The same of plain text that stands after token `after` (-1: at the start of a text), in which nothing is a
 * control token. After a control token the vocabulary may want whitespace left out, or a space put in; after any
 * other one the text is a continuation. */
pocketlm_status pocketlm_tokenize_after(const pocketlm_model* model, int32_t after, const char* text,
                                        size_t length, int32_t* tokens, size_t capacity, size_t* count);

/* How the vocabulary spells a token, control tokens too ("<|im_end|>"), in UTF-8; nothing for ids outside.
 * Buffers as above; no zero byte is added. */
pocketlm_status pocketlm_token_spelling(const pocketlm_model* model, int32_t token, char* bytes,
                                        size_t capacity, size_t* length);

/* The bytes that a token stands for, which need not be whole characters; none for control tokens and padding.
 * Buffers as above; no zero byte is added. */
pocketlm_status pocketlm_token_bytes(const pocketlm_model* model, int32_t token, char* bytes,
                                     size_t capacity, size_t* length);

/* The control token that is spelled so ("<|im_end|>"); -1 where there is none. */
int32_t pocketlm_control_token(const pocketlm_model* model, const char* spelling);

/* Text from tokens that come one at a time, after token `after` (-1: at the start of a text): a vocabulary's
 * space that only marks the start of a word is left out there. */
pocketlm_detokenizer* pocketlm_detokenizer_new(const pocketlm_model* model, int32_t after);

/* The whole characters that `token` completes: valid UTF-8 of `length` bytes, with a zero byte after them; "" while
 * one is unfinished. It lasts until the next call. NULL where it fails. `length` may be NULL. */
const char* pocketlm_detokenizer_push(pocketlm_detokenizer* detokenizer, int32_t token, size_t* length);

/* What is left at the end: U+FFFD where a character was begun and not finished, else "". */
const char* pocketlm_detokenizer_flush(pocketlm_detokenizer* detokenizer, size_t* length);

void pocketlm_detokenizer_free(pocketlm_detokenizer* detokenizer);

/* ---- sessions ---- */

/* A text that grows. At most `context` tokens; 0: the model's context. Memory is taken as it grows. */
pocketlm_session* pocketlm_session_new(pocketlm_model* model, int32_t context);

/* Process `count` tokens (at least one) after those that the session has. Where it fails, the session has the
 * tokens that it had, and no logits. */
pocketlm_status pocketlm_session_step(pocketlm_session* session, const int32_t* tokens, size_t count);

/* The logits after the last token, vocab_size of them; NULL where the last call was no step that succeeded. They
 * last until the next step, rewind or free. */
const float* pocketlm_session_logits(const pocketlm_session* session);

/* How many tokens the session has; 0 for NULL. */
size_t pocketlm_session_length(const pocketlm_session* session);

/* Forget the tokens from `length` on: cheap, but in a model with a window, where a long way back costs the next
 * step the whole text. */
pocketlm_status pocketlm_session_rewind(pocketlm_session* session, size_t length);

void pocketlm_session_free(pocketlm_session* session);

/* ---- sampling ---- */

/* How a token is chosen. The order is: penalties and bias, temperature, top-k, top-p, min-p. */
typedef struct pocketlm_sampling {
    size_t size;               /* sizeof(pocketlm_sampling) */
    double temperature;        /* 0: the most likely token (greedy); 1: the model's own distribution */
    int64_t top_k;             /* among the k most likely tokens; 0: all */
    double top_p;              /* among the most likely tokens that together reach this; 1: all */
    double min_p;              /* no token less likely than this part of the most likely one's; 0: all */
    double repetition_penalty; /* divides the logits of the prompt's and answer's tokens; 1: none */
    double presence_penalty;   /* taken from the logits of the answer's tokens, once */
    double frequency_penalty;  /* taken from them once for each time */
    int32_t has_seed;          /* 0: a seed is drawn */
    uint64_t seed;             /* the same seed gives the same text, the one that the desktop engine gives */
    const int32_t* bias_tokens; /* to the logits of these, each named once, … */
    const double* bias_values;  /* … these are added */
    size_t bias_count;
} pocketlm_sampling;

/* Greedy. */
static inline pocketlm_sampling pocketlm_sampling_default(void) {
    pocketlm_sampling sampling;
    sampling.size = sizeof sampling;
    sampling.temperature = 0.0;
    sampling.top_k = 0;
    sampling.top_p = 1.0;
    sampling.min_p = 0.0;
    sampling.repetition_penalty = 1.0;
    sampling.presence_penalty = 0.0;
    sampling.frequency_penalty = 0.0;
    sampling.has_seed = 0;
    sampling.seed = 0;
    sampling.bias_tokens = NULL;
    sampling.bias_values = NULL;
    sampling.bias_count = 0;
    return sampling;
}

/* What chooses the tokens of one answer. The `count` tokens of its `prompt` count for the repetition penalty;
 * `sampling` NULL is greedy. */
pocketlm_sampler* pocketlm_sampler_new(const pocketlm_model* model, const pocketlm_sampling* sampling,
                                       const int32_t* prompt, size_t count);

/* Choose the next token by the session's logits, and note it. The session does not take it yet: a step with it
 * does. Padding of the vocabulary is never chosen. */
pocketlm_status pocketlm_sampler_sample(pocketlm_sampler* sampler, const pocketlm_session* session,
                                        int32_t* token);

void pocketlm_sampler_free(pocketlm_sampler* sampler);

#ifdef __cplusplus
}
#endif

#endif
