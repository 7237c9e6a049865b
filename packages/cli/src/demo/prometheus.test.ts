import { expect, test } from 'vitest';
import { parseMetrics, sumOf } from './prometheus.ts';

const TEXT = `# HELP a_total Things.
# TYPE a_total counter
a_total{source="peer",path="C:\\\\x \\"q\\"\\n"} 3
a_total{source="peer",zone="b"} 4.5 1700000000000
a_total{source="origin"} 1e3

plain 7
bucket{le="+Inf"} +Inf
`;

test('samples have names, labels and values; comments and blanks are skipped', () => {
  const samples = parseMetrics(TEXT);
  expect(samples).toHaveLength(5);
  expect(samples[0]).toEqual({ name: 'a_total', labels: { source: 'peer', path: 'C:\\x "q"\n' }, value: 3 });
  expect(samples.at(-1)?.value).toBe(Infinity);
});

test('a sum is over the series that have the labels', () => {
  const samples = parseMetrics(TEXT);
  expect(sumOf(samples, 'a_total', { source: 'peer' })).toBe(7.5);
  expect(sumOf(samples, 'a_total')).toBe(1007.5);
  expect(sumOf(samples, 'none')).toBe(0);
});
