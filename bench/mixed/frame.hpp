#pragma once
// The protocol of the mixed load. A request is 16 bytes: the number of rounds, 4 bytes little-endian, and 12 bytes of
// salt. With no rounds it is a small one and the answer is the request; else it is a heavy one, and the answer is the
// beginning of a password's PBKDF2-HMAC-SHA256 (RFC 8018) of so many rounds: what a login costs.

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace bench {

using frame = std::array<unsigned char, 16>;

inline std::uint32_t rounds_of(const frame& f) {
  return std::uint32_t{f[0]} | std::uint32_t{f[1]} << 8 | std::uint32_t{f[2]} << 16 | std::uint32_t{f[3]} << 24;
}

inline frame make_frame(std::uint32_t rounds, std::uint64_t salt) {
  frame f{};
  for (unsigned i = 0; i < 4; ++i) f[i] = static_cast<unsigned char>(rounds >> 8 * i);
  std::memcpy(f.data() + 4, &salt, sizeof salt);
  return f;
}

/// The answer to a heavy request.
inline frame derive_key(const frame& request) {
  frame key{};
  if (PKCS5_PBKDF2_HMAC("weft", 4, request.data() + 4, 12, static_cast<int>(rounds_of(request)), EVP_sha256(),
                        static_cast<int>(key.size()), key.data()) != 1)
    std::abort();  // OpenSSL always has SHA-256
  return key;
}

}  // namespace bench
