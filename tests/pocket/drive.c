/* The C API as a program that answers: a line of words on standard input, a line on standard output.
 *
 *   drive MODEL [CACHE_TYPE [CONTEXT [memory|reader]]]
 *
 *   step TOKEN…                          ok
 *   logits                               the bits of each, hexadecimal
 *   rewind LENGTH                        ok
 *   sampler TEMPERATURE TOP_K TOP_P MIN_P REPETITION PRESENCE FREQUENCY SEED TOKEN…      ok
 *   sample                               the token
 *   tokenize FLAGS HEX                   tokens
 *   text AFTER TOKEN…                    the bytes of the detokenized text, hexadecimal
 *   bytes TOKEN                          its bytes, hexadecimal
 *   facts                                name=value …
 *   ends                                 the tokens that end an answer
 *
 * What fails answers: error STATUS TEXT. A model that cannot be loaded is told in one such line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pocketlm.h"

enum { line_size = 1 << 20, most_tokens = 1 << 16 };

static char line[line_size];
static int32_t numbers[most_tokens];
static char bytes[line_size];

static void tell(pocketlm_status status) {
    if (status == POCKETLM_OK) {
        printf("ok\n");
    } else {
        printf("error %d %s\n", (int)status, pocketlm_last_error());
    }
}

static void tell_hex(const char* data, size_t length) {
    size_t i;
    for (i = 0; i < length; ++i) {
        printf("%02x", (unsigned)(unsigned char)data[i]);
    }
}

/* The words that are left of the line, as numbers. */
static size_t read_numbers(void) {
    size_t count = 0;
    const char* word;
    while ((word = strtok(NULL, " \n")) != NULL && count < most_tokens) {
        numbers[count++] = (int32_t)strtol(word, NULL, 10);
    }
    return count;
}

static size_t read_hex(void) {
    const char* word = strtok(NULL, " \n");
    size_t length = 0;
    unsigned byte;
    while (word != NULL && sscanf(word + 2 * length, "%2x", &byte) == 1) {
        bytes[length++] = (char)byte;
    }
    return length;
}

static double read_double(void) {
    const char* word = strtok(NULL, " \n");
    return word == NULL ? 0.0 : strtod(word, NULL);
}

static pocketlm_sampler* new_sampler(const pocketlm_model* model) {
    pocketlm_sampling sampling = pocketlm_sampling_default();
    const char* word;
    sampling.temperature = read_double();
    sampling.top_k = (int64_t)read_double();
    sampling.top_p = read_double();
    sampling.min_p = read_double();
    sampling.repetition_penalty = read_double();
    sampling.presence_penalty = read_double();
    sampling.frequency_penalty = read_double();
    word = strtok(NULL, " \n");
    sampling.has_seed = 1;
    sampling.seed = word == NULL ? 0 : strtoull(word, NULL, 10);
    return pocketlm_sampler_new(model, &sampling, numbers, read_numbers());
}

static void tell_logits(const pocketlm_session* session, int32_t count) {
    const float* logits = pocketlm_session_logits(session);
    int32_t i;
    if (logits == NULL) {
        tell(POCKETLM_ERROR_ARGUMENT);
        return;
    }
    for (i = 0; i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        printf("%08lx", (unsigned long)bits);
    }
    printf("\n");
}

static void tell_text(const pocketlm_model* model) {
    const size_t count = read_numbers();
    pocketlm_detokenizer* detokenizer = pocketlm_detokenizer_new(model, numbers[0]);
    size_t length = 0;
    size_t i;
    const char* text;
    for (i = 1; i < count; ++i) {
        text = pocketlm_detokenizer_push(detokenizer, numbers[i], &length);
        tell_hex(text, length);
    }
    text = pocketlm_detokenizer_flush(detokenizer, &length);
    tell_hex(text, length);
    printf("\n");
    pocketlm_detokenizer_free(detokenizer);
}

static void tell_tokens(const pocketlm_model* model) {
    const char* word = strtok(NULL, " \n");
    const uint32_t flags = word == NULL ? 0 : (uint32_t)strtoul(word, NULL, 10);
    const size_t length = read_hex();
    size_t count = 0;
    size_t i;
    const pocketlm_status status =
        pocketlm_tokenize(model, bytes, length, flags, numbers, most_tokens, &count);
    if (status != POCKETLM_OK) {
        tell(status);
        return;
    }
    for (i = 0; i < count; ++i) {
        printf("%ld ", (long)numbers[i]);
    }
    printf("\n");
}

static void tell_facts(const pocketlm_facts* facts) {
    printf("architecture=%s instruction_set=%s threads=%ld vocab_size=%ld token_count=%ld context=%ld "
           "layers=%ld hidden_size=%ld window=%ld bos_token=%ld eos_token=%ld adds_bos=%ld "
           "weight_bytes=%llu mapped_bytes=%llu block_bytes=%llu block_tokens=%ld\n",
           facts->architecture, facts->instruction_set, (long)facts->threads, (long)facts->vocab_size,
           (long)facts->token_count, (long)facts->context, (long)facts->layers, (long)facts->hidden_size,
           (long)facts->window, (long)facts->bos_token, (long)facts->eos_token, (long)facts->adds_bos,
           (unsigned long long)facts->weight_bytes, (unsigned long long)facts->mapped_bytes,
           (unsigned long long)facts->block_bytes, (long)facts->block_tokens);
}

