#pragma once
// Work for a CPU: SHA-256 of SHA-256 of ..., by OpenSSL. And the clock that tells how much was done.

#include <openssl/evp.h>
#include <time.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

/// In hexadecimal: the digest of `data`, and then, `rounds` - 1 times, the digest of the digest so far.
inline std::string sha256(std::string_view data, unsigned rounds) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  const void* in = data.data();
  std::size_t in_size = data.size();
  for (unsigned i = 0; i < rounds; ++i) {
    // The algorithm is looked up once: a null one means that of the call before.
    if (!context || EVP_DigestInit_ex(context.get(), i == 0 ? EVP_sha256() : nullptr, nullptr) != 1 ||
        EVP_DigestUpdate(context.get(), in, in_size) != 1 || EVP_DigestFinal_ex(context.get(), digest, &size) != 1)
      throw std::runtime_error("OpenSSL has no SHA-256");
    in = digest;
    in_size = size;
  }

  std::string text;
  for (const unsigned char byte : std::span(digest, size)) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

/// What the calling thread has had of a CPU so far: waiting for a core does not count.
inline std::chrono::nanoseconds thread_cpu_time() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}
