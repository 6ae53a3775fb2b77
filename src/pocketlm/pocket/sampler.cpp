#include "sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>
#include <string>

#include "error.h"

namespace pocketlm {
namespace {

constexpr float none = -std::numeric_limits<float>::infinity();
// Below this temperature the most likely token has all the probability that float32 can tell.
constexpr double greedy = 1e-6;
// Weights whose running sums are kept, so that a place is found without adding all of them up again.
constexpr size_t sum_block = 256;

void require_between(const char* name, double value, double least, double most) {
    if (!(std::isfinite(value) && value >= least && value <= most)) {
        refuse(Fault::argument, std::string(name) + " is " + std::to_string(value) +
                                    "; it must be a number from " + std::to_string(least) + " to " +
                                    std::to_string(most));
    }
}

void check(const SamplingParameters& p, int vocab_size) {
    require_between("temperature", p.temperature, 0.0, std::numeric_limits<double>::max());
    require_between("top_p", p.top_p, std::numeric_limits<double>::denorm_min(), 1.0);
    require_between("min_p", p.min_p, 0.0, 1.0);
    require_between("repetition_penalty", p.repetition_penalty, 0.01, 100.0);
    require_between("presence_penalty", p.presence_penalty, -2.0, 2.0);
    require_between("frequency_penalty", p.frequency_penalty, -2.0, 2.0);
    if (p.top_k < 0) {
        refuse(Fault::argument, "top_k is " + std::to_string(p.top_k) + "; it must be at least 0");
    }
    std::set<int32_t> biased;
    for (const auto& [token, bias] : p.logit_bias) {
        require_between("a logit_bias", bias, -1e9, 1e9);
        if (token < 0 || token >= vocab_size || !biased.insert(token).second) {
            refuse(Fault::argument, "logit_bias names token " + std::to_string(token) +
                                        ", which is not in the vocabulary of " +
                                        std::to_string(vocab_size) + " or is there twice");
        }
    }
}

uint64_t drawn_seed() {
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
}

// NumPy's SeedSequence: entropy mixed to a pool of four words, and words drawn from the pool.
class SeedSequence {
  public:
    explicit SeedSequence(uint64_t seed) {
        const uint32_t entropy[4] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), 0,
                                     0};
        uint32_t constant = 0x43b0d7e5u;
        const auto hashed = [&constant](uint32_t value) {
            value ^= constant;
            constant *= 0x931e8875u;
            value *= constant;
            return value ^ value >> 16;
        };
        for (int i = 0; i < 4; ++i) {
            pool_[i] = hashed(entropy[i]);
        }
        for (int from = 0; from < 4; ++from) {
            for (int to = 0; to < 4; ++to) {
                if (from != to) {
                    const uint32_t mixed =
                        0xca01f9ddu * pool_[to] - 0x4973f715u * hashed(pool_[from]);
                    pool_[to] = mixed ^ mixed >> 16;
                }
            }
        }
    }

    uint64_t next() {
        const uint64_t low = word();
        return low | static_cast<uint64_t>(word()) << 32;
    }

  private:
    uint32_t word() {
        uint32_t value = pool_[place_++ % 4] ^ constant_;
        constant_ *= 0x58f38dedu;
        value *= constant_;
        return value ^ value >> 16;
    }

    uint32_t pool_[4];
    uint32_t constant_ = 0x8b51f9ddu;
    unsigned place_ = 0;
};

// NumPy adds up to 128 numbers in eight running sums, and halves of more.
double pairwise_sum(const float* numbers, size_t count) {
    if (count < 8) {
        double sum = 0.0;
        for (size_t i = 0; i < count; ++i) {
            sum += static_cast<double>(numbers[i]);
        }
        return sum;
    }
    if (count <= 128) {
        double sums[8];
        std::copy_n(numbers, 8, sums);
        size_t i = 8;
        for (; i + 8 <= count; i += 8) {
            for (size_t j = 0; j < 8; ++j) {
                sums[j] += static_cast<double>(numbers[i + j]);
            }
        }
        double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
                     ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        for (; i < count; ++i) {
            sum += static_cast<double>(numbers[i]);
        }
        return sum;
    }
    const size_t half = count / 2 / 8 * 8;
    return pairwise_sum(numbers, half) + pairwise_sum(numbers + half, count - half);
}

std::vector<double> running_sums(const float* numbers, size_t count) {
    std::vector<double> sums;
    sums.reserve(count);
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) {
        sum += static_cast<double>(numbers[i]);
        sums.push_back(sum);
    }
    return sums;
}

size_t first_at_least(const std::vector<double>& sums, double value) {
    return static_cast<size_t>(std::lower_bound(sums.begin(), sums.end(), value) - sums.begin());
}

