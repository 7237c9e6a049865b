import { expect, test } from 'vitest';
import { rankFor } from './rendezvous.ts';

const MEMBERS = Array.from({ length: 8 }, (_, index) => `12D3KooWmember${index}`);

function ranks(run: number, blob: string): number[] {
  return MEMBERS.map((self) =>
    rankFor(
      run,
      blob,
      self,
      MEMBERS.filter((other) => other !== self),
    ),
  );
}

test('members that know each other agree on one order for each run', () => {
  for (let run = 0; run < 200; run++) expect(ranks(run, 'sha256:a').sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
});

test('runs are shared out about evenly, and another blob is shared out otherwise', () => {
  const wins = new Array<number>(MEMBERS.length).fill(0);
  let moved = 0;
  for (let run = 0; run < 800; run++) {
    const first = ranks(run, 'sha256:a').indexOf(0);
    wins[first] = (wins[first] ?? 0) + 1;
    if (ranks(run, 'sha256:b').indexOf(0) !== first) moved++;
  }
  for (const won of wins) expect(won).toBeGreaterThan(60);
  expect(moved).toBeGreaterThan(600);
});
