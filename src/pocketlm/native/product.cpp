#include "product.h"

#include <algorithm>

namespace pocketlm {
namespace {

int log2_of(int power) {
    int log = 0;
    while (power > 1) {
        power /= 2;
        ++log;
    }
    return log;
}

template <typename T>
void grow(std::vector<T>& vector, size_t size) {
    if (vector.size() < size) {
        vector.resize(size);
    }
}

size_t values_before(const RowTile& tile, int columns) {
    return static_cast<size_t>(tile.first) * static_cast<size_t>(columns);
}

size_t groups_before(const RowTile& tile, int columns) {
    return static_cast<size_t>(tile.first) * static_cast<size_t>(columns / group_columns);
}

}  // namespace

std::vector<RowTile> tile_rows(int first, int last, int largest) {
    std::vector<RowTile> tiles;
    int size = largest;
    for (; first < last; first += size) {
        while (size > last - first) {
            size /= 2;
        }
        tiles.push_back({first, size});
    }
    return tiles;
}

void QuantisedRows::reserve(int rows, int columns) {
    const RowTile all{rows, 0};
    grow(values_, values_before(all, columns));
    grow(scales_, groups_before(all, columns));
    grow(totals_, groups_before(all, columns));
    grow(sums_, groups_before(all, columns));
    grow(low_sums_, groups_before(all, columns));
}

void QuantisedRows::quantise(const Kernels& kernels, const float* row, int columns,
                             const RowTile& tile, int index) {
    const size_t groups = groups_before(tile, columns);
    kernels.quantise(row, columns, index, tile.size, values_.data() + values_before(tile, columns),
                     scales_.data() + groups, totals_.data() + groups, sums_.data() + groups,
                     low_sums_.data() + groups);
}

Tile QuantisedRows::tile(const RowTile& tile, int columns) const {
    const size_t groups = groups_before(tile, columns);
    return {values_.data() + values_before(tile, columns), scales_.data() + groups,
            totals_.data() + groups, sums_.data() + groups, low_sums_.data() + groups};
}

void multiply_panel(const Kernels& kernels, const Matrix& weight, int panel, const RowTile& tile,
                    const QuantisedRows& quantised, const float* rows, float* out) {
    const int type = static_cast<int>(weight.type());
    if (in_panels(weight.type())) {
        kernels.multiply[type][log2_of(tile.size)](weight.panel(panel),
                                                   quantised.tile(tile, weight.columns()), out);
    } else {
        kernels.multiply_rows[type](weight.stored_rows(panel), weight.stride(),
                                    weight.rows_in(panel), weight.columns(), rows, tile.size, out);
    }
}

void multiply_panels(const Kernels& kernels, const PanelOf& first, const PanelOf& second,
                     const RowTile& tile, const QuantisedRows& quantised, const float* rows,
                     float* first_out, float* second_out) {
    const Type type = first.weight.type();
    const auto pair = kernels.multiply_pair[static_cast<int>(type)];
    if (tile.size == 1 && second.weight.type() == type && pair != nullptr) {
        pair(first.weight.panel(first.panel), second.weight.panel(second.panel),
             quantised.tile(tile, first.weight.columns()), first_out, second_out);
        return;
    }
    multiply_panel(kernels, first.weight, first.panel, tile, quantised, rows, first_out);
    multiply_panel(kernels, second.weight, second.panel, tile, quantised, rows, second_out);
}

void multiply(ThreadPool& pool, const Matrix& weight, const float* x, int count, float* out) {
    const Kernels& kernels = pool.kernels();
    const size_t columns = static_cast<size_t>(weight.columns());
    const std::vector<RowTile> tiles = tile_rows(0, count, kernels.tile);
    QuantisedRows quantised;
    if (in_panels(weight.type())) {
        quantised.reserve(count, weight.columns());
        for (const RowTile& tile : tiles) {
            for (int i = 0; i < tile.size; ++i) {
                quantised.quantise(kernels, x + static_cast<size_t>(tile.first + i) * columns,
                                   weight.columns(), tile, i);
            }
        }
    }
    Phase phase(weight.panels(), 1);
    pool.run([&](int) {
        run_phase(phase, [&](int panel, int) {
            float values[largest_tile * panel_rows];
            for (const RowTile& tile : tiles) {
                multiply_panel(kernels, weight, panel, tile, quantised,
                               x + static_cast<size_t>(tile.first) * columns, values);
                for (int i = 0; i < tile.size; ++i) {
                    std::copy_n(values + i * panel_rows, weight.rows_in(panel),
                                out +
                                    static_cast<size_t>(tile.first + i) *
                                        static_cast<size_t>(weight.rows()) +
                                    panel * panel_rows);
                }
            }
        });
    });
}

}  // namespace pocketlm
