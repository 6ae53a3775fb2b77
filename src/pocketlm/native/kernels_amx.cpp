// Kernels for AVX-512 with AMX (Sapphire Rapids and later): tiles of 16 tokens and more are multiplied
// by TDPBSSD, a panel's group of 32 columns with 16 tokens at once.
//
// Its 32-bit sums are the same as VPDPBUSD's, and what follows them is done alike, so that a token's
// numbers are those of the other kernels. That takes more time than the products, and the processor does
// little else while it moves a tile: the order below, in which a tile's sums are stored while those of
// the group before are scaled and products of two groups further on are under way, was the fastest.
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels_avx512.h"
#include "tiles.h"

namespace pocketlm {
namespace {

constexpr int tile_tokens = 16;
// Groups that are unpacked at once, then multiplied by all tokens: with their activations they fit the
// first level cache.
constexpr int block_groups = 32;

// Tiles 0…3 are sums, 4 and 5 activations, 6 and 7 weights.
constexpr TileShapes shapes_of(int columns) {
    TileShapes shapes;
    for (int tile = 0; tile < 8; ++tile) {
        const bool weights = tile >= 6;
        shapes.rows[tile] = static_cast<uint8_t>(weights ? columns / 4 : tile_tokens);
        shapes.row_bytes[tile] = static_cast<uint16_t>(tile < 4 || weights ? 64 : columns);
    }
    return shapes;
}

template <Type type>
using SignedGroups = Groups<type, 4096, zero_of(layout_of(type))>;

// Some groups of a panel as the tiles want them: [group][column / 4][row][4], signed.
template <Type type>
struct alignas(64) Block {
    int8_t quants[block_groups][panel_rows * group_columns];
    __m512 scales[block_groups];
    __m512 minima[block_groups];

    void read(SignedGroups<type>& groups, int first, int count) {
        for (int group = 0; group < count; ++group) {
            groups.next(first + group);
            for (int word = 0; word < 8; ++word) {
                _mm512_store_si512(&quants[group][64 * word], groups.words[word]);
            }
            scales[group] = groups.scale;
            if constexpr (groups.has_minimum) {
                minima[group] = groups.minimum;
            }
        }
    }
};

// Sixteen tokens of a tile of `size`, from `first` on.
struct Tokens {
    const Tile& tile;
    int size;
    int first;

