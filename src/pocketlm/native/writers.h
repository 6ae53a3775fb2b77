// Writers: how each block format of GGUF files is fitted to weights and packed.
//
// A writer is a struct of static members, the reverse of an unpacker (unpack.h):
//
//   columns, bytes   of a block; `group`, the columns that share a scale
//   Levels           what a quant means: value = scale * level(quant) + minimum
//   fit(x, w)        scales for a block's weights x, weighed by w > 0: as stored, and as a reader
//                    has them
//   pack             a fit and one quant a column, to bytes
//
// Fit and quants are apart, so that quants can be chosen one after the other while the weights change
// (error feedback). A type whose blocks share numbers of their row has these as well:
//
//   shared_numbers, shared_bytes   how many numbers, and what they occupy before the row's blocks
//   fit_row(row, w, columns, out)  the numbers, as a reader has them
//   pack_row(shared, out)          to bytes
//   fit(x, w, shared)              in place of fit(x, w)
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "half.h"
#include "layout.h"
#include "scale_search.h"

namespace pocketlm {

template <int count>
struct Fit {
    static constexpr int groups = count;
    float scale[count];    // as a reader computes it
    float minimum[count];
    float inverse[count];  // of the scale; 0 for 0
    uint16_t unit;         // f16: the scale, or what codes are multiplied by
    uint16_t minimum_unit;
    int8_t codes[count];
    int8_t minimum_codes[count];
};

// A block's weights times a power of two that puts the largest between 1 and 2: sums then neither
// overflow nor vanish. What is not finite makes all of them 0.
template <int n>
struct Centred {
    explicit Centred(const float* weights) {
        float largest = 0.0f;
        bool finite = true;
        for (int i = 0; i < n; ++i) {
            finite &= std::fabs(weights[i]) <= std::numeric_limits<float>::max();
            largest = std::max(largest, std::fabs(weights[i]));
        }
        const int exponent = finite && largest > 0.0f ? std::max(std::ilogb(largest), -126) : 0;
        power = std::ldexp(1.0f, exponent);
        const float down = finite ? std::ldexp(1.0f, -exponent) : 0.0f;
        for (int i = 0; i < n; ++i) {
            x[i] = finite ? weights[i] * down : 0.0f;
        }
    }

    float x[n];
    float power;
};

// A number in float16, as stored and as it scales centred weights.
struct Half {
    uint16_t bits = 0;
    float value = 0.0f;
    float centred = 0.0f;
};

static inline Half half_of(float centred, float power) {
    constexpr float largest = 65504.0f;
    const uint16_t bits = f16_from_float(std::clamp(centred * power, -largest, largest));
    const float value = float_from_f16(bits);
    return {bits, value, value / power};
}

static inline void put_u16(uint8_t* at, uint16_t value) { std::memcpy(at, &value, sizeof value); }

static inline void put_u32(uint8_t* at, uint32_t value) { std::memcpy(at, &value, sizeof value); }

// The low four bits of 32 quants: columns 0…15 low, 16…31 high.
static inline void put_nibbles(const uint8_t* quants, uint8_t* at) {
    for (int i = 0; i < 16; ++i) {
        at[i] = static_cast<uint8_t>((quants[i] & 15) | (quants[16 + i] & 15) << 4);
    }
}

// Bit `bit` of 32 quants.
static inline uint32_t plane_of(const uint8_t* quants, int bit) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; ++i) {
        bits |= static_cast<uint32_t>(quants[i] >> bit & 1) << i;
    }
    return bits;
}

// A writer whose blocks need nothing but themselves.
struct Standalone {
    static constexpr int shared_numbers = 0;
    static constexpr int shared_bytes = 0;
};

// Of blocks with one float16 scale, error feedback tries scales on either side of the fitted one.
struct HalfScale : Standalone {
    static constexpr int variants = 5;

    static Fit<1> variant(const Fit<1>& fit, const float*, int index) {
        constexpr float ratio[variants] = {1.0f, 0.95f, 1.05f, 0.9f, 1.1f};
        const Half half = half_of(fit.scale[0] * ratio[index], 1.0f);
        Fit<1> other{};
        other.unit = half.bits;
        other.scale[0] = half.value;
        other.inverse[0] = inverse_of(half.value);
        return other;
    }
};

