// The image service's pictures: decoding what is hostile, resizing in parallel, turning upright.

#include <gtest/gtest.h>
#include <stb/stb_image_resize.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include <weft/cancel_scope.hpp>
#include <weft/runtime.hpp>
#include <weft/this_fiber.hpp>

#include "pipeline.hpp"
#include "resize.hpp"

namespace picture_test {

using namespace images;

/// Runs f as a CPU task.
template <class F>
auto on_cpu(F f) {
  return weft::run([&] { return weft::spawn_cpu(f).get(); });
}

bitmap colours(unsigned width, unsigned height, unsigned channels) {
  bitmap b(width, height, channels);
  for (unsigned y = 0; y < height; ++y)
    for (unsigned x = 0; x < width; ++x)
      for (unsigned c = 0; c < channels; ++c)
        b.row(y)[x * channels + c] =
            static_cast<std::uint8_t>(c == 3 ? 255 - x % 200 : (x * (c + 1) + y * (3 - c)) % 256);
  return b;
}

TEST(Picture, PngComesBackAsItWas) {
  on_cpu([] {
    const bitmap sent = colours(70, 50, 4);
    const decoded got = decode(encode(sent), {}, 1600);
    EXPECT_EQ(got.was, format::png);
    EXPECT_EQ(got.pixels.channels, 4u);
    EXPECT_EQ(got.pixels.pixels, sent.pixels);
  });
}

TEST(Picture, JpegComesBackAlike) {
  on_cpu([] {
    bitmap sent(64, 48, 3);
    for (std::size_t i = 0; i < sent.pixels.size(); ++i) sent.pixels[i] = static_cast<std::uint8_t>(i / 48);
    const decoded got = decode(encode(sent), {}, 1600);
    EXPECT_EQ(got.was, format::jpeg);
    ASSERT_EQ(got.pixels.pixels.size(), sent.pixels.size());
    for (std::size_t i = 0; i < sent.pixels.size(); ++i) EXPECT_NEAR(got.pixels.pixels[i], sent.pixels[i], 16);
  });
}

TEST(Picture, JpegIsDecodedNoLargerThanWanted) {
  on_cpu([] {
    const std::string bytes = encode(colours(800, 400, 3));
    const decoded got = decode(bytes, {}, 200);
    EXPECT_EQ(got.width, 800u);
    EXPECT_EQ(got.pixels.width, 200u);
    EXPECT_EQ(decode(bytes, {}, 201).pixels.width, 300u);
  });
}

TEST(Picture, BandsAreTheRowsOfTheWhole) {
  on_cpu([] {
    for (const unsigned channels : {3u, 4u}) {
      const bitmap from = colours(333, 517, channels);
      const bitmap banded = fit_into(from, 150);
      bitmap whole(banded.width, banded.height, channels);
      stbir_resize_uint8_srgb(from.pixels.data(), 333, 517, 0, whole.pixels.data(), static_cast<int>(whole.width),
                              static_cast<int>(whole.height), 0, static_cast<int>(channels),
                              channels == 4 ? 3 : STBIR_ALPHA_CHANNEL_NONE, 0);
      ASSERT_EQ(banded.height, 150u);
      for (std::size_t i = 0; i < whole.pixels.size(); ++i)
        ASSERT_NEAR(banded.pixels[i], whole.pixels[i], 1) << "at " << i << " of " << channels;  // rounding of shifts
    }
  });
}

TEST(Picture, IsNeverEnlargedAndNeverVanishes) {
  on_cpu([] {
    EXPECT_EQ(fit_into(colours(10, 20, 3), 100).height, 20u);
    const bitmap thin = fit_into(colours(3000, 2, 3), 300);
    EXPECT_EQ(thin.width, 300u);
    EXPECT_EQ(thin.height, 1u);
  });
}

TEST(Picture, EachOrientationIsTurnedUpright) {
  // ab    What the eight orientations store of the upright picture on the left (EXIF 2.32, 4.6.4 A): so what is made
  // cd    of each must be it.
  // ef
  const std::string upright_picture = "abcdef";
  struct stored {
    unsigned width;
    const char* pixels;
  };
  const stored all[8] = {{2, "abcdef"}, {2, "badcfe"}, {2, "fedcba"}, {2, "efcdab"},
                         {3, "acebdf"}, {3, "bdface"}, {3, "fdbeca"}, {3, "ecafdb"}};
  for (unsigned orientation = 1; orientation <= 8; ++orientation) {
    const auto& [width, pixels] = all[orientation - 1];
    bitmap b(width, 6 / width, 3);
    for (unsigned i = 0; i < 6; ++i) b.pixels[i * 3] = static_cast<std::uint8_t>(pixels[i]);
    const bitmap got = upright(b, orientation);
    EXPECT_EQ(got.width, 2u);
    std::string letters;
    for (unsigned i = 0; i < 6; ++i) letters += static_cast<char>(got.pixels[i * 3]);
    EXPECT_EQ(letters, upright_picture) << "orientation " << orientation;
  }
}

TEST(Picture, VersionsGoDownInSize) {
  on_cpu([] {
    const processed p = process(encode(colours(2000, 1000, 3)), {});
    ASSERT_EQ(p.versions.size(), 3u);
    EXPECT_EQ(p.width, 2000u);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      EXPECT_EQ(p.versions[i].width, sizes[i].longest);
      EXPECT_EQ(p.versions[i].height, sizes[i].longest / 2);
      EXPECT_EQ(decode(p.versions[i].bytes, {}, 1600).width, sizes[i].longest);
    }
  });
}

