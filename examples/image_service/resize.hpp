#pragma once
// Making pictures smaller, and turning them.

#include "bitmap.hpp"

namespace images {

/// Scaled so that the longer side is at most `longest`; never enlarged. Averages light, not its sRGB codes, by stb's
/// resampler; bands of rows at a time on the CPU pool's workers. In a CPU task. Throws weft::cancelled.
bitmap fit_into(const bitmap& from, unsigned longest);

/// Turned and mirrored as EXIF's orientation, 1 to 8, says, so that it stands upright.
bitmap upright(bitmap from, unsigned orientation);

}  // namespace images
