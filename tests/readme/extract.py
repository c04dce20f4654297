#!/usr/bin/env python3
"""extract.py README NUMBER OUT: writes the NUMBERth C++ block of README (from 1) as a program.

A block without main() is put into one. What a block listens on becomes a port of 127.0.0.1 that the test knows.
"""
import re
import sys
from pathlib import Path

readme, number, out = sys.argv[1:]
blocks = re.findall(r"^```cpp\n(.*?)^```$", Path(readme).read_text(), re.M | re.S)
if int(number) > len(blocks):
    sys.exit(f"{readme} has {len(blocks)} C++ blocks, not {number}")
text = blocks[int(number) - 1]
if "int main" not in text:
    text = f"#include <csignal>\n#include <weft/weft.hpp>\n\nint main() {{\n{text}}}\n"
text = text.replace("endpoint::any(7000)", "endpoint::loopback(47613)")
Path(out).write_text(f"// A block of {readme}.\n{text}")
