#!/usr/bin/env python3
"""Holds every #include of executor/ and io/ to the floors of the house.

  layer_check.py <source folder>    checks, prints each violation, exits 1 if there was one
  layer_check.py --self-test        plants one violation of each kind and sees that it is found

A header includes only headers of a lower floor, or of its own floor and named before it. A .cpp file, whose floor is
that of its name, may include anything of its own floor and below. Nothing public includes anything private, and the
executor never includes io.
"""

import re
import sys
import tempfile
from pathlib import Path

# A new header goes here: on its floor, behind what it includes. Lowest floor first.
#   public:  <library>/include/weft/NAME.hpp, for io <library>/include/weft/io/NAME.hpp; a leading / drops the io/
#   private: <library>/src/NAME.hpp and .cpp
# A header need not exist yet.
FLOORS = {
    "executor": [
        # 0 words
        {"public": "error result deadline function config rarely", "private": ""},
        # 1 machine room
        {
            "public": "runnable timer stack departure",
            "private": "algorithm_context sanitizer eh_globals thread_priority stack_pool context fiber run_queue inbox outlook steal_ring spare_tasks timer_queue late_clock record_cache",
        },
        # 2 loop
        {"public": "loop gate", "private": "driver asio_driver sim_driver"},
        # 3 waiting
        {
            "public": "waiter cancel cancel_scope context_var task this_fiber interval",
            "private": "cancellation thread_agent fiber_agent fiber_pool scheduler outbox runtime_core switching fiber_wait overflow",
        },
        # 4 the future
        {"public": "future_core future promise", "private": ""},
        # 5 sync
        {
            "public": "wait_list monitor event mutex shared_mutex condition_variable semaphore latch barrier channel_core channel feed watch broadcast"
            " select",
            "private": "",
        },
        # 6 pools
        {"public": "cpu_pool blocking_pool bind cpu_context", "private": "cpu_queue cpu_runner cpu_pool_standin"},
        # 7 tasks
        {"public": "lazy spawn timeout gather race wait as_completed map_bounded task_group await coroutine", "private": ""},
        # 8 runtime
        {"public": "statistics inspect runtime simulation testing/cancel_everywhere testing/contract testing/locks testing/channels", "private": "inspect_core stack_trace watchdog"},
        # 9 roof
        {"public": "executor", "private": ""},
    ],
    "io": [
        # 0 words
        {"public": "error endpoint unique_fd lines buffer", "private": "sockaddr sigpipe"},
        # 1 streams
        {"public": "transport stream sync_stream boost_stream listener",
         "private": "descriptor socket_calls socket stream_access"},
        # 2 Asio and descriptors
        {"public": "wait_fd loop_executor completion use_fiber asio_awaitable", "private": ""},
        # 3 kinds
        {"public": "copy resolve happy_eyeballs tcp local passed_sockets udp pipe signals file process memory sim_network", "private": "passed_listing"},
        # 4 servers
        {"public": "serve tls", "private": ""},
        # 5 testing
        {"public": "testing/streams", "private": ""},
        # 6 roof
        {"public": "/io /weft", "private": ""},
    ],
}

# Who may include what of others. An include that starts with the first is allowed in files that match the second.
THIRD_PARTY = [
    (r"boost/context/", r"executor/src/context\.hpp"),
    (r"boost/", r"io/include/weft/io/boost_stream\.hpp"),
    (r"(tbb|oneapi)/", r"executor/(src/(cpu_pool\.cpp|algorithm_context\.hpp)|include/weft/cpu_context\.hpp)"),
    (r"asio(\.hpp|/)", r"executor/src/asio_driver\.(hpp|cpp)|io/.*"),
    (r"openssl/", r"io/(include/weft/io|src)/tls\.(hpp|cpp)"),
]

