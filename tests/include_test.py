"""Who may include whom: the folders of docs/design.md, and the libraries behind one door each."""
import os
import re
import sys
import tempfile
import unittest

ROOT = os.environ.get("ST_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

MAY_INCLUDE = {
    "proto": set(),
    "store": {"proto"},
    "tpm": {"proto"},
    "raft": {"store", "proto"},
    "nms": {"raft", "store", "tpm", "proto"},
    "node": {"tpm", "proto"},
    "tools": {"proto"},
}
# The tests of these, which stand on nothing that their folder does not.
TESTED_ALONE = ("proto", "store", "tpm", "raft")
# A library's header, and the only files that may see it.
DOORS = [
    (re.compile(r"grpc/"), re.compile(r"proto/rpc_\w+\.[ch]$")),
    (re.compile(r"grpcpp/|grpc\+\+/"), re.compile(r"$^")),
    (re.compile(r"lmdb\.h$"), re.compile(r"store/")),
    (re.compile(r"raft(/\w+)?\.h$|uv(/\w+)*\.h$"), re.compile(r"raft/")),
    (re.compile(r"openssl/"), re.compile(r"nms/ca(_\w+)?\.c$")),
]
INCLUDE = re.compile(r'^\s*#\s*include(?:_next)?\s*(["<])([^">]+)[">]')


def violations(root):
    """Sentences, one for each include that is not allowed."""
    found = []
    for folder in MAY_INCLUDE:
        for path in sources(root, folder):
            found += file_violations(root, path, lambda *include: judge(folder, path, *include))
    for folder in TESTED_ALONE:
        for path in sources(root, os.path.join("tests", folder)):
            found += file_violations(root, path, lambda *include: judge_test(folder, *include))
    return found


def sources(root, folder):
    """The C files under a folder, by their paths from the root."""
    for where, _, names in os.walk(os.path.join(root, folder)):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(where, name), root)


def file_violations(root, path, judge_include):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if match:
                why = judge_include(match.group(1) == '"', match.group(2))
                if why:
                    yield f"{path}:{number}: {why}"
            elif re.match(r"\s*#\s*include", line):
                yield f"{path}:{number}: an include whose file is a macro"


def judge(folder, path, ours, name):
    if not ours:
        for header, place in DOORS:
            if header.match(name) and not place.match(path):
                return f"<{name}> is not for this file"
        return f"<{name}> is ours: quote it" if name.split("/")[0] in MAY_INCLUDE and \
            name.split("/")[0] != "raft" else None
    target = name.split("/")[0]
    if "/" not in name or target in ("", ".", ".."):
        return f'"{name}" does not begin with its folder'
    if target != folder and target not in MAY_INCLUDE[folder]:
        return f"{folder}/ may not include {target}/ ({name})"
    return None


def judge_test(folder, ours, name):
    """Libraries are a test's own affair; our folders are not."""
    target = name.split("/")[-2] if name.startswith("tests/") and name.count("/") > 1 else \
        name.split("/")[0]
    if ours and target in MAY_INCLUDE and target != folder and target not in MAY_INCLUDE[folder]:
        return f"tests/{folder}/ may not include {target}/ ({name})"
    return None


class Includes(unittest.TestCase):
    def test_every_include_goes_in_a_permitted_direction(self):
        self.assertEqual(violations(ROOT), [])

    def test_there_is_something_to_check(self):
        for folder in MAY_INCLUDE:
            self.assertTrue(any(n.endswith(".c") for n in os.listdir(os.path.join(ROOT, folder))),
                            f"{folder}/ has no C file")

    def test_a_planted_violation_is_found(self):
        planted = {
            "tpm/a.c": '#include "store/store.h"',
            "store/a.c": '#  include "raft/replica.h"',
            "proto/a.c": '#include "tpm/judge.h"',
            "node/a.h": '#include "nms/state.h"',
            "tools/a.c": '#include "tests/cmocka.h"',
            "raft/b.c": '#include "../nms/state.h"',
            "raft/c.c": '#include "replica.h"',
            "proto/err.c": "#include <grpc/grpc.h>",
            "tools/b.c": "#include <grpc/support/log.h>",
            "nms/a.c": "#include <lmdb.h>",
            "nms/b.c": "#include <raft.h>",
            "nms/c.c": "#include <raft/uv.h>",
            "store/b.c": "#include <uv.h>",
            "nms/cab.c": "#include <openssl/x509.h>",
            "node/b.c": "#include <proto/err.h>",
            "node/c.c": "#include HEADER",
            "tests/raft/a.h": '#include "nms/ca.h"',
            "tests/raft/b.c": '#include "tests/nms/forge.h"',
            "tests/tpm/a.c": '#include "store/store.h"',
        }
        allowed = {
            "proto/rpc_call.c": "#include <grpc/grpc.h>",
            "store/store.c": '#include <lmdb.h>\n#include "proto/err.h"',
            "raft/io.c": '#include <raft.h>\n#include <uv.h>\n#include "store/store.h"',
            "nms/ca_check.c": "#include <openssl/x509v3.h>",
            "nms/ca.c": '#include <openssl/x509.h>\n#include "raft/replica.h"',
            "node/unlock.c": '#include "tpm/device.h"\n#include "proto/api.pb-c.h"',
            "tests/raft/c.c": '#include <openssl/x509.h>\n#include "tests/cmocka.h"\n'
                              '#include "tests/raft/net.h"\n#include "store/store.h"',
        }
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**planted, **allowed}.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text + "\n")
            found = {line.split(":")[0] for line in violations(root)}
        self.assertEqual(found, set(planted))


if __name__ == "__main__":
    unittest.main(argv=sys.argv)
