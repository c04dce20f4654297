// JPEG by libjpeg-turbo: its libjpeg interface, for that decodes row by row.

#include <libexif/exif-data.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <new>
#include <utility>

// After <cstdio>: it uses FILE and size_t, and includes neither.
#include <jerror.h>
#include <jpeglib.h>

#include "guarded.hpp"

namespace images::detail {

namespace {

/// What libjpeg calls when something is wrong. `base` is first, so its pointer to it is one to all of it.
struct error_handler {
  jpeg_error_mgr base;
  escape way_out;
  unsigned warnings = 0;
  char first_warning[JMSG_LENGTH_MAX] = "";

  static error_handler& of(j_common_ptr codec) { return *reinterpret_cast<error_handler*>(codec->err); }

  error_handler() {
    jpeg_std_error(&base);
    base.error_exit = [](j_common_ptr codec) {
      char text[JMSG_LENGTH_MAX];
      codec->err->format_message(codec, text);
      of(codec).way_out.jump(text);
    };
    base.emit_message = [](j_common_ptr codec, int level) {
      if (level >= 0) return;  // a trace
      // After these libjpeg would go on with grey where the picture was.
      switch (codec->err->msg_code) {
        case JWRN_JPEG_EOF:
          of(codec).way_out.jump("the picture is cut short");
        case JWRN_HIT_MARKER:
        case JWRN_HUFF_BAD_CODE:
          codec->err->error_exit(codec);
      }
      if (of(codec).warnings++ == 0) codec->err->format_message(codec, of(codec).first_warning);
    };
    base.output_message = [](j_common_ptr) {};
  }
};

/// Called by libjpeg once for each row of blocks and scan, also where it goes through the whole file in one call.
struct watcher {
  jpeg_progress_mgr base{};
  int most_scans = 0;

  explicit watcher(unsigned scans) : most_scans(static_cast<int>(scans)) {
    base.progress_monitor = [](j_common_ptr codec) {
      auto& way_out = error_handler::of(codec).way_out;
      if (weft::cancel_requested()) way_out.jump("cancelled");
      const auto* const self = reinterpret_cast<watcher*>(codec->progress);
      if (codec->is_decompressor && reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number > self->most_scans)
        way_out.jump("the picture has too many scans");
    };
  }
};

unsigned orientation_in(std::string_view exif) {
  const std::unique_ptr<ExifData, decltype(&exif_data_unref)> data(
      exif_data_new_from_data(reinterpret_cast<const unsigned char*>(exif.data()), static_cast<unsigned>(exif.size())),
      exif_data_unref);
  if (!data) return 1;
  const ExifEntry* const entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) return 1;
  const unsigned value = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return value >= 1 && value <= 8 ? value : 1;
}

constexpr int exif_marker = JPEG_APP0 + 1;

/// Inks to light. Adobe's programs, and so all, store inks inverted.
void rgb_of_cmyk(const std::uint8_t* from, std::uint8_t* to, unsigned width, bool inverted) {
  const unsigned flip = inverted ? 0 : 255;
  for (; width > 0; --width, from += 4, to += 3)
    for (int i = 0; i < 3; ++i) to[i] = static_cast<std::uint8_t>((from[i] ^ flip) * (from[3] ^ flip) / 255);
}

class reader {
 public:
  reader(std::string_view bytes, const decode_limits& most) : watch_(most.scans) {
    codec_.err = &errors_.base;
    guarded(errors_.way_out, [&] {
      jpeg_create_decompress(&codec_);
      codec_.progress = &watch_.base;
      // A progressive picture is kept whole, as two bytes for each of three colours.
      codec_.mem->max_memory_to_use = static_cast<long>(64'000'000 + 6 * most.pixels);
      jpeg_mem_src(&codec_, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
      jpeg_save_markers(&codec_, exif_marker, 0xFFFF);
    });
  }
  ~reader() { jpeg_destroy_decompress(&codec_); }
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  decoded read(const decode_limits& most, unsigned wanted) {
    guarded(errors_.way_out, [&] { jpeg_read_header(&codec_, TRUE); });
    check_size(codec_.image_width, codec_.image_height, most);
    decoded result;
    result.was = format::jpeg;
    result.width = codec_.image_width;
    result.height = codec_.image_height;
    result.orientation = orientation();
    choose_output(wanted);
    guarded(errors_.way_out, [&] { jpeg_start_decompress(&codec_); });
    result.pixels = bitmap(codec_.output_width, codec_.output_height, 3);
    read_rows(result.pixels);
    guarded(errors_.way_out, [&] { jpeg_finish_decompress(&codec_); });
    if (errors_.warnings > 0) result.warnings.emplace_back(errors_.first_warning);
    return result;
  }

 private:
  /// Smaller in eighths, as long as enough is left.
  void choose_output(unsigned wanted) {
    const std::uint64_t longer = std::max(codec_.image_width, codec_.image_height);
    codec_.scale_denom = 8;
    codec_.scale_num = 8;
    while (codec_.scale_num > 1 && longer * (codec_.scale_num - 1) / 8 >= wanted) --codec_.scale_num;
    const bool inks = codec_.jpeg_color_space == JCS_CMYK || codec_.jpeg_color_space == JCS_YCCK;
    codec_.out_color_space = inks ? JCS_CMYK : JCS_RGB;
  }

  void read_rows(bitmap& to) {
    std::vector<std::uint8_t> inks(codec_.out_color_space == JCS_CMYK ? std::size_t{to.width} * 4 : 0);
    while (codec_.output_scanline < codec_.output_height) {
      std::uint8_t* const out = to.row(codec_.output_scanline);
      JSAMPROW row = inks.empty() ? out : inks.data();
      guarded(errors_.way_out, [&] { jpeg_read_scanlines(&codec_, &row, 1); });
      if (!inks.empty()) rgb_of_cmyk(inks.data(), out, to.width, codec_.saw_Adobe_marker);
      weft::check_cancelled();
    }
  }

  [[nodiscard]] unsigned orientation() const {
    for (const auto* m = codec_.marker_list; m; m = m->next) {
      const std::string_view text(reinterpret_cast<const char*>(m->data), m->data_length);
      if (m->marker == exif_marker && text.starts_with("Exif")) return orientation_in(text);
    }
    return 1;
  }

  jpeg_decompress_struct codec_{};
  error_handler errors_;
  watcher watch_;
};

/// Where libjpeg writes to. (Its own jpeg_mem_dest() keeps what it grew to itself until the end, and so loses it when
/// the end never comes.) `base` is first, as above.
struct collector {
  jpeg_destination_mgr base{};
  std::string bytes;
  JOCTET piece[16 * 1024];

