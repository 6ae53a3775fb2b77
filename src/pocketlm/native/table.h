// Making a table of kernels (kernels.h) out of what a kernel file has.
#pragma once

#include "float_kernels.h"
#include "kernels.h"

namespace pocketlm {
namespace {

// What is known when a kernel is chosen, as a type.
template <auto constant>
struct Known {
    static constexpr auto value = constant;
};

// Calls body(Known<type>) with each type in panels.
template <int index = static_cast<int>(Type::Q4_0), typename Body>
constexpr void for_each_type(const Body& body) {
    if constexpr (index < type_count) {
        body(Known<static_cast<Type>(index)>{});
        for_each_type<index + 1>(body);
    }
}

template <int size, int largest, typename KnownType, typename Product>
constexpr void set_products(void (**tiles)(const Panel&, const Tile&, float*), KnownType type,
                            const Product& product) {
    *tiles = product(type, Known<size>{});
    if constexpr (size < largest) {
        set_products<2 * size, largest>(tiles + 1, type, product);
    }
}

// Kernels that are not written over sixteen floats.
struct OwnKernels {
    decltype(Kernels::quantise) quantise;
    decltype(Kernels::half_from_float) half_from_float;
    decltype(Kernels::read) read;
    decltype(Kernels::multiply_adds) multiply_adds;
};

// A table without `multiply_pair`. product(Known<type>, Known<size>) gives the type's `multiply` for a tile of
// that size.
template <typename V, int tile, typename Product>
constexpr Kernels make_table(const char* name, const OwnKernels& own, const Product& product) {
    Kernels made = {};
    made.name = name;
    made.tile = tile;
    for_each_type([&](auto type) {
        set_products<1, tile>(made.multiply[static_cast<int>(type.value)], type, product);
    });
    set_float_kernels<V>(made);
    made.quantise = own.quantise;
    made.half_from_float = own.half_from_float;
    made.read = own.read;
    made.multiply_adds = own.multiply_adds;
    return made;
}

}  // namespace
}  // namespace pocketlm