// One float16 scale for 32 columns.
template <typename Levels>
Fit<1> fit_half_scale(const float* weights, const float* w, Sweep sweep) {
    const Centred<32> block(weights);
    const float* const extreme =
        std::max_element(block.x, block.x + 32,
                         [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    const float searched = search_scale<Levels, 32>(block.x, w, sweep).scale;
    Half best;
    float least = std::numeric_limits<float>::infinity();
    // Rounding to float16 may spoil what was found: the plain scale is the other candidate.
    for (const float scale : {searched, *extreme / Levels::lowest}) {
        const Half half = half_of(scale, block.power);
        const float error = measure<Levels, 32>(block.x, w, half.centred, 0.0f).rr;
        if (error < least) {
            least = error;
            best = half;
        }
    }
    Fit<1> fit{};
    fit.unit = best.bits;
    fit.scale[0] = best.value;
    fit.inverse[0] = inverse_of(best.value);
    return fit;
}

// A float16 scale and minimum for 32 columns.
template <typename Levels>
Fit<1> fit_half_minimum(const float* weights, const float* w, Sweep sweep) {
    const Centred<32> block(weights);
    const auto [low, high] = std::minmax_element(block.x, block.x + 32);
    const Affine searched = search_affine<Levels, 32, false>(block.x, w, sweep);
    const Affine plain{(*high - *low) / Levels::highest, *low};
    Fit<1> fit{};
    float least = std::numeric_limits<float>::infinity();
    for (const Affine& affine : {searched, plain}) {
        const Half scale = half_of(affine.scale, block.power);
        const Half minimum = half_of(affine.minimum, block.power);
        const float error = measure<Levels, 32>(block.x, w, scale.centred, minimum.centred).rr;
        if (error < least) {
            least = error;
            fit.unit = scale.bits;
            fit.minimum_unit = minimum.bits;
            fit.scale[0] = scale.value;
            fit.minimum[0] = minimum.value;
        }
    }
    fit.inverse[0] = inverse_of(fit.scale[0]);
    return fit;
}

// The unit in whole multiples of which `values` are best expressed, an error counting `weights` times
// its square.
template <typename Codes>
float choose_unit(const float* values, const float* weights, int count) {
    float extreme = 0.0f;
    for (int i = 0; i < count; ++i) {
        extreme = std::fabs(values[i]) > std::fabs(extreme) ? values[i] : extreme;
    }
    if (extreme == 0.0f) {
        return 0.0f;
    }
    float best = 0.0f;
    float least = std::numeric_limits<float>::infinity();
    for (const float reach : {Codes::lowest, Codes::highest}) {
        // From the extreme value at the last code to two thirds of that.
        for (int step = 0; step < 64 && reach != 0.0f; ++step) {
            const float code = reach * (1.0f - static_cast<float>(step) / 192.0f);
            const float unit = extreme / code;
            const float inverse = inverse_of(unit);
            float error = 0.0f;
            for (int i = 0; i < count; ++i) {
                const float off = values[i] - unit * Codes::nearest(values[i] * inverse);
                error += weights[i] * off * off;
            }
            if (error < least) {
                least = error;
                best = unit;
            }
        }
    }
    return best;
}

// A float16 unit for 256 columns, times a small signed scale for each group.
template <typename Levels, typename Codes, int group>
class SuperScale {
  public:
    static constexpr int groups = 256 / group;

    SuperScale(const float* weights, const float* w, Sweep sweep, int reach)
        : block_(weights), w_(w) {
        float scales[groups];
        float curvatures[groups];
        for (int g = 0; g < groups; ++g) {
            const Scaled fitted = search_scale<Levels, group>(x(g), weight(g), sweep);
            scales[g] = fitted.scale;
            curvatures[g] = fitted.curvature;
        }
        State state;
        state.unit = half_of(choose_unit<Codes>(scales, curvatures, groups), block_.power);
        for (int g = 0; g < groups; ++g) {
            state.codes[g] = Codes::nearest(scales[g] * inverse_of(state.unit.centred));
        }
        settle(reach, &state);
        best_ = state;
        for (int round = 0; round < 2; ++round) {
            refit(&state);
            settle(1, &state);
            if (!(state.error < best_.error)) {
                break;
            }
            best_ = state;
        }
    }

    Fit<groups> fit() const {
        Fit<groups> fit{};
        fit.unit = best_.unit.bits;
        for (int g = 0; g < groups; ++g) {
            fit.codes[g] = static_cast<int8_t>(best_.codes[g]);
            fit.scale[g] = best_.unit.value * best_.codes[g];
            fit.inverse[g] = inverse_of(fit.scale[g]);
        }
        return fit;
    }

  private:
    struct State {
        Half unit;
        float codes[groups];
        Moments at[groups];
        float error = 0.0f;
    };

    const float* x(int g) const { return block_.x + g * group; }
    const float* weight(int g) const { return w_ + g * group; }

    // The best codes within `reach` of those that there are.
    void settle(int reach, State* state) const {
        state->error = 0.0f;
        for (int g = 0; g < groups; ++g) {
            const float middle = state->codes[g];
            state->at[g].rr = std::numeric_limits<float>::infinity();
            for (int off = -reach; off <= reach; ++off) {
                const float code = middle + static_cast<float>(off);
                if (code < Codes::lowest || code > Codes::highest) {
                    continue;
                }
                const Moments at =
                    measure<Levels, group>(x(g), weight(g), state->unit.centred * code, 0.0f);
                if (at.rr < state->at[g].rr) {
                    state->at[g] = at;
                    state->codes[g] = code;
                }
            }
            state->error += state->at[g].rr;
        }
    }

    // The unit that fits codes and levels best.
    void refit(State* state) const {
        float rl = 0.0f;
        float ll = 0.0f;
        for (int g = 0; g < groups; ++g) {
            const float code = state->codes[g];
            rl += code * state->at[g].rl;
            ll += code * code * state->at[g].ll;
        }
        if (ll > 0.0f) {
            state->unit = half_of(state->unit.centred + rl / ll, block_.power);
        }
    }

    const Centred<256> block_;
    const float* const w_;
    State best_;
};

// Float16 units for 256 columns, times a 6-bit scale and a 6-bit minimum, subtracted, for each 32.
template <typename Levels>
class SuperMinimum {
  public:
    static constexpr int groups = 8;
    using Codes = Uniform<0, 63>;

    SuperMinimum(const float* weights, const float* w, Sweep sweep) : block_(weights), w_(w) {
        float scales[groups];
        float minima[groups];
        float curvatures[groups];
        Moments at[groups];
        for (int g = 0; g < groups; ++g) {
            const Affine fitted = search_affine<Levels, 32, true>(x(g), weight(g), sweep);
            at[g] = measure<Levels, 32>(x(g), weight(g), fitted.scale, fitted.minimum);
            total_[g] = 0.0f;
            for (int i = 0; i < 32; ++i) {
                total_[g] += weight(g)[i];
            }
            scales[g] = fitted.scale;
            minima[g] = -fitted.minimum;
            curvatures[g] = std::max(at[g].ll - at[g].l * at[g].l / total_[g], 0.0f);
        }
        State state;
        state.unit = half_of(choose_unit<Codes>(scales, curvatures, groups), block_.power);
        for (int g = 0; g < groups; ++g) {
            state.codes[g] = Codes::nearest(scales[g] * inverse_of(state.unit.centred));
            // The minimum that suits the scale as encoded.
            const float change = scales[g] - state.unit.centred * state.codes[g];
            minima[g] = std::max(minima[g] - change * at[g].l / total_[g], 0.0f);
        }
        state.minimum_unit = half_of(choose_unit<Codes>(minima, total_, groups), block_.power);
        for (int g = 0; g < groups; ++g) {
            state.minimum_codes[g] =
                Codes::nearest(minima[g] * inverse_of(state.minimum_unit.centred));
        }
        settle(&state);
        best_ = state;
        for (int round = 0; round < 2; ++round) {
            refit(&state);
            settle(&state);
            if (!(state.error < best_.error)) {
                break;
            }
            best_ = state;
        }
    }

    Fit<groups> fit() const {
        Fit<groups> fit{};
        fit.unit = best_.unit.bits;
        fit.minimum_unit = best_.minimum_unit.bits;
        for (int g = 0; g < groups; ++g) {
            fit.codes[g] = static_cast<int8_t>(best_.codes[g]);
            fit.minimum_codes[g] = static_cast<int8_t>(best_.minimum_codes[g]);
            fit.scale[g] = best_.unit.value * best_.codes[g];
            fit.minimum[g] = -(best_.minimum_unit.value * best_.minimum_codes[g]);
            fit.inverse[g] = inverse_of(fit.scale[g]);
        }
        return fit;
    }

  private:
    struct State {
        Half unit;
        Half minimum_unit;
        float codes[groups];
        float minimum_codes[groups];
        Moments at[groups];
        float error = 0.0f;
    };

    const float* x(int g) const { return block_.x + g * 32; }
    const float* weight(int g) const { return w_ + g * 32; }

    static bool is_code(float code) { return code >= Codes::lowest && code <= Codes::highest; }

    // The best codes next to those that there are.
    void settle(State* state) const {
        state->error = 0.0f;
        for (int g = 0; g < groups; ++g) {
            const float scale_code = state->codes[g];
            const float minimum_code = state->minimum_codes[g];
            state->at[g].rr = std::numeric_limits<float>::infinity();
            for (int off = 0; off < 9; ++off) {
                const float code = scale_code + static_cast<float>(off / 3 - 1);
                const float low = minimum_code + static_cast<float>(off % 3 - 1);
                if (!is_code(code) || !is_code(low)) {
                    continue;
                }
                const Moments at = measure<Levels, 32>(x(g), weight(g), state->unit.centred * code,
                                                       -state->minimum_unit.centred * low);
                if (at.rr < state->at[g].rr) {
                    state->at[g] = at;
                    state->codes[g] = code;
                    state->minimum_codes[g] = low;
                }
            }
            state->error += state->at[g].rr;
        }
    }

    // The units that fit codes and levels best.
    void refit(State* state) const {
        float ru = 0.0f;  // u: what the unit multiplies; v: what the minimum's does
        float rv = 0.0f;
        float uu = 0.0f;
        float uv = 0.0f;
        float vv = 0.0f;
        for (int g = 0; g < groups; ++g) {
            const Moments& at = state->at[g];
            const float code = state->codes[g];
            const float low = -state->minimum_codes[g];
            ru += code * at.rl;
            rv += low * at.r;
            uu += code * code * at.ll;
            uv += code * low * at.l;
            vv += low * low * total_[g];
        }
        const float determinant = uu * vv - uv * uv;
        if (determinant > 1e-6f * uu * vv) {
            const float up = (vv * ru - uv * rv) / determinant;
            const float down = (uu * rv - uv * ru) / determinant;
            state->unit = half_of(state->unit.centred + up, block_.power);
            state->minimum_unit = half_of(state->minimum_unit.centred + down, block_.power);
        } else if (uu > 0.0f) {
            state->unit = half_of(state->unit.centred + ru / uu, block_.power);
        }
    }

    const Centred<256> block_;
    const float* const w_;
    float total_[groups];
    State best_;
};

// The 6-bit scales and minima of a 4- or 5-bit K block in 12 bytes (read_k_scales in unpack.h).
static inline void put_k_scales(const Fit<8>& fit, uint8_t* at) {
    for (int i = 0; i < 4; ++i) {
        const int scale = fit.codes[4 + i];
        const int minimum = fit.minimum_codes[4 + i];
        at[i] = static_cast<uint8_t>(fit.codes[i] | (scale >> 4) << 6);
        at[4 + i] = static_cast<uint8_t>(fit.minimum_codes[i] | (minimum >> 4) << 6);
        at[8 + i] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
    }
}

// 32 bytes of nibbles hold two groups, the first low.
static inline void put_k_nibbles(const uint8_t* quants, uint8_t* at) {
    for (int pair = 0; pair < 4; ++pair) {
        for (int i = 0; i < 32; ++i) {
            at[32 * pair + i] = static_cast<uint8_t>((quants[64 * pair + i] & 15) |
                                                     (quants[64 * pair + 32 + i] & 15) << 4);
        }
    }
}

// d | nibbles
struct WriteQ4_0 : HalfScale {
    static constexpr int columns = 32;
    static constexpr int bytes = 18;
    static constexpr int group = 32;
    using Levels = Uniform<-8, 7>;
    static Fit<1> fit(const float* x, const float* w) {
        return fit_half_scale<Levels>(x, w, {1.5f, 2.5f, 0.125f});
    }
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        put_nibbles(quants, block + 2);
    }
};

// d | m | nibbles
struct WriteQ4_1 : Standalone {
    static constexpr int columns = 32;
    static constexpr int bytes = 20;
    static constexpr int group = 32;
    using Levels = Uniform<0, 15>;
    static Fit<1> fit(const float* x, const float* w) {
        return fit_half_minimum<Levels>(x, w, {1.0f, 4.0f, 0.125f});
    }
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        put_u16(block + 2, fit.minimum_unit);
        put_nibbles(quants, block + 4);
    }
};

