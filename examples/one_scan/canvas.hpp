// A sheet to draw on: boxes, and lines with soft edges.
#pragma once

#include "picture.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace one_scan {

struct colour {
    double red = 0, green = 0, blue = 0;  // 0 to 1
};

struct point {
    double x = 0, y = 0;
};

struct line {
    point from, to;
};

/// Where something lies on the sheet, in pixels.
struct box {
    int x = 0, y = 0, width = 0, height = 0;
    int right() const { return x + width; }
    int bottom() const { return y + height; }
};

class canvas {
public:
    canvas(int width, int height, colour paper)
        : width_(width),
          height_(height),
          pixels_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), paper) {}

    int width() const { return width_; }
    int height() const { return height_; }

    /// Covers a pixel with `ink`, all of it at 1 and nothing at 0.
    void blend(int x, int y, colour ink, double cover = 1) {
        if (x < 0 || y < 0 || x >= width_ || y >= height_) return;
        auto& below = pixels_[static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) +
                              static_cast<std::size_t>(x)];
        below.red += cover * (ink.red - below.red);
        below.green += cover * (ink.green - below.green);
        below.blue += cover * (ink.blue - below.blue);
    }

    void fill(box where, colour ink) {
        for (int y = where.y; y < where.bottom(); ++y) {
            for (int x = where.x; x < where.right(); ++x) blend(x, y, ink);
        }
    }

    /// A frame of `thickness` pixels just outside of `inside`.
    void frame(box inside, int thickness, colour ink) {
        int const whole = inside.width + 2 * thickness, left = inside.x - thickness;
        fill({left, inside.y - thickness, whole, thickness}, ink);
        fill({left, inside.bottom(), whole, thickness}, ink);
        fill({left, inside.y, thickness, inside.height}, ink);
        fill({inside.right(), inside.y, thickness, inside.height}, ink);
    }

    /// Strokes with round ends, inked at once, so that joints are not darker.
    void stroke(std::vector<line> const& lines, double thickness, colour ink) {
        if (lines.empty()) return;
        double const radius = thickness / 2, reach = radius + 1;
        double left = 1e9, right = -1e9, top = 1e9, bottom = -1e9;
        for (auto const& l : lines) {
            left = std::min({left, l.from.x, l.to.x});
            right = std::max({right, l.from.x, l.to.x});
            top = std::min({top, l.from.y, l.to.y});
            bottom = std::max({bottom, l.from.y, l.to.y});
        }
        for (int y = static_cast<int>(top - reach); y <= static_cast<int>(bottom + reach); ++y) {
            for (int x = static_cast<int>(left - reach); x <= static_cast<int>(right + reach);
                 ++x) {
                double nearest = reach;
                for (auto const& l : lines)
                    nearest = std::min(nearest, distance({x + 0.5, y + 0.5}, l));
                blend(x, y, ink, std::clamp(radius + 0.5 - nearest, 0.0, 1.0));
            }
        }
    }

    picture finished() const {
        picture result{width_, height_, {}};
        result.rgb.reserve(pixels_.size() * 3);
        for (auto const& pixel : pixels_) {
            for (double part : {pixel.red, pixel.green, pixel.blue}) {
                result.rgb.push_back(
                    static_cast<std::uint8_t>(std::lround(255 * std::clamp(part, 0.0, 1.0))));
            }
        }
        return result;
    }

private:
    static double distance(point p, line const& l) {
        double const dx = l.to.x - l.from.x, dy = l.to.y - l.from.y, length = dx * dx + dy * dy;
        double along = length > 0 ? ((p.x - l.from.x) * dx + (p.y - l.from.y) * dy) / length : 0;
        along = std::clamp(along, 0.0, 1.0);
        return std::hypot(p.x - l.from.x - along * dx, p.y - l.from.y - along * dy);
    }

    int width_, height_;
    std::vector<colour> pixels_;
};

}  // namespace one_scan