PREFIX = {"executor": "weft/", "io": "weft/io/"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Place:
    """Where a name stands: its library, floor and place on the floor."""

    def __init__(self, library, floor, index, public):
        self.library, self.floor, self.index, self.public = library, floor, index, public


def read_table():
    """The places of public headers by include path ("weft/stack.hpp"), and of private names by (library, name)."""
    public, private = {}, {}
    for library, floors in FLOORS.items():
        for floor, names in enumerate(floors):
            index = 0
            for name in names["public"].split():
                path = f"weft{name}.hpp" if name.startswith("/") else f"{PREFIX[library]}{name}.hpp"
                public[path] = Place(library, floor, index, True)
                # x.cpp implements x.hpp; a private x.hpp beside a public one must be listed.
                private.setdefault((library, name.lstrip("/") + ".cpp"), Place(library, floor, index, True))
                index += 1
            for name in names["private"].split():
                for suffix in (".hpp", ".cpp"):
                    private[library, name + suffix] = Place(library, floor, index, False)
                index += 1
    return public, private


PUBLIC, PRIVATE = read_table()


def place_of(path):
    """The place of a file given as "executor/src/fiber.cpp", or None."""
    library, folder, rest = path.split("/", 2)
    if folder == "include":
        place = PUBLIC.get(rest)
        return place if place and place.library == library else None
    return PRIVATE.get((library, rest))


def judge(path, place, quote, name):
    """What is wrong with the include of `name` in the file `path`, or None."""
    for prefix, allowed in THIRD_PARTY:
        if re.match(prefix, name):
            return None if re.fullmatch(allowed, path) else f"<{name}> is not for this file (see THIRD_PARTY)"

    if name.startswith("weft/"):
        target = PUBLIC.get(name)
    elif quote == '"':
        target = PRIVATE.get((place.library, name))
        if target and place.public and path.endswith(".hpp"):
            return f'a public header includes the private "{name}"'
    else:
        return None  # the standard library and the system
    if not target:
        return f"{name} is on no floor: add it to FLOORS in cmake/layer_check.py"

    if target.library != place.library:
        return None if place.library == "io" else f"the executor includes {name} of io"
    if target.floor > place.floor:
        return f"{name} is on floor {target.floor}, above this file on floor {place.floor}"
    if path.endswith(".hpp") and target.floor == place.floor and target.index >= place.index:
        return f"{name} stands behind this file on floor {place.floor}"
    return None


def check(root):
    """The violations below `root`, as lines "file:line: what", and the number of includes read."""
    problems, count = [], 0
    for library in FLOORS:
        for folder in ("include", "src"):
            for file in sorted((root / library / folder).rglob("*")):
                if file.suffix not in (".hpp", ".cpp"):
                    if file.is_file():
                        problems.append(f"{file.relative_to(root).as_posix()}: neither .hpp nor .cpp")
                    continue
                path = file.relative_to(root).as_posix()
                place = place_of(path)
                if not place:
                    problems.append(f"{path}: is on no floor: add it to FLOORS in cmake/layer_check.py")
                    continue
                for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                    if match := INCLUDE.match(line):
                        count += 1
                        if problem := judge(path, place, *match.groups()):
                            problems.append(f"{path}:{number}: {problem}")
    return problems, count


def self_test():
    sound = {
        "executor/include/weft/error.hpp": "<vector>",
        "executor/include/weft/result.hpp": "<weft/error.hpp>",
        "executor/include/weft/future.hpp": "<weft/waiter.hpp>",
        "executor/src/context.hpp": "<boost/context/detail/fcontext.hpp>",
        "executor/src/fiber.cpp": '"fiber.hpp" "context.hpp" "stack_pool.hpp"',
        "executor/src/asio_driver.hpp": '<asio.hpp> "driver.hpp" <weft/loop.hpp>',
        "executor/src/cpu_pool.cpp": "<tbb/task_arena.h> <weft/cpu_pool.hpp> <weft/blocking_pool.hpp>",
        "io/include/weft/io/stream.hpp": "<weft/io/buffer.hpp> <weft/executor.hpp> <asio/buffer.hpp>",
        "io/include/weft/weft.hpp": "<weft/io.hpp> <weft/executor.hpp>",
        "io/src/tls.cpp": "<openssl/ssl.h>",
    }
    planted = [
        ("executor/include/weft/event.hpp", "<weft/spawn.hpp>", "above this file"),
        ("executor/include/weft/future.hpp", "<weft/promise.hpp>", "stands behind"),
        ("executor/include/weft/mutex.hpp", "<weft/mutex.hpp>", "stands behind"),
        ("executor/src/inbox.cpp", "<weft/loop.hpp>", "above this file"),
        ("executor/src/sanitizer.hpp", '"fiber.hpp"', "stands behind"),
        ("executor/include/weft/loop.hpp", '"driver.hpp"', "includes the private"),
        ("executor/include/weft/surprise.hpp", "<vector>", "is on no floor"),
        ("executor/src/surprise.cpp", "<vector>", "is on no floor"),
        ("executor/include/weft/spawn.hpp", "<weft/surprise.hpp>", "is on no floor"),
        ("executor/src/runtime.cpp", "<weft/io/stream.hpp>", "of io"),
        ("executor/src/loop.cpp", "<boost/context/fiber.hpp>", "not for this file"),
        ("executor/src/fiber.hpp", "<boost/asio.hpp>", "not for this file"),
        ("executor/src/blocking_pool.cpp", "<oneapi/tbb/task.h>", "not for this file"),
        ("executor/include/weft/loop.hpp", "<asio/io_context.hpp>", "not for this file"),
        ("io/src/tcp.cpp", '"fiber.hpp"', "is on no floor"),
        ("io/src/tcp.cpp", "<openssl/ssl.h>", "not for this file"),
        ("executor/src/notes.txt", "", "neither .hpp nor .cpp"),
    ]

    def plant(root, files):
        for path, includes in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("".join(f"#  include {name}  // why\n" for name in includes.split()))

    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder), sound)
        problems, _ = check(Path(folder))
        assert not problems, problems
    for path, includes, expected in planted:
        with tempfile.TemporaryDirectory() as folder:
            plant(Path(folder), sound | {path: includes})
            problems, _ = check(Path(folder))
            assert len(problems) == 1 and expected in problems[0] and problems[0].startswith(path), (path, problems)
    print(f"layers: all {len(planted)} planted violations were found")


def main(arguments):
    if arguments == ["--self-test"]:
        self_test()
        return 0
    if len(arguments) != 1:
        print(__doc__)
        return 2
    problems, count = check(Path(arguments[0]))
    print("\n".join(problems) if problems else f"layers: {count} includes, all downwards")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