size_t first_above(const std::vector<double>& sums, double value) {
    return static_cast<size_t>(std::upper_bound(sums.begin(), sums.end(), value) - sums.begin());
}

// Where the running sum of `weights` passes `random` (0 … 1) of the total.
size_t place_of(const std::vector<float>& weights, double random) {
    std::vector<double> sums;
    for (size_t start = 0; start < weights.size(); start += sum_block) {
        const size_t count = std::min(sum_block, weights.size() - start);
        // The first number, and then the sum of the others: so NumPy's reduceat goes about it.
        const double block = static_cast<double>(weights[start]) +
                             pairwise_sum(weights.data() + start + 1, count - 1);
        sums.push_back(sums.empty() ? block : sums.back() + block);
    }
    const double passed = random * sums.back();
    const size_t block = std::min(first_above(sums, passed), first_at_least(sums, sums.back()));
    const size_t start = block * sum_block;
    const std::vector<double> inside = running_sums(
        weights.data() + start, std::min(sum_block, weights.size() - start));
    const double left = passed - (block > 0 ? sums[block - 1] : 0.0);
    // Rounding may leave more than there is: then the last one that has any weight.
    return start + std::min(first_above(inside, left), first_at_least(inside, inside.back()));
}

std::vector<float> those_at_least(const std::vector<float>& weights, float least) {
    std::vector<float> found;
    std::copy_if(weights.begin(), weights.end(), std::back_inserter(found),
                 [least](float weight) { return weight >= least; });
    return found;
}

}  // namespace

Random::Random(uint64_t seed) {
    SeedSequence words(seed);
    const uint64_t state_high = words.next();
    const uint64_t state_low = words.next();
    const uint64_t stream_high = words.next();
    const uint64_t stream_low = words.next();
    increment_ = {stream_high << 1 | stream_low >> 63, stream_low << 1 | 1};
    step();
    state_ = add(state_, {state_high, state_low});
    step();
}

Random::Wide Random::add(Wide a, Wide b) {
    const uint64_t low = a.low + b.low;
    return {a.high + b.high + (low < a.low ? 1u : 0u), low};
}

Random::Wide Random::multiply(Wide a, Wide b) {
    const uint64_t half = 0xffffffffu;
    const uint64_t ll = (a.low & half) * (b.low & half);
    const uint64_t lh = (a.low & half) * (b.low >> 32);
    const uint64_t hl = (a.low >> 32) * (b.low & half);
    const uint64_t hh = (a.low >> 32) * (b.low >> 32);
    const uint64_t middle = (ll >> 32) + (lh & half) + (hl & half);
    const uint64_t high = hh + (lh >> 32) + (hl >> 32) + (middle >> 32);
    return {high + a.high * b.low + a.low * b.high, a.low * b.low};
}

void Random::step() {
    state_ = add(multiply(state_, {0x2360ed051fc65da4u, 0x4385df649fccf645u}), increment_);
}

double Random::next() {
    step();
    const uint64_t folded = state_.high ^ state_.low;
    const unsigned turn = static_cast<unsigned>(state_.high >> 58);
    const uint64_t bits = folded >> turn | folded << (-turn & 63u);
    return static_cast<double>(bits >> 11) * 0x1p-53;
}

float exp_as_numpy(float x) {
    if (!(x >= -103.97208404541015625f)) {
        return 0.0f;
    }
    // x = quotient * ln 2 + rest, with ln 2 in two parts; e^rest is a quotient of polynomials.
    constexpr float round = 0x1.8p+23f;
    const float quotient = (x * 1.442695040888963407359924681001892137f + round) - round;
    float rest = std::fma(quotient, -6.93145752e-1f, x);
    rest = std::fma(quotient, -1.42860677e-6f, rest);
    float above = 5.082762527590693718096e-04f;
    for (const float coefficient :
         {6.757896990527504603057e-03f, 5.114512081637298353406e-02f, 2.473615434895520810817e-01f,
          7.257664613233124478488e-01f, 9.999999999980870924916e-01f}) {
        above = std::fma(above, rest, coefficient);
    }
    float below = 2.159509375685829852307e-02f;
    below = std::fma(below, rest, -2.742335390411667452936e-01f);
    below = std::fma(below, rest, 1.0f);
    return std::ldexp(above / below, static_cast<int>(quotient));
}

double sum_as_numpy(const float* numbers, size_t count) {
    // It converts so many numbers at a time.
    constexpr size_t buffer = 8192;
    double sum = 0.0;
    for (size_t start = 0; start < count; start += buffer) {
        sum += pairwise_sum(numbers + start, std::min(buffer, count - start));
    }
    return sum;
}

