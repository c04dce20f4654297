// With real-time loops, where they may be had: run as root.

#include "weft_server.hpp"

int main(int argc, char** argv) { return bench::serve_on_weft(argc, argv, weft::loop_scheduling::realtime); }
