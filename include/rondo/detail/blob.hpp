/// @file
/// A state as bytes: a header that says what follows, then the numbers as they lie in memory.
#pragma once

#include <rondo/detail/composition.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace rondo::inline RONDO_ISA::detail {

/// The first bytes of a blob, in the byte order of the machine that wrote it.
struct blob_header {
    std::array<char, 8> magic{'r', 'o', 'n', 'd', 'o', '.', 's', 't'};
    std::uint32_t version = 1;
    std::uint32_t byte_order = 0x01020304;
    std::uint32_t element_size = 0;
    std::uint32_t composition = 0;
    std::array<index, 4> extents{};  // batch, heads, depth, width
    std::uint64_t payload = 0;       // bytes behind the header
    std::uint64_t checksum = 0;      // of the header with 0 in this place, then of the payload
};
static_assert(sizeof(blob_header) == 72, "blob_header has no gaps: all of it is written");

/// What of a composition gives a state its meaning: all but the form, which changes no value.
constexpr std::uint32_t state_meaning(composition const& what) noexcept {
    auto const bits = [](auto value, int shift) { return std::uint32_t(value) << shift; };
    return bits(what.decay, 0) | bits(what.direction, 4) | bits(what.feature, 8) |
           bits(what.on_write, 12) | bits(what.delta, 13) | bits(what.normalized, 14) |
           bits(what.turned, 15) | bits(what.turned_as, 16);
}

/// Goes on with a checksum over more bytes, a word of 8 at a time. Every step is one to one, so
/// that a change within one word always shows.
inline std::uint64_t checksum(std::uint64_t sum, std::byte const* from,
                              std::size_t count) noexcept {
    auto const take = [&sum](std::byte const* bytes, std::size_t n) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes, n);
        sum = (sum ^ word) * 0x9E3779B97F4A7C15U;
        sum ^= sum >> 32;
    };
    std::size_t at = 0;
    for (; at + 8 <= count; at += 8) take(from + at, 8);
    if (at < count) take(from + at, count - at);
    return sum;
}

inline std::uint64_t checksum(blob_header header, std::byte const* payload) noexcept {
    header.checksum = 0;
    std::array<std::byte, sizeof header> bytes;
    std::memcpy(bytes.data(), &header, sizeof header);
    return checksum(checksum(header.payload, bytes.data(), bytes.size()), payload,
                    std::size_t(header.payload));
}

/// Writes header and payload as one blob.
inline std::vector<std::byte> make_blob(blob_header header, void const* payload) {
    auto const* const numbers = static_cast<std::byte const*>(payload);
    header.checksum = checksum(header, numbers);
    std::vector<std::byte> blob(sizeof header + std::size_t(header.payload));
    std::memcpy(blob.data(), &header, sizeof header);
    if (header.payload > 0) std::memcpy(blob.data() + sizeof header, numbers, header.payload);
    return blob;
}

/// Reads the header of a blob that is whole and was written for this operator, element type and
/// machine; refuses any other. Reads no byte outside of `blob`.
inline blob_header open_blob(std::span<std::byte const> blob, composition const& what,
                             std::size_t element_size) {
    blob_header header;
    blob_header const expected;
    auto const refused = [](std::initializer_list<word> words) { refuse("state", words); };
    if (blob.size() < sizeof header) {
        refused({"the blob has ", blob.size(), " bytes, expected a header of ", sizeof header});
    }
    std::memcpy(&header, blob.data(), sizeof header);
    if (header.magic != expected.magic) refused({"the blob is not a state of rondo"});
    if (header.byte_order != expected.byte_order) {
        refused({"the blob was written in another byte order"});
    }
    if (header.version != expected.version) {
        refused({"the blob has version ", header.version, ", expected ", expected.version});
    }
    if (header.payload != blob.size() - sizeof header) {
        refused({"the blob holds ", blob.size() - sizeof header, " bytes of numbers, expected ",
                 header.payload});
    }
    if (header.checksum != checksum(header, blob.data() + sizeof header)) {
        refused({"the blob is damaged: its checksum is not that of its bytes"});
    }
    if (header.element_size != element_size) {
        refused(
            {"the blob has elements of ", header.element_size, " bytes, expected ", element_size});
    }
    if (header.composition != state_meaning(what)) {
        refused({"the blob is the state of another operator"});
    }
    return header;
}

/// Refuses extents that no state of `payload` bytes has, before anything is allocated for them.
/// `counts` [batch, heads, depth, width].
inline void check_blob_extents(std::array<index, 4> const& counts, index most) {
    index product = 1;
    for (index extent : counts) {
        bool const overflows = __builtin_mul_overflow(product, extent < 1 ? 1 : extent, &product);
        if (extent < 0 || overflows || product > most) {
            refuse("state", {"the blob has the extents ", counts[0], ", ", counts[1], ", ",
                             counts[2], ", ", counts[3], ", more than its numbers"});
        }
    }
}

}  // namespace rondo::inline RONDO_ISA::detail
