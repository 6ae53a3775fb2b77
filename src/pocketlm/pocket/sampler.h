// From a row of logits to a token: the choices of engine/sampling.py, number for number.
//
// The order is the field's: penalties and bias, temperature, top-k, top-p, min-p. Equal logits and an equal
// seed give the tokens that the desktop engine gives. It knows logits and token ids; it does not know text,
// nor how logits come about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace pocketlm {

// PCG64 (O'Neill 2014: XSL-RR on 128 bits), seeded as NumPy seeds it.
class Random {
  public:
    explicit Random(uint64_t seed);

    // Uniform in [0, 1), of 53 bits.
    double next();

  private:
    struct Wide {
        uint64_t high;
        uint64_t low;
    };
    static Wide add(Wide a, Wide b);
    static Wide multiply(Wide a, Wide b);
    void step();

    Wide state_{};
    Wide increment_{};
};

// As engine/sampling.py's SamplingParameters says each; the default is greedy.
struct SamplingParameters {
    double temperature = 0.0;
    int64_t top_k = 0;
    double top_p = 1.0;
    double min_p = 0.0;
    double repetition_penalty = 1.0;
    double presence_penalty = 0.0;
    double frequency_penalty = 0.0;
    std::optional<uint64_t> seed;                      // none: a new one is drawn
    std::vector<std::pair<int32_t, double>> logit_bias;  // each token once
};

class Sampler {
  public:
    // `prompt` counts for the repetition penalty; `banned` ids are never chosen. Throws Error for a
    // parameter out of its range.
    Sampler(SamplingParameters parameters, const std::vector<int32_t>& prompt,
            std::vector<int32_t> banned, int vocab_size);

    // The next token. Throws Error for logits that are no numbers, or when no token is left.
    int32_t choose(const float* logits);

  private:
    void adjust();
    int32_t draw();
    float least_weight(const std::vector<float>& weights) const;

    SamplingParameters parameters_;
    std::vector<int32_t> banned_;
    Random random_;
    std::vector<float> counts_;  // of each token in the answer
    std::vector<bool> seen_;     // in prompt or answer
    std::vector<float> logits_;  // of one choice
};

// e^x for x <= 0, as NumPy computes it on processors with AVX2: not always what the C library rounds to.
float exp_as_numpy(float x);

// The sum of float32 numbers in float64, in NumPy's order of additions.
double sum_as_numpy(const float* numbers, size_t count);

}  // namespace pocketlm