Sampler::Sampler(SamplingParameters parameters, const std::vector<int32_t>& prompt,
                 std::vector<int32_t> banned, int vocab_size)
    : parameters_(std::move(parameters)),
      banned_(std::move(banned)),
      random_(parameters_.seed ? *parameters_.seed : drawn_seed()),
      counts_(static_cast<size_t>(vocab_size)),
      seen_(static_cast<size_t>(vocab_size)),
      logits_(static_cast<size_t>(vocab_size)) {
    check(parameters_, vocab_size);
    for (const int32_t token : prompt) {
        if (token < 0 || token >= vocab_size) {
            refuse(Fault::argument, "token id " + std::to_string(token) +
                                        " is not in the vocabulary (0 to " +
                                        std::to_string(vocab_size - 1) + ")");
        }
        seen_[static_cast<size_t>(token)] = true;
    }
}

int32_t Sampler::choose(const float* logits) {
    logits_.assign(logits, logits + logits_.size());
    for (const int32_t id : banned_) {
        logits_[static_cast<size_t>(id)] = none;
    }
    // NaN or +infinity anywhere, or nothing but -infinity.
    float greatest = none;
    bool numbers = true;
    for (const float logit : logits_) {
        numbers &= logit < std::numeric_limits<float>::infinity();
        greatest = std::max(greatest, logit);
    }
    if (!numbers || greatest == none) {
        refuse(Fault::file, "the model's output is not a number: the weights are damaged");
    }
    adjust();
    const int32_t token = draw();
    counts_[static_cast<size_t>(token)] += 1.0f;
    seen_[static_cast<size_t>(token)] = true;
    return token;
}

void Sampler::adjust() {
    const auto repetition = static_cast<float>(parameters_.repetition_penalty);
    const auto presence = static_cast<float>(parameters_.presence_penalty);
    const auto frequency = static_cast<float>(parameters_.frequency_penalty);
    for (size_t id = 0; id < logits_.size(); ++id) {
        if (seen_[id] && parameters_.repetition_penalty != 1.0) {
            logits_[id] = logits_[id] > 0.0f ? logits_[id] / repetition : logits_[id] * repetition;
        }
        if (counts_[id] != 0.0f) {
            logits_[id] -= presence + frequency * counts_[id];
        }
    }
    for (const auto& [token, bias] : parameters_.logit_bias) {
        logits_[static_cast<size_t>(token)] += static_cast<float>(bias);
    }
}

int32_t Sampler::draw() {
    const auto best = std::max_element(logits_.begin(), logits_.end());
    const float most = *best;
    if (most == none) {
        refuse(Fault::argument, "the vocabulary has no token with which the text could go on");
    }
    if (parameters_.temperature < greedy || parameters_.top_k == 1) {
        return static_cast<int32_t>(best - logits_.begin());
    }
    // 1 / 1e300 would be 0: no number at -infinity.
    const auto scale = static_cast<float>(1.0 / std::min(parameters_.temperature, 1e30));
    std::vector<float> weights = logits_;
    for (float& weight : weights) {
        weight = exp_as_numpy((weight - most) * scale);
    }
    const float least = least_weight(weights);
    if (least == 0.0f) {
        return static_cast<int32_t>(place_of(weights, random_.next()));
    }
    std::vector<int32_t> ids;
    for (size_t id = 0; id < weights.size(); ++id) {
        if (weights[id] >= least) {
            ids.push_back(static_cast<int32_t>(id));
        }
    }
    return ids[place_of(those_at_least(weights, least), random_.next())];
}

// The least weight that top-k, then top-p, then min-p let through; equal ones pass together. Weights are
// probabilities divided by the greatest one.
float Sampler::least_weight(const std::vector<float>& weights) const {
    float least = 0.0f;
    if (parameters_.top_k > 0 && static_cast<uint64_t>(parameters_.top_k) < weights.size()) {
        std::vector<float> falling = weights;
        const auto last = falling.begin() + static_cast<std::ptrdiff_t>(parameters_.top_k) - 1;
        std::nth_element(falling.begin(), last, falling.end(), std::greater<float>());
        least = *last;
    }
    if (parameters_.top_p < 1.0) {
        const std::vector<float> among = those_at_least(weights, least);
        const double needed = parameters_.top_p * sum_as_numpy(among.data(), among.size());
        // Few tokens are in the nucleus as a rule: sort only those likely enough to be.
        std::vector<float> likely;
        for (const float threshold : {1e-2f, 1e-4f, 0.0f}) {
            likely = those_at_least(among, threshold);
            if (sum_as_numpy(likely.data(), likely.size()) >= needed) {
                break;
            }
        }
        std::sort(likely.begin(), likely.end(), std::greater<float>());
        const size_t last = first_at_least(running_sums(likely.data(), likely.size()), needed);
        least = likely[std::min(last, likely.size() - 1)];
    }
    return std::max(least, static_cast<float>(parameters_.min_p));
}

}  // namespace pocketlm
