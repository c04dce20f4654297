#pragma once
// A key and a certificate of one's own making, for the TLS servers in C and C++.

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct bench_papers {
  EVP_PKEY* key;
  X509* certificate;
};

static inline struct bench_papers bench_make_papers(void) {
  struct bench_papers p;
  p.key = EVP_EC_gen("P-256");
  p.certificate = X509_new();
  ASN1_INTEGER_set(X509_get_serialNumber(p.certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(p.certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(p.certificate), 86400);
  X509_set_pubkey(p.certificate, p.key);
  X509_sign(p.certificate, p.key, EVP_sha256());
  return p;
}

static inline void bench_use_papers(SSL_CTX* context) {
  const struct bench_papers p = bench_make_papers();
  SSL_CTX_use_certificate(context, p.certificate);
  SSL_CTX_use_PrivateKey(context, p.key);
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
}
