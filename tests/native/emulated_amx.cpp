// The kernels for AMX with its instructions done in plain C++, for processors that have AVX-512 with VBMI and not
// AMX: everything but the instructions themselves is what ships.
#if defined(__x86_64__) || defined(_M_X64)

#define POCKETLM_EMULATED_TILES
#define amx_kernels emulated_amx_kernels

#include "tiles.h"

#include "check.h"

namespace pocketlm {
namespace {

struct EmulatedTile {
    int8_t bytes[16][64];
};

struct EmulatedTiles {
    TileShapes shapes;
    bool configured = false;
    EmulatedTile tiles[8];
};

thread_local EmulatedTiles emulated;

inline void configure(const TileShapes& shapes) {
    emulated.shapes = shapes;
    emulated.configured = true;
}

inline void release() { emulated.configured = false; }

template <int tile>
inline void load_tile(const int8_t* at, size_t stride) {
    CHECK(emulated.configured);
    for (int row = 0; row < emulated.shapes.rows[tile]; ++row) {
        for (int byte = 0; byte < emulated.shapes.row_bytes[tile]; ++byte) {
            emulated.tiles[tile].bytes[row][byte] = at[static_cast<size_t>(row) * stride + static_cast<size_t>(byte)];
        }
    }
}

template <int tile>
inline void store_tile(Dots& to) {
    CHECK(emulated.configured);
    static_assert(sizeof to == sizeof emulated.tiles[tile]);
    __builtin_memcpy(&to, &emulated.tiles[tile], sizeof to);
}

template <int tile>
inline void clear_tile() {
    emulated.tiles[tile] = {};
}

// sums[m][n] += the products of activations[m][4k…4k+3] and weights[k][4n…4n+3]. Sanitizers have nothing to find
// here, and would make it twenty times as long.
__attribute__((no_sanitize("address", "undefined", "thread"), noinline)) void multiply(
    const TileShapes& shapes, EmulatedTile* tiles, int sums, int activations, int weights) {
    Dots dots;
    __builtin_memcpy(&dots, &tiles[sums], sizeof dots);
    const EmulatedTile& left = tiles[activations];
    const EmulatedTile& right = tiles[weights];
    for (int m = 0; m < shapes.rows[sums]; ++m) {
        for (int k = 0; k < shapes.row_bytes[activations] / 4; ++k) {
            for (int n = 0; n < shapes.row_bytes[sums] / 4; ++n) {
                for (int i = 0; i < 4; ++i) {
                    dots.of[m][n] += left.bytes[m][4 * k + i] * right.bytes[k][4 * n + i];
                }
            }
        }
    }
    __builtin_memcpy(&tiles[sums], &dots, sizeof dots);
}

template <int sums, int activations, int weights>
inline void multiply_tiles() {
    CHECK(emulated.configured);
    multiply(emulated.shapes, emulated.tiles, sums, activations, weights);
}

}  // namespace
}  // namespace pocketlm

#include "kernels_amx.cpp"

#endif
