// The adder convolution's kernel, for any type of element, tile and output. A step fetches words of W and
// X for the tile into registers while the words of the step before, in shared memory, are summed up.
#pragma once

#include "kernels/cuda/adder_worker.h"

namespace adroit::cuda {

template <typename Elements, typename Output>
struct AdderArguments {
    AdderGeometry geometry;
    Elements elements;
    const typename Elements::Element* x;
    const typename Elements::Element* weights;
    bool whole_weights;  // quads of words of W can be read in one access
    bool whole_outputs;  // quads of Y (and of the residual) are aligned, and never cross planes
    int64_t filter_tiles;
    Output output;
};

// Adds the slices' sums into slice 0's, halving their number each time: an order that is always the same.
template <typename Tile, typename Word>
ADROIT_DEVICE void add_slices(int slice, int thread, Word* shared,
                              Word (&sums)[Tile::kThreadFilters][Tile::kThreadPixels]) {
    ADROIT_UNROLL
    for (int half = Tile::kSlices / 2; half >= 1; half /= 2) {
        Word* const own = shared + slice % half * Tile::kSums * Tile::kSliceThreads + thread;
        __syncthreads();
        if (slice >= half && slice < 2 * half) ADROIT_UNROLL
        for (int i = 0; i < Tile::kSums; ++i)
            own[i * Tile::kSliceThreads] = sums[i / Tile::kThreadPixels][i % Tile::kThreadPixels];
        __syncthreads();
        if (slice < half) ADROIT_UNROLL
        for (int i = 0; i < Tile::kSums; ++i)
            sums[i / Tile::kThreadPixels][i % Tile::kThreadPixels] += own[i * Tile::kSliceThreads];
    }
}

// Writes one thread's sums to Y.
template <typename Tile, typename Arguments, typename Word>
ADROIT_DEVICE void write_sums(const Arguments& a, int64_t first_pixel, int first_filter, int thread,
                              const Word (&sums)[Tile::kThreadFilters][Tile::kThreadPixels]) {
    const AdderGeometry& g = a.geometry;
    ADROIT_UNROLL
    for (int j = 0; j < Tile::kThreadPixels; j += 4) {
        const int64_t pixel = first_pixel + Tile::pixel(thread, j);
        if (pixel >= g.pixels) continue;
        const Pixel at = g.pixel_at(pixel);
        ADROIT_UNROLL
        for (int i = 0; i < Tile::kThreadFilters; ++i) {
            const int filter = first_filter + Tile::filter(thread, i);
            if (filter >= g.filters) continue;
            if (a.whole_outputs) {
                a.output.write_quad(g.output(at, filter), filter, &sums[i][j]);
                continue;
            }
            ADROIT_UNROLL
            for (int e = 0; e < 4; ++e) {
                // The quad may run into the next image, or past the last.
                const bool here = at.place + e < g.out_plane;
                if (pixel + e >= g.pixels) continue;
                const int64_t index = here ? g.output(at, filter) + e : g.output(g.pixel_at(pixel + e), filter);
                a.output.write(index, filter, sums[i][j + e]);
            }
        }
    }
}

template <typename Elements, typename Output, typename Tile>
ADROIT_KERNEL(Tile::kThreads, 2)
adder_kernel(const AdderArguments<Elements, Output> a) {
    using Word = typename Elements::Word;
    using Worker = AdderWorker<Elements, Tile>;
    union Shared {
        typename Worker::Shared slices[Tile::kSlices];
        Word sums[Tile::kSlices / 2 * Tile::kSliceThreads * Tile::kSums + 1];
    };
    ADROIT_SHARED(Shared, shared);
    const int slice = static_cast<int>(threadIdx.x) / Tile::kSliceThreads;
    const int thread = static_cast<int>(threadIdx.x) % Tile::kSliceThreads;
    const int64_t first_pixel = blockIdx.x / a.filter_tiles * Tile::kPixels;
    const int first_filter = static_cast<int>(blockIdx.x % a.filter_tiles) * Tile::kFilters;

    Worker worker(a.geometry, a.elements, a.x, a.weights, thread, first_pixel, first_filter, shared.slices[slice]);
    Word sums[Tile::kThreadFilters][Tile::kThreadPixels] = {};
    // Slice s takes the steps s, s + Slices, ...; what lies past the last tap adds nothing.
    const int rounds = (a.geometry.taps - 1) / (Worker::kStepTaps * Tile::kSlices) + 1;
    worker.find_taps(slice);
    worker.find_taps(slice + Tile::kSlices);
    __syncthreads();
    worker.fetch(slice, a.whole_weights);
    worker.put(slice);
    __syncthreads();
    ADROIT_UNROLL_BY(1)
    for (int round = 0, step = slice; round < rounds; ++round, step += Tile::kSlices) {
        // After the last step this fetches what lies past the last tap: a condition would cost more.
        worker.fetch(step + Tile::kSlices, a.whole_weights);
        worker.find_taps(step + 2 * Tile::kSlices);
        worker.add(step, sums);
        worker.put(step + Tile::kSlices);
        __syncthreads();
    }
    add_slices<Tile>(slice, thread, shared.sums, sums);
    if (slice == 0) write_sums<Tile>(a, first_pixel, first_filter, thread, sums);
}

template <typename Tile, typename Elements, typename Output>
cudaError_t launch_adder_tile(cudaStream_t stream, AdderArguments<Elements, Output> arguments) {
    const AdderGeometry& g = arguments.geometry;
    arguments.filter_tiles = divide_up(g.filters, Tile::kFilters);
    const int64_t blocks = arguments.filter_tiles * divide_up(g.pixels, Tile::kPixels);
    return launch(adder_kernel<Elements, Output, Tile>, blocks, Tile::kThreads, stream, arguments);
}

template <typename Elements, typename Output>
cudaError_t launch_adder(cudaStream_t stream, const AdderArguments<Elements, Output>& arguments) {
    int count = 0;
    if (const cudaError_t error = multiprocessors(&count)) return error;
    switch (choose_adder_tile(arguments.geometry.filters, arguments.geometry.pixels, count)) {
        case AdderTileKind::kLarge:
            return launch_adder_tile<LargeAdderTile>(stream, arguments);
        case AdderTileKind::kMedium:
            return launch_adder_tile<MediumAdderTile>(stream, arguments);
        case AdderTileKind::kSmall:
            return launch_adder_tile<SmallAdderTile>(stream, arguments);
        case AdderTileKind::kTiny:
            return launch_adder_tile<TinyAdderTile>(stream, arguments);
    }
    return cudaErrorInvalidValue;
}

}  // namespace adroit::cuda