    const int8_t* values(int group) const { return tile.values + at(group) * group_columns; }
    size_t at(int group) const { return static_cast<size_t>(group * size + first); }
};

// Early inlining, loops of constants and arrays as parameters: so the compiler keeps sums in registers.
#define POCKETLM_INLINE inline __attribute__((always_inline))

POCKETLM_INLINE void load_sums(const float* from, bool zero, __m512 (&sums)[tile_tokens]) {
#pragma GCC unroll 16
    for (int token = 0; token < tile_tokens; ++token) {
        sums[token] = zero ? _mm512_setzero_ps() : _mm512_loadu_ps(from + token * panel_rows);
    }
}

POCKETLM_INLINE void store_sums(const __m512 (&sums)[tile_tokens], float* to) {
#pragma GCC unroll 16
    for (int token = 0; token < tile_tokens; ++token) {
        _mm512_storeu_ps(to + token * panel_rows, sums[token]);
    }
}

// Begin the products of a group: load what they need, and multiply.
template <Type type, int tile>
POCKETLM_INLINE void begin_group(const Block<type>& block, int group, const int8_t* values) {
    clear_tile<tile>();
    load_tile<4 + tile % 2>(values, group_columns);
    load_tile<6 + tile % 2>(block.quants[group], 64);
    multiply_tiles<tile, 4 + tile % 2, 6 + tile % 2>();
}

// Add a group's products to the sums of the tokens first … last - 1.
template <Type type, int first, int last>
POCKETLM_INLINE void add_products(const Block<type>& block, int group, const Dots& dots,
                                  const float* scales, const float* token_sums,
                                  __m512 (&sums)[tile_tokens]) {
    const __m512i base = _mm512_set1_epi32(float_base_bits);
    const __m512 scale = block.scales[group];
    const __m512 shift = shift_of(scale);
#pragma GCC unroll 16
    for (int token = first; token < last; ++token) {
        const __m512i bits = _mm512_add_epi32(base, _mm512_load_si512(dots.of[token]));
        sums[token] = add_group(sums[token], bits, scale, shift, scales[token]);
        if constexpr (Groups<type>::has_minimum) {
            sums[token] = _mm512_fmadd_ps(block.minima[group], _mm512_set1_ps(token_sums[token]),
                                          sums[token]);
        }
    }
}

// One group, of tile `tile`: see the beginning of this file.
template <Type type, int tile>
POCKETLM_INLINE void add_group(const Block<type>& block, const Tokens& tokens, int begin, int group,
                               int count, Dots (&dots)[2], __m512 (&sums)[tile_tokens]) {
    constexpr int next = (tile + 1) % 4;
    if (group + 1 < count) {
        store_tile<next>(dots[next % 2]);
    }
    const size_t at = tokens.at(begin + group);
    const float* const scales = tokens.tile.scales + at;
    const float* const token_sums = tokens.tile.sums + at;
    add_products<type, 0, 6>(block, group, dots[tile % 2], scales, token_sums, sums);
    if (group + 3 < count) {
        begin_group<type, (tile + 3) % 4>(block, group + 3, tokens.values(begin + group + 3));
    }
    add_products<type, 6, tile_tokens>(block, group, dots[tile % 2], scales, token_sums, sums);
}

// Add `count` groups, from number `begin` of the panel on, to the tokens' sums in `out`.
template <Type type>
void add_groups(const Block<type>& block, const Tokens& tokens, int begin, int count, float* out) {
    Dots dots[2];
    __m512 sums[tile_tokens];
    load_sums(out, begin == 0, sums);
    begin_group<type, 0>(block, 0, tokens.values(begin));
    if (count > 1) {
        begin_group<type, 1>(block, 1, tokens.values(begin + 1));
    }
    if (count > 2) {
        begin_group<type, 2>(block, 2, tokens.values(begin + 2));
    }
    store_tile<0>(dots[0]);
    int group = 0;
    for (; group + 4 <= count; group += 4) {
        add_group<type, 0>(block, tokens, begin, group, count, dots, sums);
        add_group<type, 1>(block, tokens, begin, group + 1, count, dots, sums);
        add_group<type, 2>(block, tokens, begin, group + 2, count, dots, sums);
        add_group<type, 3>(block, tokens, begin, group + 3, count, dots, sums);
    }
    if (group < count) {
        add_group<type, 0>(block, tokens, begin, group, count, dots, sums);
    }
    if (group + 1 < count) {
        add_group<type, 1>(block, tokens, begin, group + 1, count, dots, sums);
    }
    if (group + 2 < count) {
        add_group<type, 2>(block, tokens, begin, group + 2, count, dots, sums);
    }
    store_sums(sums, out);
}

template <Type type, int size>
void multiply_large(const Panel& panel, const Tile& tile, float* out) {
    static constexpr TileShapes shapes = shapes_of(group_columns);
    configure(shapes);
    SignedGroups<type> groups(panel);
    Block<type> block;
    for (int begin = 0; begin < panel.groups; begin += block_groups) {
        const int left = panel.groups - begin;
        const int count = left < block_groups ? left : block_groups;
        block.read(groups, begin, count);
        for (int first = 0; first < size; first += tile_tokens) {
            add_groups<type>(block, {tile, size, first}, begin, count, out + first * panel_rows);
        }
    }
    release();
}

// Where the halves of a group have scales of their own, twice the tiles would have to be stored: VPDPBUSD
// is as quick.
template <Type type, int size>
void multiply_in_parts(const Panel& panel, const Tile& tile, float* out) {
    for (int first = 0; first < size; first += tile_tokens) {
        const Tile part{tile.values + first * group_columns, tile.scales + first,
                        tile.totals + first, tile.sums + first, tile.low_sums + first};
        multiply<type, tile_tokens, size>(panel, part, out + first * panel_rows);
    }
}

long long multiply_adds_of_tiles(int repetitions) {
    static constexpr TileShapes shapes = shapes_of(64);
    alignas(64) static constexpr int8_t numbers[1024] = {};
    configure(shapes);
    load_tile<4>(numbers, 64);
    load_tile<5>(numbers, 64);
    load_tile<6>(numbers, 64);
    load_tile<7>(numbers, 64);
    clear_tile<0>();
    clear_tile<1>();
    clear_tile<2>();
    clear_tile<3>();
    for (int i = 0; i < repetitions; ++i) {
        multiply_tiles<0, 4, 6>();
        multiply_tiles<1, 4, 7>();
        multiply_tiles<2, 5, 6>();
        multiply_tiles<3, 5, 7>();
    }
    release();
    return 4LL * 16 * 16 * 64 * repetitions;
}

// A group with two scales would store two tiles, which takes longer than VPDPBUSD.
constexpr Kernels table() {
    Kernels made = make_table<Sixteen, 128>("amx", own_kernels, [](auto type, auto size) {
        if constexpr (size.value < tile_tokens) {
            return multiply<type.value, size.value>;
        } else if constexpr (Groups<type.value>::halves) {
            return multiply_in_parts<type.value, size.value>;
        } else {
            return multiply_large<type.value, size.value>;
        }
    });
    made.multiply_adds = multiply_adds_of_tiles;
    for_each_type([&](auto type) {
        made.multiply_pair[static_cast<int>(type.value)] = multiply_pair<type.value>;
    });
    return made;
}

}  // namespace

const Kernels amx_kernels = table();

}  // namespace pocketlm

#endif