// d | fifth bits | nibbles
struct WriteQ5_0 : Standalone {
    static constexpr int columns = 32;
    static constexpr int bytes = 22;
    static constexpr int group = 32;
    using Levels = Uniform<-16, 15>;
    static Fit<1> fit(const float* x, const float* w) {
        return fit_half_scale<Levels>(x, w, {1.5f, 3.5f, 0.125f});
    }
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        put_u32(block + 2, plane_of(quants, 4));
        put_nibbles(quants, block + 6);
    }
};

// d | signed bytes
struct WriteQ8_0 : Standalone {
    static constexpr int columns = 32;
    static constexpr int bytes = 34;
    static constexpr int group = 32;
    using Levels = Uniform<-127, 127>;
    static Fit<1> fit(const float* x, const float* w) {
        return fit_half_scale<Levels>(x, w, {3.0f, 2.0f, 0.0625f});
    }
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        for (int i = 0; i < 32; ++i) {
            block[2 + i] = static_cast<uint8_t>(quants[i] - 127);
        }
    }
};

// d | nibbles, which mean entries of a table
constexpr std::array<int8_t, 16> numbers_of(Codebook codebook) {
    std::array<int8_t, 16> numbers{};
    for (size_t i = 0; i < numbers.size(); ++i) {
        numbers[i] = static_cast<int8_t>(codebook_numbers[static_cast<int>(codebook)][i]);
    }
    return numbers;
}

