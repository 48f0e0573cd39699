"""What is shipped has every check in its place, and nothing in it that could take one out."""
import os
import subprocess
import tempfile
import unittest

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAMS = [os.path.join(os.environ["ST_PROGRAMS"], *name) for name in
            (("nms", "smalltown-nms"), ("node", "smalltown-node"), ("tools", "stctl"))]
TRACES = b"SMALLTOWN_MUTANT", b"mutant_line"
JUDGE = os.path.join("node", "start.c")
A_CHECK_OF_IT = "0x34f"


def content(path):
    with open(path, "rb") as file:
        return file.read()


def compiled(source, *words):
    """The object's bytes, optimised as a release is."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out.o")
        subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", f"-I{SOURCE}", *words, "-c",
                        os.path.join(SOURCE, source), "-o", out], check=True)
        return content(out)


class Mutant(unittest.TestCase):
    def test_no_program_knows_how_to_choose_one(self):
        chooser = compiled(os.path.join("proto", "mutant.c"), "-DST_MUTANT_ANY")
        for trace in TRACES:
            self.assertIn(trace, chooser)
            for program in PROGRAMS:
                self.assertFalse(trace in content(program), f"{trace} in {program}")

    def test_a_check_in_its_place_is_the_condition_alone(self):
        bare = compiled(JUDGE, "-DPROTO_MUTANT_H", "-DREFUSES(line, condition)=(condition)")
        self.assertEqual(compiled(JUDGE), bare)
        self.assertEqual(compiled(JUDGE, "-DST_MUTANT=0"), bare)
        self.assertEqual(compiled(JUDGE, "-DST_MUTANT=0x01a"), bare)
        self.assertNotEqual(compiled(JUDGE, f"-DST_MUTANT={A_CHECK_OF_IT}"), bare)
        self.assertNotEqual(compiled(JUDGE, "-DST_MUTANT_ANY"), bare)

    def test_only_a_debug_build_can_be_one(self):
        for kind in ("Release", "RelWithDebInfo", "MinSizeRel", ""):
            for mutant in ("any", A_CHECK_OF_IT):
                with tempfile.TemporaryDirectory() as build:
                    done = subprocess.run(
                        ["cmake", "-S", SOURCE, "-B", build, "-G", "Ninja",
                         f"-DCMAKE_BUILD_TYPE={kind}", f"-DST_MUTANT={mutant}"],
                        capture_output=True, text=True, check=False)
                self.assertNotEqual(done.returncode, 0, kind)
                self.assertIn("for a Debug build alone", done.stderr)


if __name__ == "__main__":
    unittest.main()
