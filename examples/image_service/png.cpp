// PNG by libpng.

#include <png.h>

#include <algorithm>
#include <cstddef>
#include <new>

#include "guarded.hpp"

namespace images::detail {

namespace {

struct error_handler {
  escape way_out;
  unsigned warnings = 0;
  char first_warning[256] = "";
};

void on_error(png_structp codec, const char* why) {
  static_cast<error_handler*>(png_get_error_ptr(codec))->way_out.jump(why);
}

void on_warning(png_structp codec, const char* what) {
  auto& errors = *static_cast<error_handler*>(png_get_error_ptr(codec));
  if (errors.warnings++ == 0) std::snprintf(errors.first_warning, sizeof errors.first_warning, "%s", what);
}

class reader {
 public:
  explicit reader(std::string_view bytes) : left_(bytes) {
    if (!codec_ || !(info_ = png_create_info_struct(codec_))) {
      png_destroy_read_struct(&codec_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    guarded(errors_.way_out, [&] {
      png_set_read_fn(codec_, this, give);
      png_set_user_limits(codec_, 1'000'000, 1'000'000);
      png_set_chunk_malloc_max(codec_, 8'000'000);
      png_set_chunk_cache_max(codec_, 100);
    });
  }
  ~reader() { png_destroy_read_struct(&codec_, &info_, nullptr); }
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  decoded read(const decode_limits& most) {
    guarded(errors_.way_out, [&] { png_read_info(codec_, info_); });
    const unsigned width = png_get_image_width(codec_, info_);
    const unsigned height = png_get_image_height(codec_, info_);
    check_size(width, height, most);
    int passes = 1;
    // Whatever it is, palette, grey, 16 bits, it becomes 8 bits of red, green, blue, and alpha if there is any.
    guarded(errors_.way_out, [&] {
      png_set_expand(codec_);
      png_set_scale_16(codec_);
      png_set_gray_to_rgb(codec_);
      passes = png_set_interlace_handling(codec_);
      png_read_update_info(codec_, info_);
    });
    decoded result;
    result.was = format::png;
    result.width = width;
    result.height = height;
    result.pixels = bitmap(width, height, png_get_channels(codec_, info_));
    if (png_get_rowbytes(codec_, info_) != result.pixels.stride())
      throw bad_picture(bad_picture::problem::corrupt, "the picture's rows have an odd size");
    for (; passes > 0; --passes)
      for (unsigned y = 0; y < height; ++y) {
        std::uint8_t* const row = result.pixels.row(y);
        guarded(errors_.way_out, [&] { png_read_row(codec_, row, nullptr); });
        weft::check_cancelled();
      }
    guarded(errors_.way_out, [&] { png_read_end(codec_, nullptr); });
    if (errors_.warnings > 0) result.warnings.emplace_back(errors_.first_warning);
    return result;
  }

 private:
  static void give(png_structp codec, png_bytep to, std::size_t size) {
    std::string_view& left = static_cast<reader*>(png_get_io_ptr(codec))->left_;
    if (size > left.size()) png_error(codec, "the picture is cut short");
    std::copy_n(left.data(), size, to);
    left.remove_prefix(size);
  }

  std::string_view left_;
  error_handler errors_;
  png_structp codec_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
  png_infop info_ = nullptr;
};

class writer {
 public:
  writer() {
    if (!codec_ || !(info_ = png_create_info_struct(codec_))) {
      png_destroy_write_struct(&codec_, nullptr);
      throw std::bad_alloc();
    }
  }
  ~writer() { png_destroy_write_struct(&codec_, &info_); }
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  std::string write(const bitmap& picture) {
    guarded(errors_.way_out, [&] {
      png_set_write_fn(codec_, this, take, nullptr);
      png_set_compression_level(codec_, 4);
      png_set_IHDR(codec_, info_, picture.width, picture.height, 8,
                   picture.channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                   PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
      png_write_info(codec_, info_);
    });
    for (unsigned y = 0; y < picture.height; ++y) {
      guarded(errors_.way_out, [&] { png_write_row(codec_, picture.row(y)); });
      weft::check_cancelled();
    }
    guarded(errors_.way_out, [&] { png_write_end(codec_, nullptr); });
    return std::move(bytes_);
  }

 private:
  static void take(png_structp codec, png_bytep from, std::size_t size) {
    // An exception must not go through libpng, whose frames are C.
    bool out_of_memory = false;
    try {
      static_cast<writer*>(png_get_io_ptr(codec))->bytes_.append(reinterpret_cast<const char*>(from), size);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    if (out_of_memory) png_error(codec, "out of memory");
  }

  std::string bytes_;
  error_handler errors_;
  png_structp codec_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, on_error, on_warning);
  png_infop info_ = nullptr;
};

}  // namespace

decoded decode_png(std::string_view bytes, const decode_limits& most) { return reader(bytes).read(most); }

std::string encode_png(const bitmap& picture) { return writer().write(picture); }

}  // namespace images::detail
