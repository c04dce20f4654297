#include <weft/weft.hpp>

int main() {
  return weft::run([] {
    auto f = weft::spawn([] { return 42; });
    return f.get() == 42 ? 0 : 1;
  });
}
