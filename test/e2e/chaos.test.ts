/**
 * Chaos: six nodes with real containerds pull in loops, through agents and over links that are killed, stopped, filled and cut
 * meanwhile. Two minutes, or as long as SHOAL_CHAOS_SECONDS says; a run's faults are had again by its SHOAL_CHAOS_SEED.
 */
import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { tallyLines } from '../chaos/account.ts';
import { FAULT_KINDS } from '../chaos/fault.ts';
import { SHARED_IMAGES } from '../chaos/image-set.ts';
import { runChaos } from '../chaos/run-chaos.ts';
import { describeSuite } from './suite.ts';

const NODES = 6;
const DEFAULT_SECONDS = 120;
const MAX_SECONDS = 24 * 3_600;
const MAX_SEED = 2 ** 31 - 1;
/** To come up, to pull everything once more, to verify, to end; on a loaded machine. */
const AROUND_MS = 240_000;
/** Every kind of fault comes within this. */
const ALL_KINDS_SECONDS = 90;
const LEAST_PULLS_PER_NODE = 3;
/** Caches hold half of what is pulled, and while an agent is away its runtime reads the registry itself. */
const MOST_FROM_ORIGIN = 0.8;

const seconds = fromEnvironment('SHOAL_CHAOS_SECONDS', MAX_SECONDS) ?? DEFAULT_SECONDS;
const seed = fromEnvironment('SHOAL_CHAOS_SEED', MAX_SEED) ?? randomInt(MAX_SEED);

function fromEnvironment(name: string, most: number): number | undefined {
  const text = process.env[name];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new Error(`${name} takes a number from 1 to ${most}`);
  return value;
}

describeSuite('containerd', 'chaos', () => {
  const timeout = seconds * 1_000 + AROUND_MS;
  test('every pull ends well or could not, and all is whole afterwards', { timeout }, async ({ signal }) => {
    process.stderr.write(`chaos: ${seconds} s with SHOAL_CHAOS_SEED=${seed}\n`);
    const reading = await runChaos({ seed, nodes: NODES, durationMs: seconds * 1_000 }, signal);
    process.stderr.write(`${tallyLines(reading).join('\n')}\n`);
    expect(reading.problems, `SHOAL_CHAOS_SEED=${seed}\n${reading.problems.join('\n\n')}`).toEqual([]);
    expect(reading.lastPulls.map(({ verdict }) => verdict.type)).toEqual(
      Array(NODES * (SHARED_IMAGES + NODES)).fill('well'),
    );
    const well = reading.pulls.filter(({ verdict }) => verdict.type === 'well');
    for (const [node, pulls] of Map.groupBy(well, ({ pull }) => pull.node)) {
      expect(pulls.length, node).toBeGreaterThanOrEqual(LEAST_PULLS_PER_NODE);
    }
    // Broken as it was, it was a swarm: without one the registry would have sent everything.
    expect(reading.originBytes).toBeLessThan(MOST_FROM_ORIGIN * reading.pulledBytes);
    const kinds = new Set(reading.faults.map(({ kind }) => kind));
    if (seconds >= ALL_KINDS_SECONDS) expect(kinds).toEqual(new Set(FAULT_KINDS));
  });
});
