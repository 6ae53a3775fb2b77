// Sampling: NumPy's numbers, and each parameter's effect. Equality with the desktop engine, choice for choice,
// is tests/pocket/test_c_api.py's.
#include <limits>

#include "check.h"
#include "error.h"
#include "sampler.h"

using namespace pocketlm;

namespace {

int32_t first_choice(SamplingParameters parameters, const std::vector<float>& logits,
                     std::vector<int32_t> banned = {}) {
    Sampler sampler(std::move(parameters), {}, std::move(banned), static_cast<int>(logits.size()));
    return sampler.choose(logits.data());
}

SamplingParameters seeded(double temperature, uint64_t seed) {
    SamplingParameters parameters;
    parameters.temperature = temperature;
    parameters.seed = seed;
    return parameters;
}

}  // namespace

// numpy.random.Generator(numpy.random.PCG64(seed)).random(): NumPy's documentation promises this stream.
TEST(the_stream_is_numpys) {
    Random zero(0);
    CHECK_EQUAL(zero.next(), 0.6369616873214543);
    CHECK_EQUAL(zero.next(), 0.2697867137638703);
    Random answer(42);
    CHECK_EQUAL(answer.next(), 0.7739560485559633);
    CHECK_EQUAL(answer.next(), 0.4388784397520523);
}

TEST(exponentials_stay_in_their_range) {
    CHECK_EQUAL(exp_as_numpy(0.0f), 1.0f);
    CHECK_EQUAL(exp_as_numpy(-0.0f), 1.0f);
    CHECK_EQUAL(exp_as_numpy(-std::numeric_limits<float>::infinity()), 0.0f);
    CHECK_EQUAL(exp_as_numpy(-1000.0f), 0.0f);
    for (float x = 0.0f; x > -87.0f; x -= 0.37f) {
        const double exact = std::exp(static_cast<double>(x));
        CHECK_CLOSE(exp_as_numpy(x), exact, 3e-7 * exact);
    }
}

TEST(greedy_takes_the_first_of_the_greatest) {
    CHECK_EQUAL(first_choice({}, {1, 5, 5, 2}), 1);
    CHECK_EQUAL(first_choice({}, {1, 5, 5, 2}, {1}), 2);
}

TEST(penalties_and_bias) {
    SamplingParameters parameters;
    parameters.frequency_penalty = 1.0;
    const std::vector<float> logits = {3.0f, 2.5f, 0.0f};
    Sampler sampler(parameters, {}, {}, 3);
    CHECK_EQUAL(sampler.choose(logits.data()), 0);
    CHECK_EQUAL(sampler.choose(logits.data()), 1);
    CHECK_EQUAL(sampler.choose(logits.data()), 0);
    SamplingParameters biased;
    biased.logit_bias = {{2, 9.0}};
    CHECK_EQUAL(first_choice(biased, logits), 2);
    SamplingParameters repeating;
    repeating.repetition_penalty = 2.0;
    Sampler after_prompt(repeating, {0}, {}, 3);
    CHECK_EQUAL(after_prompt.choose(logits.data()), 1);
}

TEST(a_temperature_draws_by_probability) {
    const std::vector<float> logits = {0.0f, std::log(3.0f)};
    Sampler sampler(seeded(1.0, 1), {}, {}, 2);
    int second = 0;
    for (int i = 0; i < 4000; ++i) {
        second += sampler.choose(logits.data());
    }
    CHECK_CLOSE(second, 3000, 120);
}

TEST(filters_leave_the_likeliest) {
    const std::vector<float> logits = {2.0f, 1.9f, -3.0f, -9.0f};
    for (uint64_t seed = 0; seed < 200; ++seed) {
        SamplingParameters nucleus = seeded(1.5, seed);
        nucleus.top_p = 0.8;
        CHECK(first_choice(nucleus, logits) <= 1);
        SamplingParameters few = seeded(1.5, seed);
        few.top_k = 2;
        CHECK(first_choice(few, logits) <= 1);
        SamplingParameters likely = seeded(1.5, seed);
        likely.min_p = 0.5;
        CHECK(first_choice(likely, logits) <= 1);
    }
}

TEST(what_cannot_be_is_refused) {
    const auto fault_of = [](SamplingParameters parameters, const std::vector<float>& logits) {
        try {
            first_choice(std::move(parameters), logits);
        } catch (const Error& error) {
            return static_cast<int>(error.fault());
        }
        return -1;
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinite = std::numeric_limits<float>::infinity();
    const int argument = static_cast<int>(Fault::argument);
    CHECK_EQUAL(fault_of({}, {1, nan}), static_cast<int>(Fault::file));
    CHECK_EQUAL(fault_of({}, {1, infinite}), static_cast<int>(Fault::file));
    CHECK_EQUAL(fault_of({}, {-infinite, -infinite}), static_cast<int>(Fault::file));
    CHECK_EQUAL(fault_of(seeded(-1.0, 0), {1, 2}), argument);
    CHECK_EQUAL(fault_of(seeded(static_cast<double>(nan), 0), {1, 2}), argument);
    SamplingParameters parameters;
    parameters.top_p = 0.0;
    CHECK_EQUAL(fault_of(parameters, {1, 2}), argument);
    parameters = {};
    parameters.logit_bias = {{2, 1.0}};
    CHECK_EQUAL(fault_of(parameters, {1, 2}), argument);
    parameters.logit_bias = {{1, 1.0}, {1, 2.0}};
    CHECK_EQUAL(fault_of(parameters, {1, 2}), argument);
}

int main() { return run_tests(); }
