// One thread's part in the adder convolution's kernel: it fetches words of W and X into registers, puts
// them into shared memory, and adds up its block of sums from there.
#pragma once

#include "kernels/cuda/adder_elements.h"
#include "kernels/cuda/adder_geometry.h"
#include "kernels/cuda/adder_tile.h"
#include "kernels/cuda/load_if.h"

namespace adroit::cuda {

// Words of a step that a thread takes in one go, by the number of its sums: as many as the compiler has been
// found to have registers for.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
template <int Sums>
constexpr int kUnrolledSteps = Sums < 64 ? 4 : 1;
#else
template <int Sums>
constexpr int kUnrolledSteps = Sums < 64 ? 4 : 2;
#endif

template <typename Elements, typename Tile>
class AdderWorker {
public:
    using Element = typename Elements::Element;
    using Word = typename Elements::Word;
    using Fetched = typename Elements::Fetched;
    static constexpr int kStepTaps = kStepWords * Elements::kTaps;

    // A slice's shared memory; while one half is used, the other is filled.
    struct Shared {
        alignas(16) Word stages[2][Tile::kStageWords];
        Tap taps[2][kStepTaps];
    };

    ADROIT_DEVICE AdderWorker(const AdderGeometry& geometry, const Elements& elements, const Element* x,
                              const Element* weights, int thread, int64_t first_pixel, int first_filter, Shared& shared)
        : geometry_(geometry), elements_(elements), thread_(thread), shared_(shared) {
        const Window window = geometry.window_of(first_pixel + thread % Tile::kPixels);
        row_ = window.row;
        column_ = window.column;
        first_input_ = x + window.offset;
        ADROIT_UNROLL
        for (int i = 0; i < Tile::kWeightChunks; ++i) {
            // Past the last filter: any values, whose sums are not written.
            const int filter = min(first_filter + chunk_filter(i), geometry.filters - 1);
            filters_[i] = weights + int64_t{filter} * geometry.taps;
        }
    }

    // The places of a step's taps, found once for all pixels.
    ADROIT_DEVICE void find_taps(int step) {
        static_assert(kStepTaps <= Tile::kSliceThreads, "a thread finds one tap at most");
        if (thread_ < kStepTaps) shared_.taps[half_of(step)][thread_] = geometry_.tap_at(step * kStepTaps + thread_);
    }

    // Needs the step's taps.
    ADROIT_DEVICE void fetch(int step, bool whole) {
        ADROIT_UNROLL
        for (int i = 0; i < Tile::kWeightChunks; ++i)
            fetch_weights(i, (step * kStepWords + chunk_word(i)) * Elements::kTaps, whole);
        ADROIT_UNROLL
        for (int i = 0; i < Tile::kInputWords; ++i) {
            Element taps[Elements::kTaps];
            ADROIT_UNROLL
            for (int t = 0; t < Elements::kTaps; ++t) {
                const Tap tap = shared_.taps[half_of(step)][input_row(i) * Elements::kTaps + t];
                const bool inside = geometry_.is_inside(row_, column_, tap);
                taps[t] = load_if(inside, first_input_ + tap.offset, elements_.padding());
            }
            input_[i] = Elements::fetched(taps);
        }
    }

    ADROIT_DEVICE void put(int step) {
        Word* weights = shared_.stages[half_of(step)];
        Word* input = weights + Tile::kWeightWords;
        ADROIT_UNROLL
        for (int i = 0; i < Tile::kWeightChunks; ++i) ADROIT_UNROLL
        for (int j = 0; j < 4; ++j)
            weights[(chunk_word(i) + j) * Tile::kWeightRow + chunk_filter(i)] = elements_.word(weights_[i].at[j]);
        ADROIT_UNROLL
        for (int i = 0; i < Tile::kInputWords; ++i)
            input[input_row(i) * Tile::kPixels + thread_ % Tile::kPixels] = elements_.word(input_[i]);
    }

    // sums += the step's terms.
    ADROIT_DEVICE void add(int step, Word (&sums)[Tile::kThreadFilters][Tile::kThreadPixels]) const {
        const Word* weights = shared_.stages[half_of(step)];
        const Word* input = weights + Tile::kWeightWords;
        ADROIT_UNROLL_BY(kUnrolledSteps<Tile::kSums>)
        for (int k = 0; k < kStepWords; ++k) {
            Quad<Word> w[Tile::kThreadFilters / 4], x[Tile::kThreadPixels / 4];
            ADROIT_UNROLL
            for (int i = 0; i < Tile::kThreadFilters / 4; ++i)
                w[i] = quad_at(weights + k * Tile::kWeightRow + Tile::filter(thread_, 4 * i));
            ADROIT_UNROLL
            for (int j = 0; j < Tile::kThreadPixels / 4; ++j)
                x[j] = quad_at(input + k * Tile::kPixels + Tile::pixel(thread_, 4 * j));
            ADROIT_UNROLL
            for (int i = 0; i < Tile::kThreadFilters; ++i) ADROIT_UNROLL
            for (int j = 0; j < Tile::kThreadPixels; ++j)
                Elements::add(sums[i][j], x[j / 4].at[j % 4], w[i / 4].at[i % 4]);
        }
    }

private:
    ADROIT_DEVICE static int half_of(int step) { return step / Tile::kSlices % 2; }
    ADROIT_DEVICE static Quad<Word> quad_at(const Word* p) { return *reinterpret_cast<const Quad<Word>*>(p); }
    ADROIT_DEVICE int chunk_filter(int i) const { return (thread_ + i * Tile::kSliceThreads) / (kStepWords / 4); }
    ADROIT_DEVICE int chunk_word(int i) const { return (thread_ + i * Tile::kSliceThreads) % (kStepWords / 4) * 4; }
    ADROIT_DEVICE int input_row(int i) const { return thread_ / Tile::kPixels + i * Tile::kInputRows; }

    // A quad of words from tap `tap` of a filter on, in one access where all filters' quads are aligned.
    ADROIT_DEVICE void fetch_weights(int i, int tap, bool whole) {
        const Element* filter = filters_[i];
        Element taps[Elements::kTaps];
        ADROIT_UNROLL
        for (int t = 0; t < Elements::kTaps; ++t) taps[t] = elements_.padding();
        const Fetched nothing = Elements::fetched(taps);
        if (whole) {
            const bool inside = tap < geometry_.taps;
            weights_[i] = *reinterpret_cast<const Quad<Fetched>*>(filter + (inside ? tap : 0));
            ADROIT_UNROLL
            for (int j = 0; j < 4; ++j) weights_[i].at[j] = inside ? weights_[i].at[j] : nothing;
            return;
        }
        ADROIT_UNROLL
        for (int j = 0; j < 4; ++j) {
            ADROIT_UNROLL
            for (int t = 0; t < Elements::kTaps; ++t) {
                const int place = tap + j * Elements::kTaps + t;
                taps[t] = load_if(place < geometry_.taps, filter + place, elements_.padding());
            }
            weights_[i].at[j] = Elements::fetched(taps);
        }
    }

    const AdderGeometry& geometry_;
    const Elements& elements_;
    const int thread_;
    Shared& shared_;
    int row_, column_;            // of the pixel's window
    const Element* first_input_;  // of the window; may lie outside X
    const Element* filters_[Tile::kWeightChunks];
    Quad<Fetched> weights_[Tile::kWeightChunks];
    Fetched input_[Tile::kInputWords];
};

}  // namespace adroit::cuda
