"""bench/compare, on results that are made up."""

import contextlib
import io
import json
import pathlib
import tempfile
import unittest

from suite import compare, metrics


def result(**cases):
    """`echo={"requests_per_s": [1, 2, 3]}` as a result with a case named echo."""
    found = []
    for name, series in cases.items():
        samples = [dict(zip(series, values)) for values in zip(*series.values())]
        found.append({"id": name, "scenario": name, "system": "weft", "variant": "",
                      "summary": metrics.summarize(samples), "samples": samples})  # fmt: skip
    return {"machine": {"cpu": "a", "cores": 2, "kernel": "6"}, "cases": found}


class Compare(unittest.TestCase):
    def compare(self, before, after, *options):
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for name, content in (("a.json", before), ("b.json", after)):
                files.append(pathlib.Path(folder, name))
                files[-1].write_text(json.dumps(content), encoding="utf-8")
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                status = compare.main([str(files[0]), str(files[1]), *options])
        return status, said.getvalue()

    def test_equal_results_pass(self):
        same = result(echo={"requests_per_s": [100, 101, 102], "p99_us": [7, 7, 8]})
        status, said = self.compare(same, same)
        self.assertEqual(status, 0)
        self.assertIn("2 figures: 0 slower, 0 faster", said)

    def test_fewer_requests_a_second_are_slower_and_fail(self):
        status, said = self.compare(result(echo={"requests_per_s": [100, 101, 102]}),
                                    result(echo={"requests_per_s": [80, 81, 82]}))  # fmt: skip
        self.assertEqual(status, 1)
        self.assertRegex(said, r"slower\n  echo +requests/s +101 -> +81  -19\.8 %")

    def test_more_nanoseconds_are_slower_and_fail(self):
        status, _ = self.compare(result(spawn={"ns": [10, 10, 10]}), result(spawn={"ns": [12, 12, 12]}))
        self.assertEqual(status, 1)

    def test_what_got_faster_is_told_and_passes(self):
        status, said = self.compare(result(spawn={"ns": [12, 12, 12]}), result(spawn={"ns": [10, 10, 10]}))
        self.assertEqual(status, 0)
        self.assertIn("faster\n  spawn", said)

    def test_noise_passes(self):
        noisy = [60, 100, 150]
        self.assertEqual(self.compare(result(a={"ns": noisy}), result(a={"ns": [90, 130, 160]}))[0], 0)

    def test_one_faster_does_not_make_up_for_one_slower(self):
        before = result(a={"ns": [10, 10, 10]}, b={"ns": [10, 10, 10]})
        after = result(a={"ns": [5, 5, 5]}, b={"ns": [20, 20, 20]})
        self.assertEqual(self.compare(before, after)[0], 1)

    def test_two_samples_are_not_judged(self):
        status, said = self.compare(result(a={"ns": [10, 10]}), result(a={"ns": [20, 20]}))
        self.assertEqual(status, 0)
        self.assertIn("1 with less than 3 samples", said)

    def test_cases_of_one_result_only_are_named(self):
        _, said = self.compare(result(old={"ns": [1, 1, 1]}), result(new={"ns": [1, 1, 1]}))
        self.assertIn("only before: old", said)
        self.assertIn("only after: new", said)

    def test_another_machine_is_told(self):
        before, after = result(), result()
        after["machine"]["cpu"] = "b"
        self.assertIn("different machines", self.compare(before, after)[1])

    def test_the_limits_can_be_chosen(self):
        before, after = result(a={"ns": [100, 100, 100]}), result(a={"ns": [108, 108, 108]})
        self.assertEqual(self.compare(before, after)[0], 1)
        self.assertEqual(self.compare(before, after, "--percent", "10")[0], 0)


if __name__ == "__main__":
    unittest.main()