static void serve(pocketlm_model* model, pocketlm_session* session) {
    pocketlm_sampler* sampler = NULL;
    pocketlm_facts facts;
    facts.size = sizeof facts;
    tell(pocketlm_model_facts(model, &facts));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char* word = strtok(line, " \n");
        if (strcmp(word, "step") == 0) {
            const size_t count = read_numbers();
            tell(pocketlm_session_step(session, numbers, count));
        } else if (strcmp(word, "logits") == 0) {
            tell_logits(session, facts.vocab_size);
        } else if (strcmp(word, "rewind") == 0) {
            read_numbers();
            tell(pocketlm_session_rewind(session, (size_t)numbers[0]));
        } else if (strcmp(word, "sampler") == 0) {
            pocketlm_sampler_free(sampler);
            sampler = new_sampler(model);
            tell(sampler == NULL ? POCKETLM_ERROR_ARGUMENT : POCKETLM_OK);
        } else if (strcmp(word, "sample") == 0) {
            int32_t token = -1;
            const pocketlm_status status = pocketlm_sampler_sample(sampler, session, &token);
            if (status == POCKETLM_OK) {
                printf("%ld\n", (long)token);
            } else {
                tell(status);
            }
        } else if (strcmp(word, "tokenize") == 0) {
            tell_tokens(model);
        } else if (strcmp(word, "text") == 0) {
            tell_text(model);
        } else if (strcmp(word, "bytes") == 0) {
            size_t length = 0;
            read_numbers();
            pocketlm_token_bytes(model, numbers[0], bytes, sizeof bytes, &length);
            tell_hex(bytes, length);
            printf("\n");
        } else if (strcmp(word, "facts") == 0) {
            tell_facts(&facts);
        } else if (strcmp(word, "ends") == 0) {
            int32_t id;
            for (id = 0; id < facts.vocab_size; ++id) {
                if (pocketlm_model_is_end(model, id)) {
                    printf("%ld ", (long)id);
                }
            }
            printf("\n");
        } else {
            printf("error 0 no such command: %s\n", word);
        }
        fflush(stdout);
    }
    pocketlm_sampler_free(sampler);
}

/* A file's bytes, to be freed. */
static void* read_file(const char* path, size_t* size) {
    FILE* file = fopen(path, "rb");
    void* data = NULL;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        *size = (size_t)ftell(file);
        rewind(file);
        data = malloc(*size);
        if (data != NULL && fread(data, 1, *size, file) != *size) {
            free(data);
            data = NULL;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return data;
}

/* A pocketlm_reader's: `context` is an open file. */
static int32_t read_part(void* context, uint64_t offset, void* to, size_t length) {
    FILE* file = (FILE*)context;
    return fseek(file, (long)offset, SEEK_SET) == 0 && fread(to, 1, length, file) == length ? 0 : 1;
}

/* The file is closed before the model is used: it is not needed any more. */
static pocketlm_model* load_by_reader(const char* path, const pocketlm_model_options* options) {
    pocketlm_reader reader;
    pocketlm_model* model = NULL;
    FILE* file = fopen(path, "rb");
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        reader.size = sizeof reader;
        reader.bytes = (uint64_t)ftell(file);
        reader.read = read_part;
        reader.context = file;
        model = pocketlm_model_load_reader(&reader, options);
    }
    if (file != NULL) {
        fclose(file);
    }
    return model;
}

int main(int argc, char** argv) {
    pocketlm_model_options options = pocketlm_model_options_default();
    pocketlm_model* model;
    pocketlm_session* session;
    void* data = NULL;
    size_t size = 0;
    if (argc < 2) {
        return 2;
    }
    options.threads = 1;
    options.cache_type = argc > 2 ? argv[2] : NULL;
    if (argc > 4 && strcmp(argv[4], "reader") == 0) {
        model = load_by_reader(argv[1], &options);
    } else if (argc > 4) {
        data = read_file(argv[1], &size);
        model = pocketlm_model_load_memory(data, size, &options);
    } else {
        model = pocketlm_model_load(argv[1], &options);
    }
    session = model == NULL
                  ? NULL
                  : pocketlm_session_new(model, argc > 3 ? (int32_t)strtol(argv[3], NULL, 10) : 0);
    if (session == NULL) {
        tell(POCKETLM_ERROR_INTERNAL);
        pocketlm_model_free(model);
        free(data);
        return 1;
    }
    serve(model, session);
    /* A model's memory lasts as long as a session of it. */
    pocketlm_model_free(model);
    pocketlm_session_free(session);
    free(data);
    return 0;
}
