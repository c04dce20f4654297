"""What the failed tests of a JUnit file said, the ends of it: failures.py PRESET FILE"""

import sys
import xml.etree.ElementTree as xml

lines = 60  # of each

preset, file = sys.argv[1:]
for test in xml.parse(file).getroot().iter("testcase"):
    if test.get("status") == "fail":
        said = (test.findtext("system-out") or "").rstrip().splitlines()
        print(f"== {preset}: {test.get('name')} said", *said[-lines:], "", sep="\n")
