// What the patches are cut from: one picture, or the frames of a clip.
#pragma once

#include "picture.hpp"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace one_scan {

/// Frames of one size. A picture is a clip of rank 2 with one frame.
struct clip {
    std::vector<picture> frames;
    int rank = 2;
};

/// The part of a picture from (left, top) on.
inline picture cut_out(picture const& image, int left, int top, int width, int height) {
    picture result{width, height, {}};
    for (int y = top; y < top + height; ++y) {
        auto const row =
            image.rgb.begin() + (static_cast<std::ptrdiff_t>(y) * image.width + left) * 3;
        result.rgb.insert(result.rgb.end(), row, row + static_cast<std::ptrdiff_t>(width) * 3);
    }
    return result;
}

/// A camera that moves over a picture from its upper left to its lower right corner and sees three
/// quarters of its width and height.
inline clip move_over(picture const& image, int frames) {
    int const width = (3 * image.width + 3) / 4, height = (3 * image.height + 3) / 4;
    clip result{{}, 3};
    for (int f = 0; f < frames; ++f) {
        int const steps = frames > 1 ? frames - 1 : 1;
        result.frames.push_back(cut_out(image, (image.width - width) * f / steps,
                                        (image.height - height) * f / steps, width, height));
    }
    return result;
}

/// Pictures of one size as a clip.
inline clip stack(std::vector<picture> frames, std::vector<std::string> const& paths) {
    for (std::size_t f = 1; f < frames.size(); ++f) {
        auto const size = [](picture const& p) {
            return std::to_string(p.width) + " x " + std::to_string(p.height);
        };
        if (size(frames[f]) == size(frames[0])) continue;
        throw bad_input("'" + paths[f] + "' has " + size(frames[f]) + " pixels, '" + paths[0] +
                        "' has " + size(frames[0]) + ": the frames of a clip are of one size");
    }
    return {std::move(frames), 3};
}

}  // namespace one_scan