inline constexpr std::array<int8_t, 16> iq4_entries = numbers_of(Codebook::nl);

struct WriteIQ4_NL : HalfScale {
    static constexpr int columns = 32;
    static constexpr int bytes = 18;
    static constexpr int group = 32;
    using Levels = Grid<iq4_entries>;
    static Fit<1> fit(const float* x, const float* w) {
        return fit_half_scale<Levels>(x, w, {20.0f, 40.0f, 3.0f});
    }
    static void pack(const Fit<1>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        put_nibbles(quants, block + 2);
    }
};

// d | dmin | packed scales | nibbles
struct WriteQ4_K : Standalone {
    static constexpr int columns = 256;
    static constexpr int bytes = 144;
    static constexpr int group = 32;
    using Levels = Uniform<0, 15>;
    static Fit<8> fit(const float* x, const float* w) {
        return SuperMinimum<Levels>(x, w, {1.0f, 4.0f, 0.25f}).fit();
    }
    static void pack(const Fit<8>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        put_u16(block + 2, fit.minimum_unit);
        put_k_scales(fit, block + 4);
        put_k_nibbles(quants, block + 16);
    }
};

// d | dmin | packed scales | fifth bits: bit g of byte i is column i's of group g | nibbles
struct WriteQ5_K : Standalone {
    static constexpr int columns = 256;
    static constexpr int bytes = 176;
    static constexpr int group = 32;
    using Levels = Uniform<0, 31>;
    static Fit<8> fit(const float* x, const float* w) {
        return SuperMinimum<Levels>(x, w, {1.0f, 4.0f, 0.125f}).fit();
    }
    static void pack(const Fit<8>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        put_u16(block + 2, fit.minimum_unit);
        put_k_scales(fit, block + 4);
        for (int i = 0; i < 32; ++i) {
            int fifth = 0;
            for (int g = 0; g < 8; ++g) {
                fifth |= (quants[32 * g + i] >> 4) << g;
            }
            block[16 + i] = static_cast<uint8_t>(fifth);
        }
        put_k_nibbles(quants, block + 48);
    }
};