bad_picture::problem problem_of(std::string_view bytes, const decode_limits& most = {}) {
  try {
    decode(bytes, most, 1600);
  } catch (const bad_picture& e) {
    EXPECT_STRNE(e.what(), "");
    return e.what_is_wrong();
  }
  ADD_FAILURE() << "it was decoded";
  return {};
}

TEST(Picture, TooManyPixelsAreRefusedFromTheHeaderAlone) {
  on_cpu([] {
    for (const unsigned channels : {3u, 4u}) {
      const std::string bytes = encode(colours(300, 200, channels));
      const std::size_t header = channels == 4 ? 41 : 700;  // nothing of the pixels, or little
      EXPECT_EQ(problem_of(bytes.substr(0, header), {.pixels = 59'999}), bad_picture::problem::too_large);
      EXPECT_EQ(problem_of(bytes.substr(0, header), {.pixels = 60'000}), bad_picture::problem::corrupt);
    }
  });
}

TEST(Picture, TheDigestIsSha256) {
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Picture, WhatIsNoPictureIsRefused) {
  on_cpu([] {
    EXPECT_EQ(problem_of(""), bad_picture::problem::corrupt);
    EXPECT_EQ(problem_of("GIF89a"), bad_picture::problem::unknown_format);
    EXPECT_EQ(problem_of("\xFF\xD8\xFF"), bad_picture::problem::corrupt);
    EXPECT_EQ(problem_of("\x89PNG\r\n\x1A\n"), bad_picture::problem::corrupt);
  });
}

TEST(Picture, EachTruncationIsRefused) {
  on_cpu([] {
    for (const unsigned channels : {3u, 4u}) {
      const std::string bytes = encode(colours(40, 30, channels));
      for (std::size_t n = 0; n + 2 < bytes.size(); n += 7) problem_of(std::string_view(bytes).substr(0, n));
    }
  });
}

TEST(Picture, NoDamageDoesMoreThanThrow) {
  on_cpu([] {
    std::mt19937 random(7);
    for (const unsigned channels : {3u, 4u}) {
      const std::string bytes = encode(colours(40, 30, channels));
      for (int i = 0; i < 300; ++i) {
        std::string damaged = bytes;
        for (int j = 0; j < 3; ++j) damaged[random() % damaged.size()] = static_cast<char>(random());
        try {
          decode(damaged, {.pixels = 1'000'000}, 1600);
        } catch (const bad_picture&) {  // or not: some damage makes another picture
        }
      }
    }
  });
}

TEST(Picture, CancellationEndsTheWork) {
  weft::run([] {
    for (const unsigned channels : {3u, 4u}) {
      auto work = weft::spawn_cpu([channels] {
        const std::string bytes = encode(colours(600, 600, channels));
        for (;;) process(bytes, {});
      });
      weft::sleep_for(std::chrono::milliseconds(20));
      work.cancel();
      EXPECT_THROW(work.get(), weft::cancelled);
    }
  });
}

}  // namespace picture_test
