// A matrix product, tile by tile: rows quantised as kernels read them, and panels times tiles.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"
#include "matrix.h"
#include "pool.h"

namespace pocketlm {

// Some rows that are multiplied together: `size` is a power of two.
struct RowTile {
    int first;
    int size;
};

// The rows first … last - 1 as tiles of at most `largest` rows.
std::vector<RowTile> tile_rows(int first, int last, int largest);

// Rows of activations in 8 bits, in tiles (kernels.h).
class QuantisedRows {
  public:
    // Room for `rows` rows of up to `columns` numbers. Never shrinks.
    void reserve(int rows, int columns);

    // Quantise row `index` of a tile.
    void quantise(const Kernels& kernels, const float* row, int columns, const RowTile& tile,
                  int index);

    Tile tile(const RowTile& tile, int columns) const;

  private:
    std::vector<int8_t> values_;
    std::vector<float> scales_;
    std::vector<int32_t> totals_;
    std::vector<float> sums_;
    std::vector<float> low_sums_;
};

// out[tile.size][16] = a panel of the weight times the rows of a tile: `quantised` for prepared types,
// `rows` (float32, from the tile's first) for types used as stored.
void multiply_panel(const Kernels& kernels, const Matrix& weight, int panel, const RowTile& tile,
                    const QuantisedRows& quantised, const float* rows, float* out);

// A panel of a weight.
struct PanelOf {
    const Matrix& weight;
    int panel;
};

// The same of two panels of weights of as many columns, at once where that is quicker.
void multiply_panels(const Kernels& kernels, const PanelOf& first, const PanelOf& second,
                     const RowTile& tile, const QuantisedRows& quantised, const float* rows,
                     float* first_out, float* second_out);

// out[count][weight.rows()] = x[count][weight.columns()] x weight transposed.
void multiply(ThreadPool& pool, const Matrix& weight, const float* x, int count, float* out);

}  // namespace pocketlm