// low nibbles | upper two bits | signed scale of each 16 columns | d, in two halves of 128 columns
struct WriteQ6_K : Standalone {
    static constexpr int columns = 256;
    static constexpr int bytes = 210;
    static constexpr int group = 16;
    using Levels = Uniform<-32, 31>;
    static Fit<16> fit(const float* x, const float* w) {
        return SuperScale<Levels, Uniform<-128, 127>, 16>(x, w, {2.0f, 3.5f, 0.125f}, 1).fit();
    }
    static void pack(const Fit<16>& fit, const uint8_t* quants, uint8_t* block) {
        for (int half = 0; half < 2; ++half) {
            const uint8_t* const from = quants + 128 * half;
            for (int i = 0; i < 64; ++i) {
                block[64 * half + i] =
                    static_cast<uint8_t>((from[i] & 15) | (from[64 + i] & 15) << 4);
            }
            for (int i = 0; i < 32; ++i) {
                block[128 + 32 * half + i] =
                    static_cast<uint8_t>(from[i] >> 4 | (from[32 + i] >> 4) << 2 |
                                         (from[64 + i] >> 4) << 4 | (from[96 + i] >> 4) << 6);
            }
        }
        std::memcpy(block + 192, fit.codes, 16);
        put_u16(block + 208, fit.unit);
    }
};

