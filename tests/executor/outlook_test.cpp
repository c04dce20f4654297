#include "outlook.hpp"

#include <gtest/gtest.h>

#include <chrono>

namespace weft::testing::outlook_test {
namespace {

using detail::outlook;
using std::chrono::microseconds;

// A loop whose mail comes so long after it has nothing more to do; what it spends on looking, and how often it sleeps.
struct loop {
  outlook::duration looked{};
  int sleeps = 0;
  outlook policy{true};

  void wait(outlook::duration until_mail, bool by_mail = true) {
    const auto length = policy.length();
    if (length >= until_mail && by_mail) {
      looked += until_mail;
      policy.found();
      return;
    }
    looked += length;
    if (length.count() > 0) policy.in_vain();
    ++sleeps;
    policy.slept(by_mail, until_mail - length);
  }
};

TEST(Outlook, TwoShortSleepsThatMailEndsAreFollowedByALook) {
  loop l;
  l.wait(microseconds(20));
  l.wait(microseconds(20));
  EXPECT_EQ(l.policy.length(), outlook::longest);
  for (int i = 0; i < 1000; ++i) l.wait(microseconds(20));
  EXPECT_EQ(l.sleeps, 2);
}

TEST(Outlook, WithOneCoreNobodyLooksOut) {
  loop l{.policy = outlook(false)};
  for (int i = 0; i < 100; ++i) l.wait(microseconds(20));
  EXPECT_EQ(l.sleeps, 100);
}

TEST(Outlook, EventsOfIOAndLongSleepsStartNone) {
  loop l;
  for (int i = 0; i < 1000; ++i) l.wait(microseconds(20), false);
  for (int i = 0; i < 1000; ++i) l.wait(microseconds(20), i % 2 == 0);
  for (int i = 0; i < 1000; ++i) l.wait(microseconds(150));
  EXPECT_EQ(l.looked.count(), 0);
}

// The sleep after a look in vain is the shorter for that look. It would start the next one, each time.
TEST(Outlook, MailThatComesSoonAfterALookInVainStartsNoOther) {
  for (const auto until_mail : {microseconds(55), microseconds(70), microseconds(99)}) {
    loop l;
    for (int i = 0; i < 10'000; ++i) l.wait(until_mail);
    EXPECT_LT(l.looked, 10'000 * until_mail / 100) << until_mail.count();  // a hundredth of the time
  }
}

TEST(Outlook, ALookThatFindsMailMakesUpForOneInVain) {
  loop l;
  for (int i = 0; i < 2; ++i) l.wait(microseconds(20));
  l.wait(microseconds(1'000));
  EXPECT_LT(l.policy.length(), outlook::longest);
  l.wait(microseconds(1));
  EXPECT_EQ(l.policy.length(), outlook::longest);
}

TEST(Outlook, WhatWasTooLateForALookMayBeInTimeLater) {
  loop l;
  for (int i = 0; i < 10'000; ++i) l.wait(microseconds(70));
  const int before = l.sleeps;
  for (int i = 0; i < 10'000; ++i) l.wait(microseconds(10));
  EXPECT_LE(l.sleeps - before, 1025);
  // And with that, patience is forgotten.
  for (int i = 0; i < 12; ++i) l.wait(microseconds(70));
  const int then = l.sleeps;
  for (int i = 0; i < 100; ++i) l.wait(microseconds(10));
  EXPECT_LE(l.sleeps - then, 4);
}

}  // namespace
}  // namespace weft::testing::outlook_test
