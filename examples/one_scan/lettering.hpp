// Letters drawn with a pen, so that the drawing needs no font file.
//
// A glyph is a few strokes; a stroke is a run of points, two hexadecimal digits (x, y) each. y
// counts down: 0 is the top of capitals, 4 that of small letters, c the base line, f the bottom of
// a descender. A stroke that begins with ~ is the smooth curve its points pull at (quadratic
// B-spline); a point given twice makes a corner, and a stroke that ends where it began is closed.
#pragma once

#include "canvas.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace one_scan {

inline std::string_view glyph(char letter) {
    switch (letter) {
        case 'A': return "0c408c 1979";
        case 'B': return "000c ~0040407076464606 ~064646868c4c4c0c";
        case 'C': return "~8360000c6c89";
        case 'D': return "000c ~003030808c3c3c0c";
        case 'E': return "70000c7c 0666";
        case 'F': return "70000c 0656";
        case 'G': return "~8360000c8c86 8646";
        case 'H': return "000c 808c 0686";
        case 'I': return "000c";
        case 'J': return "~6060606c0c09";
        case 'K': return "000c 7007 347c";
        case 'L': return "000c7c";
        case 'M': return "0c0048808c";
        case 'N': return "0c008c80";
        case 'O': return "~000c8c8000";
        case 'P': return "0c00 ~0040408087474707";
        case 'Q': return "~000c8c8000 588c";
        case 'R': return "0c00 ~0040408087474707 377c";
        case 'S': return "~82600006868c2c0a";
        case 'T': return "0080 404c";
        case 'U': return "~00000c8c8080";
        case 'V': return "004c80";
        case 'W': return "002c426c80";
        case 'X': return "008c 800c";
        case 'Y': return "004680 464c";
        case 'Z': return "00800c8c";
        case 'a': return "~040c6c6404 646c";
        case 'b': return "000c ~040c6c6404";
        case 'c': return "~6654040c5c6a";
        case 'd': return "606c ~040c6c6404";
        case 'e': return "~08686864040c5c6a";
        case 'f': return "~5020242c2c 0454";
        case 'g': return "~040c6c6404 ~64646f1f0e";
        case 'h': return "000c ~080464686c6c";
        case 'i': return "040c 0101";
        case 'j': return "~24242f0f 2121";
        case 'k': return "000c 5409 275c";
        case 'l': return "000c";
        case 'm': return "040c ~080454585c5c ~5854a4a8acac";
        case 'n': return "040c ~080464686c6c";
        case 'o': return "~040c6c6404";
        case 'p': return "040f ~040c6c6404";
        case 'q': return "646f ~040c6c6404";
        case 'r': return "040c ~08042444";
        case 's': return "~65540408686c1c0b";
        case 't': return "~21212c5c 0454";
        case 'u': return "~0404080c6c68 646c";
        case 'v': return "043c64";
        case 'w': return "042c456c84";
        case 'x': return "046c 640c";
        case 'y': return "043c 642f";
        case 'z': return "04640c6c";
        case '0': return "~000c6c6000";
        case '1': return "03303c";
        case '2': return "~030060650c0c 0c6c";
        case '3': return "~0120606626 ~26666c2c0b";
        case '4': return "5c500979";
        case '5': return "600006 ~0524646c1c0b";
        case '6': return "~50020c6c650509";
        case '7': return "00602c";
        case '8': return "~0006666000 ~060c6c6606";
        case '9': return "~1c6a6000076763";
        case '.': return "0c0c";
        case ',': return "1b0e";
        case ':': return "0505 0c0c";
        case '%': return "~0004343000 800c ~585c8c8858";
        case '\'': return "0003";
        case '(': return "~30030a3d";
        case ')': return "~00333a0d";
        case '-': return "0747";
        case '+': return "0767 343a";
        case '=': return "0565 0969";
        case '/': return "600d";
        default: return "";
    }
}

/// Three rounds of corner cutting (Chaikin): as near to the curve as a thin pen can show.
inline std::vector<point> smooth(std::vector<point> corners) {
    bool const closed =
        corners.front().x == corners.back().x && corners.front().y == corners.back().y;
    for (int round = 0; round < 3; ++round) {
        std::vector<point> cut;
        if (!closed) cut.push_back(corners.front());
        for (std::size_t n = 0; n + 1 < corners.size(); ++n) {
            point const a = corners[n], b = corners[n + 1];
            cut.push_back({0.75 * a.x + 0.25 * b.x, 0.75 * a.y + 0.25 * b.y});
            cut.push_back({0.25 * a.x + 0.75 * b.x, 0.25 * a.y + 0.75 * b.y});
        }
        cut.push_back(closed ? cut.front() : corners.back());
        corners = cut;
    }
    return corners;
}

inline void add_stroke(std::string_view stroke, point origin, double unit,
                       std::vector<line>& lines) {
    bool const curved = stroke.front() == '~';
    if (curved) stroke.remove_prefix(1);
    auto const digit = [](char c) {
        return static_cast<double>(c <= '9' ? c - '0' : c - 'a' + 10);
    };
    std::vector<point> points;
    for (std::size_t n = 0; n + 1 < stroke.size(); n += 2) {
        points.push_back(
            {origin.x + unit * digit(stroke[n]), origin.y + unit * digit(stroke[n + 1])});
    }
    if (curved) points = smooth(points);
    for (std::size_t n = 0; n + 1 < points.size(); ++n) lines.push_back({points[n], points[n + 1]});
}

/// Adds the strokes of a letter whose upper left corner is `origin`; returns its width and gap.
inline double add_letter(char letter, point origin, double unit, std::vector<line>& lines) {
    auto shape = glyph(letter);
    if (shape.empty()) return 5 * unit;  // a space
    std::vector<line> own;
    while (!shape.empty()) {
        auto const stroke = shape.substr(0, shape.find(' '));
        add_stroke(stroke, origin, unit, own);
        shape.remove_prefix(std::min(shape.size(), stroke.size() + 1));
    }
    double right = origin.x;
    for (auto const& l : own) right = std::max({right, l.from.x, l.to.x});
    lines.insert(lines.end(), own.begin(), own.end());
    return right - origin.x + 3.4 * unit;
}

/// Capitals are `size` pixels high.
inline double text_width(std::string_view text, double size) {
    std::vector<line> unused;
    double x = 0;
    for (char letter : text) x += add_letter(letter, {}, size / 12, unused);
    return text.empty() ? 0 : x - 3.4 * size / 12;
}

/// Writes with the top of the capitals at y; at x is the left end (`align` 0) or the right one (1).
inline void write(canvas& sheet, std::string_view text, point where, double size, colour ink,
                  double align = 0) {
    double x = where.x - align * text_width(text, size);
    for (char letter : text) {
        std::vector<line> lines;
        x += add_letter(letter, {x, where.y}, size / 12, lines);
        sheet.stroke(lines, size / 8, ink);
    }
}

}  // namespace one_scan
