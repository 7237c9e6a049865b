// `pnpm bench NAME`: what is measured, apart from the tests. Numbers are of this machine; compare them as ratios.
import { benchCrowd } from './crowd/bench-crowd.ts';
import { benchMemory } from './memory.ts';
import { benchSim } from './sim/command.ts';
import { benchTracker } from './tracker.ts';

const [name, ...flags] = process.argv.slice(2);
const benches: Record<string, (flags: readonly string[]) => Promise<void>> = {
  crowd: benchCrowd,
  sim: benchSim,
  memory: (given) => benchMemory(given.includes('--json')),
  tracker: benchTracker,
};
const bench = benches[name ?? ''];
if (bench === undefined) {
  console.error(`usage: bench NAME [FLAGS], where NAME is one of: ${Object.keys(benches).join(', ')}`);
  process.exitCode = 2;
} else {
  await bench(flags);
}
