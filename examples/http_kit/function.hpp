#pragma once
// A function that is called once or more and may own what cannot be copied (std::move_only_function is C++23).

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

namespace http {

template <class Signature>
class function;

template <class R, class... Arguments>
class function<R(Arguments...)> {
 public:
  function() noexcept = default;
  template <class F>
    requires(!std::same_as<std::remove_cvref_t<F>, function> && std::is_invocable_r_v<R, F&, Arguments...>)
  function(F&& f) : held_(std::make_unique<holder<std::remove_cvref_t<F>>>(std::forward<F>(f))) {}

  explicit operator bool() const noexcept { return held_ != nullptr; }
  R operator()(Arguments... a) { return held_->call(std::forward<Arguments>(a)...); }

 private:
  struct callable {
    virtual ~callable() = default;
    virtual R call(Arguments... a) = 0;
  };
  template <class F>
  struct holder final : callable {
    template <class G>
    explicit holder(G&& g) : f(std::forward<G>(g)) {}
    R call(Arguments... a) override { return f(std::forward<Arguments>(a)...); }
    F f;
  };
  std::unique_ptr<callable> held_;
};

}  // namespace http
