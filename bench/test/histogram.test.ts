import { expect, test } from 'vitest';
import { Histogram } from '../histogram.ts';

test('quantiles are right to 1.6 %, from one microsecond to half an hour', () => {
  for (const value of [1, 63, 64, 65, 127, 128, 1_000, 99_999, 5_000_000, 1_800_000_000]) {
    const histogram = new Histogram();
    histogram.record(value);
    expect(histogram.quantile(0.5)).toBeGreaterThanOrEqual(value / 1000);
    expect(histogram.quantile(0.5)).toBeLessThanOrEqual((value * 1.016 + 1) / 1000);
  }
});

test('p50 and p99 of many values', () => {
  const histogram = new Histogram();
  for (let value = 1; value <= 10_000; value++) histogram.record(value);
  const { p50, p99, count } = histogram.quantiles();
  expect(count).toBe(10_000);
  expect(p50).toBeCloseTo(5, 0);
  expect(p99).toBeCloseTo(9.9, 0);
});

test('without a value there is no quantile', () => {
  expect(new Histogram().quantile(0.5)).toBeNaN();
});
