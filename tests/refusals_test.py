"""docs/refusals.md says which test shows each refusal, and says it of this tree.

The words in the table are a person's.  Its last three columns follow from the names of the tests,
from REFUSES() and from tests/mutants.killers, what tests/mutants saw go red:

    tests/refusals_test.py --write     fills them in
"""
import os
import re
import sys
import unittest

ROOT = os.environ.get("ST_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
TABLE = os.path.join(ROOT, "docs", "refusals.md")
FOLDERS = ("proto", "store", "tpm", "raft", "nms", "node", "tools")
ROW = re.compile(r"^\| (N\d\d) \| (.*?) \| (.*?) ?\| (.*?) ?\| (.*?) ?\|$")
TEST_IN_C = re.compile(r"^((?:N\d\d_)+\w+)\(\s*void \*\*\w+\)$", re.M)
TEST_IN_PYTHON = re.compile(r"^ +def test_((?:N\d\d_)+\w+)\(self", re.M)
KILLERS = os.path.join(ROOT, "tests", "mutants.killers")
CHECK = re.compile(r"REFUSES\((0x[0-9a-f]+),")


def files(folders, *ends):
    for folder in folders:
        for where, _, names in sorted(os.walk(os.path.join(ROOT, folder))):
            for name in sorted(names):
                if name.endswith(ends):
                    path = os.path.join(where, name)
                    with open(path, encoding="utf-8") as file:
                        yield os.path.relpath(path, ROOT), file.read()


def tests():
    """{line: {file: [test]}} of every test whose name begins with lines of the table."""
    found = {}
    for path, text in files(("tests",), "_test.c", "_test.py"):
        for name in (TEST_IN_C if path.endswith(".c") else TEST_IN_PYTHON).findall(text):
            for line in re.match(r"(?:N\d\d_)+", name).group().split("_")[:-1]:
                found.setdefault(line, {}).setdefault(path, []).append(name)
    return found


def checks():
    """{line: {file: [check]}} of every REFUSES()."""
    found = {}
    for path, text in files(FOLDERS, ".c", ".h"):
        if path != os.path.join("proto", "mutant.h"):
            for number in CHECK.findall(text):
                found.setdefault(f"N{number[2:4]}", {}).setdefault(path, []).append(number)
    return found


def killers():
    """{check: (test, case)}: what tests/mutants saw go red without it."""
    with open(KILLERS, encoding="ascii") as file:
        rows_of_it = [line.split() for line in file]
    return {number: (test, case) for number, test, case in rows_of_it}


def write_killers(by_check):
    with open(KILLERS, "w", encoding="ascii") as file:
        file.writelines(f"{number} {test} {case}\n"
                        for number, (test, case) in sorted(by_check.items()))


def cell(by_file):
    return "<br>".join(f"`{path}` " + " ".join(names) for path, names in by_file.items())


def seen_red(number, by_case):
    """The cases of this line's checks, each with the checks that it misses."""
    found = {}
    for check, killer in by_case.items():
        if f"N{check[2:4]}" == number:
            found.setdefault(killer, []).append(check)
    return "<br>".join(f"{' '.join(missed)} `{test}` {case}"
                       for (test, case), missed in found.items())


def rows():
    with open(TABLE, encoding="utf-8") as file:
        return [ROW.match(line).groups() for line in file if line.startswith("| N")]


def write():
    by_test, by_check, by_case = tests(), checks(), killers()
    with open(TABLE, encoding="utf-8") as file:
        lines = file.readlines()
    for i, line in enumerate(lines):
        match = ROW.match(line)
        if match:
            number, words = match.group(1, 2)
            lines[i] = (f"| {number} | {words} | {cell(by_test.get(number, {}))} "
                        f"| {cell(by_check.get(number, {}))} | {seen_red(number, by_case)} |\n")
    with open(TABLE, "w", encoding="utf-8") as file:
        file.writelines(lines)


class Refusals(unittest.TestCase):
    maxDiff = None

    def test_every_line_stands_in_the_table_once_and_in_order(self):
        numbers = [row[0] for row in rows()]
        self.assertEqual(numbers, sorted(set(numbers)))
        self.assertEqual((numbers[0], numbers[-1]), ("N01", "N58"))
        self.assertEqual((set(tests()) | set(checks())) - set(numbers), set())

    def test_the_table_names_the_tests_of_the_tree(self):
        by_test = tests()
        for number, _, named, _, _ in rows():
            self.assertEqual(named, cell(by_test.get(number, {})), f"{number}: run --write")

    def test_the_table_names_the_checks_of_the_tree(self):
        by_check = checks()
        for number, _, _, named, _ in rows():
            self.assertEqual(named, cell(by_check.get(number, {})), f"{number}: run --write")

    def test_the_table_says_what_went_red_without_each_check(self):
        by_case = killers()
        for number, _, _, _, named in rows():
            self.assertEqual(named, seen_red(number, by_case), f"{number}: run --write")

    def test_every_check_was_seen_to_turn_a_case_of_the_tree_red(self):
        by_case = killers()
        numbers = [n for by_file in checks().values() for names in by_file.values() for n in names]
        self.assertEqual(sorted(by_case), sorted(numbers), "run tests/mutants --write")
        cases = {case for by_file in tests().values() for names in by_file.values()
                 for case in names}
        for number, (_, case) in by_case.items():
            case = case.rsplit(".test_", maxsplit=1)[-1]
            self.assertTrue(case in cases, f"{number}: {case} is no more; run tests/mutants --write")
            self.assertIn(f"N{number[2:4]}_", case, f"{number}: the case names no line of it")

    def test_a_line_without_a_test_says_why(self):
        for number, words, named, _, _ in rows():
            if not named:
                self.assertRegex(words, r"\*Not yet\*: |`tests/", number)
            else:
                self.assertNotRegex(words, r"\*Not yet\*", number)

    def test_a_check_has_a_test_of_its_line_and_a_number_of_its_own(self):
        seen = {}
        for number, by_file in checks().items():
            self.assertIn(number, tests(), f"{number} is checked and not shown")
            for path, names in by_file.items():
                for name in names:
                    self.assertNotIn(name, seen, f"{path} and {seen.get(name)}")
                    seen[name] = path
        self.assertGreater(len(seen), 80)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main()
