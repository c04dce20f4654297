"""Medians, MADs, and what counts as noise."""

import unittest

from suite import metrics


def of(median, mad, count=5):
    return {"median": median, "mad": mad, "count": count}


class Metrics(unittest.TestCase):
    def test_an_outlier_moves_neither_median_nor_mad(self):
        self.assertEqual(metrics.mad([10, 11, 12, 13, 1000]), 1)
        summary = metrics.summarize([{"ns": n, "unknown": 1} for n in (10, 11, 12, 13, 1000)])
        self.assertEqual(summary, {"ns": of(12, 1)})

    def test_a_metric_some_samples_lack_is_summed_up_from_the_others(self):
        self.assertEqual(metrics.summarize([{"ns": 1}, {"bytes": 2}])["ns"]["count"], 1)

    def test_a_change_counts_beyond_three_mads_and_five_per_cent(self):
        self.assertAlmostEqual(metrics.beyond_noise(of(100, 1), of(110, 1)), 0.1)
        self.assertAlmostEqual(metrics.beyond_noise(of(100, 1), of(90, 1)), -0.1)
        self.assertEqual(metrics.beyond_noise(of(100, 0), of(104, 0)), 0)
        self.assertEqual(metrics.beyond_noise(of(100, 4), of(110, 1)), 0)
        self.assertEqual(metrics.beyond_noise(of(100, 1), of(110, 4)), 0)

    def test_two_samples_tell_nothing(self):
        self.assertIsNone(metrics.beyond_noise(of(100, 0, 2), of(200, 0, 5)))


if __name__ == "__main__":
    unittest.main()
