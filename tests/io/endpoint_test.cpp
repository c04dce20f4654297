#include "weft/io/endpoint.hpp"

#include <gtest/gtest.h>

#include <stdexcept>

namespace weft::io::endpoint_test {
namespace {

TEST(Endpoint, TextComesBackAsItWasParsed) {
  for (const char* text : {"127.0.0.1:8080", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0",
                           "[2001:db8::8a2e:370:7334]:443", "[::ffff:10.0.0.1]:1", "[fe80::1%7]:22"})
    EXPECT_EQ(to_string(endpoint::parse(text)), text);
}

TEST(Endpoint, KnowsItsParts) {
  const endpoint v4 = endpoint::parse("10.1.2.3:99");
  EXPECT_TRUE(v4.is_v4());
  EXPECT_EQ(v4.port(), 99);
  EXPECT_EQ(v4.address(), "10.1.2.3");
  EXPECT_EQ(v4, endpoint(endpoint::bytes_v4{10, 1, 2, 3}, 99));
  const endpoint v6 = endpoint::parse("[fe80::2%3]:7");
  EXPECT_TRUE(v6.is_v6());
  EXPECT_EQ(v6.scope(), 3U);
  EXPECT_EQ(v6.address(), "fe80::2%3");
  EXPECT_EQ(endpoint::loopback(5), endpoint::parse("127.0.0.1:5"));
  EXPECT_EQ(endpoint::any(5), endpoint::parse("0.0.0.0:5"));
}

TEST(Endpoint, NoneIsFalseAndPrintsAsADash) {
  EXPECT_FALSE(endpoint());
  EXPECT_TRUE(endpoint::any(0));
  EXPECT_EQ(to_string(endpoint()), "-");
}

TEST(Endpoint, WhatIsNoEndpointIsRefused) {
  for (const char* text : {"",
                           ":",
                           "1.2.3.4",
                           "1.2.3.4:",
                           "1.2.3.4:65536",
                           "1.2.3.4:-1",
                           "1.2.3.4:+1",
                           "1.2.3.4: 1",
                           "1.2.3.4:1x",
                           "1.2.3:1",
                           "1.2.3.4.5:1",
                           "localhost:1",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[::1:80",
                           "[1.2.3.4]:1",
                           "[]:1",
                           "[fe80::1%]:1",
                           "[fe80::1%no-such-interface]:1",
                           "111111111111111111111111111111111111111111111111111:1",
                           "[11111111111111111111111111111111111111111111111111111111]:1"}) {
    EXPECT_FALSE(endpoint::try_parse(text)) << text;
    EXPECT_THROW(endpoint::parse(text), std::invalid_argument) << text;
  }
  EXPECT_FALSE(endpoint::try_parse(std::string_view("1.2.3.4\0:1", 10)));
}

TEST(Endpoint, OrderIsByFamilyThenPort) {
  EXPECT_LT(endpoint(), endpoint::loopback(1));
  EXPECT_LT(endpoint::loopback(1), endpoint::loopback(2));
  EXPECT_LT(endpoint::loopback(9), endpoint::parse("[::]:1"));
}

}  // namespace
}  // namespace weft::io::endpoint_test