// third bits: bit g of byte i is column i's of group of 32 g | low two bits, in two halves of 128
// columns | 6-bit scale + 32 of each 16 columns: low nibbles in 8 bytes, upper two bits in 4 | d
struct WriteQ3_K : Standalone {
    static constexpr int columns = 256;
    static constexpr int bytes = 110;
    static constexpr int group = 16;
    using Levels = Uniform<-4, 3>;
    static Fit<16> fit(const float* x, const float* w) {
        return SuperScale<Levels, Uniform<-32, 31>, 16>(x, w, {1.0f, 2.0f, 0.125f}, 2).fit();
    }
    static void pack(const Fit<16>& fit, const uint8_t* quants, uint8_t* block) {
        for (int i = 0; i < 32; ++i) {
            int third = 0;
            for (int g = 0; g < 8; ++g) {
                third |= (quants[32 * g + i] >> 2) << g;
            }
            block[i] = static_cast<uint8_t>(third);
        }
        for (int i = 0; i < 64; ++i) {
            const uint8_t* const from = quants + 128 * (i / 32) + i % 32;
            block[32 + i] = static_cast<uint8_t>((from[0] & 3) | (from[32] & 3) << 2 |
                                                 (from[64] & 3) << 4 | (from[96] & 3) << 6);
        }
        uint8_t* const scales = block + 96;
        std::memset(scales, 0, 12);
        for (int g = 0; g < 16; ++g) {
            const int code = fit.codes[g] + 32;
            scales[g % 8] = static_cast<uint8_t>(scales[g % 8] | (code & 15) << (4 * (g / 8)));
            scales[8 + g % 4] =
                static_cast<uint8_t>(scales[8 + g % 4] | (code >> 4) << (2 * (g / 4)));
        }
        put_u16(block + 108, fit.unit);
    }
};

// d | upper two bits of 8 scales | low nibbles of the scales, + 32 | nibbles, for table entries
struct WriteIQ4_XS : Standalone {
    static constexpr int columns = 256;
    static constexpr int bytes = 136;
    static constexpr int group = 32;
    using Levels = Grid<iq4_entries>;
    static Fit<8> fit(const float* x, const float* w) {
        return SuperScale<Levels, Uniform<-32, 31>, 32>(x, w, {20.0f, 40.0f, 3.0f}, 1).fit();
    }
    static void pack(const Fit<8>& fit, const uint8_t* quants, uint8_t* block) {
        put_u16(block, fit.unit);
        int upper = 0;
        int lower[4] = {};
        for (int g = 0; g < 8; ++g) {
            const int code = fit.codes[g] + 32;
            upper |= (code >> 4) << (2 * g);
            lower[g / 2] |= (code & 15) << (4 * (g % 2));
            put_nibbles(quants + 32 * g, block + 8 + 16 * g);
        }
        put_u16(block + 2, static_cast<uint16_t>(upper));
        for (int i = 0; i < 4; ++i) {
            block[4 + i] = static_cast<uint8_t>(lower[i]);
        }
    }
};

}  // namespace pocketlm