  static collector& of(j_compress_ptr codec) { return *reinterpret_cast<collector*>(codec->dest); }

  collector() {
    base.init_destination = [](j_compress_ptr codec) { of(codec).begin_piece(); };
    base.empty_output_buffer = [](j_compress_ptr codec) -> boolean {
      of(codec).take(codec, sizeof piece);
      of(codec).begin_piece();
      return TRUE;
    };
    base.term_destination = [](j_compress_ptr codec) {
      of(codec).take(codec, sizeof piece - codec->dest->free_in_buffer);
    };
  }

 private:
  void begin_piece() {
    base.next_output_byte = piece;
    base.free_in_buffer = sizeof piece;
  }
  void take(j_compress_ptr codec, std::size_t size) {
    // An exception must not go through libjpeg, whose frames are C.
    bool out_of_memory = false;
    try {
      bytes.append(reinterpret_cast<const char*>(piece), size);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
    if (out_of_memory) error_handler::of(reinterpret_cast<j_common_ptr>(codec)).way_out.jump("out of memory");
  }
};

class writer {
 public:
  writer() {
    codec_.err = &errors_.base;
    guarded(errors_.way_out, [&] {
      jpeg_create_compress(&codec_);
      codec_.dest = &to_.base;
    });
  }
  ~writer() { jpeg_destroy_compress(&codec_); }
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  std::string write(const bitmap& picture) {
    guarded(errors_.way_out, [&] {
      codec_.image_width = picture.width;
      codec_.image_height = picture.height;
      codec_.input_components = 3;
      codec_.in_color_space = JCS_RGB;
      jpeg_set_defaults(&codec_);
      jpeg_set_quality(&codec_, 85, TRUE);
      jpeg_start_compress(&codec_, TRUE);
    });
    while (codec_.next_scanline < codec_.image_height) {
      JSAMPROW row = const_cast<std::uint8_t*>(picture.row(codec_.next_scanline));  // it does not write there
      guarded(errors_.way_out, [&] { jpeg_write_scanlines(&codec_, &row, 1); });
      weft::check_cancelled();
    }
    guarded(errors_.way_out, [&] { jpeg_finish_compress(&codec_); });
    return std::move(to_.bytes);
  }

 private:
  jpeg_compress_struct codec_{};
  error_handler errors_;
  collector to_;
};

}  // namespace

decoded decode_jpeg(std::string_view bytes, const decode_limits& most, unsigned wanted) {
  return reader(bytes, most).read(most, wanted);
}

std::string encode_jpeg(const bitmap& picture) { return writer().write(picture); }

}  // namespace images::detail
