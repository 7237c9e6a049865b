import { describe, expect, test } from 'vitest';
import { complaintsAbout, complaintsOfSeed, planOfSeed } from './campaign.ts';
import { World } from './world.ts';

/** Every CI run plays the same seeds; SHOAL_CAMPAIGN_FIRST_SEED=N plays as many others, from N on. */
const FIRST_SEED = Number(process.env.SHOAL_CAMPAIGN_FIRST_SEED ?? 1);
const SEEDS_PER_TEST = 500;
const TESTS = 6;
const DEADLINE_MS = 120_000;

describe('the fault campaign', () => {
  for (let number = 0; number < TESTS; number++) {
    const first = FIRST_SEED + number * SEEDS_PER_TEST;
    const last = first + SEEDS_PER_TEST - 1;
    test(
      `seeds ${first} to ${last}: nothing wrong is taken for right, and every living node gets the blob`,
      () => {
        const found: string[] = [];
        for (let seed = first; seed <= last; seed++) {
          for (const complaint of complaintsOfSeed(seed)) {
            found.push(`${complaint}\n  play it again: pnpm --silent bench sim --campaign ${seed}`);
          }
        }
        expect(found.join('\n')).toBe('');
      },
      DEADLINE_MS,
    );
  }

  test('has every fault in it often', () => {
    const faults = {
      'nodes that die': 0,
      'nodes that come back': 0,
      'nodes that stall': 0,
      'lost connections': 0,
      'late and reordered news': 0,
      'pieces damaged on the way': 0,
      'members that sign wrong content': 0,
      'no tracker': 0,
      'a tracker that goes away': 0,
      'a tracker that forgets': 0,
      'origin errors': 0,
      'an origin that stalls': 0,
      'an origin that is down': 0,
      'an origin without ranges': 0,
    };
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS_PER_TEST * TESTS; seed++) {
      const plan = planOfSeed(seed);
      const { tracker, origin } = plan;
      const outages = tracker?.outages ?? [];
      faults['nodes that die'] += Number((plan.churn ?? 0) > 0);
      faults['nodes that come back'] += Number((plan.restarts?.share ?? 0) > 0);
      faults['nodes that stall'] += Number((plan.stalls?.share ?? 0) > 0);
      faults['lost connections'] += Number((plan.flaps?.perNode ?? 0) > 0);
      faults['late and reordered news'] += Number((plan.haveDelayMs ?? 0) > 0);
      faults['pieces damaged on the way'] += Number((plan.corrupt?.share ?? 0) > 0);
      faults['members that sign wrong content'] += Number((plan.liars?.count ?? 0) > 0);
      faults['no tracker'] += Number(tracker?.exists === false);
      faults['a tracker that goes away'] += Number(outages.length > 0);
      faults['a tracker that forgets'] += Number(outages.some((outage) => outage?.losesState === true));
      faults['origin errors'] += Number((origin?.failing ?? 0) > 0);
      faults['an origin that stalls'] += Number((origin?.stalling ?? 0) > 0);
      faults['an origin that is down'] += Number((origin?.outages ?? []).length > 0);
      faults['an origin without ranges'] += Number(origin?.ranges === false);
    }
    for (const [fault, seeds] of Object.entries(faults)) expect(seeds, fault).toBeGreaterThan(100);
  });

  test('complains of everything that must not be', () => {
    const plan = planOfSeed(FIRST_SEED);
    const outcome = new World(plan).run();
    expect(complaintsAbout(plan, outcome)).toEqual([]);
    const bad = {
      ...outcome,
      violations: ['a rule was broken'],
      wrongBytes: 1,
      failed: 2,
      failures: { 'no-progress': 2 },
      barredHonest: 3,
      originBytesRatio: 1_000,
    };
    const complaints = complaintsAbout(plan, bad);
    expect(complaints).toHaveLength(5);
    expect(complaints.join('\n')).toMatch(/a rule was broken.*wrong bytes.*living nodes.*honest.*worse than without/s);
  });

  test('a seed gives the same run every time', () => {
    const play = () => new World({ ...planOfSeed(FIRST_SEED + 7), nodes: 12, traceEveryMs: 100 }).run();
    expect(play()).toEqual(play());
  });
});
