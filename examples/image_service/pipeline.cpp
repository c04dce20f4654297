#include "pipeline.hpp"

#include <openssl/evp.h>

#include <stdexcept>
#include <utility>

#include "parallel.hpp"
#include "resize.hpp"

namespace images {

std::string digest(std::string_view bytes) {
  unsigned char sum[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), sum, &size, EVP_sha256(), nullptr) != 1)
    throw std::runtime_error("OpenSSL gives no SHA-256");
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (unsigned i = 0; i < size; ++i) text.append({digits[sum[i] >> 4], digits[sum[i] & 15]});
  return text;
}

processed process(std::string_view bytes, const decode_limits& most) {
  decoded source = decode(bytes, most, sizes.front().longest);
  processed result;
  result.was = source.was;
  result.width = source.width;
  result.height = source.height;
  if (source.orientation >= 5) std::swap(result.width, result.height);  // it lies on its side
  result.warnings = std::move(source.warnings);

  // Each size is made from the one before: little is lost by it, and the whole picture is gone through once.
  std::vector<bitmap> made;
  made.push_back(upright(fit_into(source.pixels, sizes.front().longest), source.orientation));
  source.pixels = {};
  for (std::size_t i = 1; i < sizes.size(); ++i) made.push_back(fit_into(made.back(), sizes[i].longest));

  result.versions.resize(sizes.size());
  in_parallel(sizes.size(), [&](unsigned i) {
    result.versions[i] = {std::string(sizes[i].name), format_of(made[i]), made[i].width, made[i].height,
                          encode(made[i])};
  });
  return result;
}

}  // namespace images
