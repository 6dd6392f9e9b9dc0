// A picture: three bytes a pixel, row by row; read from a file and written to one.
#pragma once

#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace one_scan {

/// What the person gave cannot be used; the message is the whole sentence to show.
struct bad_input : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct picture {
    int width = 0, height = 0;
    std::vector<std::uint8_t> rgb;

    double at(int y, int x, int colour) const {
        auto const pixel = static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                           static_cast<std::size_t>(x);
        return rgb[pixel * 3 + static_cast<std::size_t>(colour)];
    }
};

/// Reads PNG, JPEG, PPM and whatever else the decoder knows; an alpha channel is dropped.
inline picture load_picture(std::string const& path) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (!fs::exists(path, ignored)) throw bad_input("there is no file '" + path + "'");
    if (fs::is_directory(path, ignored))
        throw bad_input("'" + path + "' is a folder, not a picture");

    picture result;
    int channels_in_file = 0;
    auto const free_pixels = [](stbi_uc* pixels) { stbi_image_free(pixels); };
    std::unique_ptr<stbi_uc, decltype(free_pixels)> const pixels(
        stbi_load(path.c_str(), &result.width, &result.height, &channels_in_file, 3), free_pixels);
    if (!pixels) {
        throw bad_input("'" + path + "' cannot be read as a PNG, JPEG or PPM picture (" +
                        stbi_failure_reason() + ")");
    }
    auto const bytes =
        static_cast<std::size_t>(result.width) * static_cast<std::size_t>(result.height) * 3;
    result.rgb.assign(pixels.get(), pixels.get() + bytes);
    return result;
}

inline void save_png(std::string const& path, picture const& image) {
    if (stbi_write_png(path.c_str(), image.width, image.height, 3, image.rgb.data(),
                       image.width * 3) == 0) {
        throw bad_input("the picture '" + path + "' cannot be written");
    }
}

}  // namespace one_scan
