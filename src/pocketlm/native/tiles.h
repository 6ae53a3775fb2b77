// The instructions of AMX that kernels_amx.cpp uses. Only C headers here: see half.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pocketlm {
namespace {

// What LDTILECFG reads.
struct alignas(64) TileShapes {
    uint8_t palette = 1;
    uint8_t start_row = 0;
    uint8_t reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

// Sums as TILESTORED stores them, 16 rows of 16.
struct Dots {
    alignas(64) int32_t of[16][16];
};

#if !defined(POCKETLM_EMULATED_TILES)  // by tests/native/emulated_amx.cpp
// The compiler's own functions do not say which memory they read and write; these do.
inline void configure(const TileShapes& shapes) {
    asm volatile("ldtilecfg %0" : : "m"(shapes));
}

inline void release() { asm volatile("tilerelease"); }

// Rows of a tile, `stride` bytes apart, all among the 512 bytes from there on.
template <int tile>
inline void load_tile(const int8_t* at, size_t stride) {
    struct Bytes {
        int8_t numbers[512];
    };
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
                 :
                 : "r"(at), "r"(stride), "i"(tile), "m"(*reinterpret_cast<const Bytes*>(at)));
}

template <int tile>
inline void store_tile(Dots& to) {
    asm volatile("tilestored %%tmm%c3, (%1,%2,1)" : "=m"(to) : "r"(&to), "r"(size_t{64}), "i"(tile));
}

template <int sums, int activations, int weights>
inline void multiply_tiles() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sums), "i"(activations), "i"(weights));
}

template <int sums>
inline void clear_tile() {
    asm volatile("tilezero %%tmm%c0" : : "i"(sums));
}
#endif

}  // namespace
}  // namespace pocketlm
