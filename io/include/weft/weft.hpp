#pragma once
// All of weft.

#include "weft/executor.hpp"
#include "weft/io.hpp"
