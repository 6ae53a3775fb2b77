/* Continues a text, and prints what the model writes as it comes:
 *
 *   complete MODEL.gguf "Once upon a time" [TOKENS [TEMPERATURE [SEED]]]
 *
 * Without a temperature it takes the most likely token each time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pocketlm.h"

static int failed(const char* what) {
    fprintf(stderr, "complete: %s: %s\n", what, pocketlm_last_error());
    return 1;
}

/* The prompt's tokens, to be freed; NULL where that fails. */
static int32_t* tokens_of(const pocketlm_model* model, const char* prompt, size_t* count) {
    int32_t* tokens = NULL;
    size_t room = 0;
    pocketlm_status status;
    *count = 0;
    status = pocketlm_tokenize(model, prompt, strlen(prompt), POCKETLM_BOS, NULL, 0, &room);
    if (status != POCKETLM_OK && status != POCKETLM_ERROR_BUFFER) {
        return NULL;
    }
    tokens = malloc((room + 1) * sizeof *tokens);
    if (tokens != NULL && pocketlm_tokenize(model, prompt, strlen(prompt), POCKETLM_BOS, tokens, room,
                                            count) != POCKETLM_OK) {
        free(tokens);
        return NULL;
    }
    return tokens;
}

/* Write up to `most` tokens after the prompt. */
static int complete(pocketlm_model* model, const char* prompt, long most,
                    const pocketlm_sampling* sampling) {
    size_t count = 0;
    int32_t* tokens = tokens_of(model, prompt, &count);
    pocketlm_session* session = pocketlm_session_new(model, 0);
    pocketlm_sampler* sampler = pocketlm_sampler_new(model, sampling, tokens, count);
    pocketlm_detokenizer* detokenizer =
        pocketlm_detokenizer_new(model, count > 0 && tokens != NULL ? tokens[count - 1] : -1);
    int ok = tokens != NULL && session != NULL && sampler != NULL && detokenizer != NULL &&
             pocketlm_session_step(session, tokens, count) == POCKETLM_OK;
    long written;
    for (written = 0; ok && written < most; ++written) {
        int32_t token;
        size_t length = 0;
        const char* text;
        ok = pocketlm_sampler_sample(sampler, session, &token) == POCKETLM_OK;
        if (!ok || pocketlm_model_is_end(model, token)) {
            break;
        }
        text = pocketlm_detokenizer_push(detokenizer, token, &length);
        ok = text != NULL;
        if (ok) {
            fwrite(text, 1, length, stdout);
            fflush(stdout);
            ok = written + 1 == most || pocketlm_session_step(session, &token, 1) == POCKETLM_OK;
        }
    }
    if (ok) {
        const char* rest = pocketlm_detokenizer_flush(detokenizer, NULL);
        printf("%s\n", rest != NULL ? rest : "");
    }
    pocketlm_detokenizer_free(detokenizer);
    pocketlm_sampler_free(sampler);
    pocketlm_session_free(session);
    free(tokens);
    return ok ? 0 : failed("cannot go on");
}

int main(int argc, char** argv) {
    pocketlm_sampling sampling = pocketlm_sampling_default();
    pocketlm_model* model;
    long most = argc > 3 ? strtol(argv[3], NULL, 10) : 64;
    int result;
    if (argc < 3 || argc > 6 || most < 1) {
        fprintf(stderr, "usage: complete MODEL.gguf PROMPT [TOKENS [TEMPERATURE [SEED]]]\n");
        return 2;
    }
    if (argc > 4) {
        sampling.temperature = strtod(argv[4], NULL);
    }
    if (argc > 5) {
        sampling.has_seed = 1;
        sampling.seed = strtoull(argv[5], NULL, 10);
    }
    model = pocketlm_model_load(argv[1], NULL);
    if (model == NULL) {
        return failed("cannot load the model");
    }
    result = complete(model, argv[2], most, &sampling);
    pocketlm_model_free(model);
    return result;
}
