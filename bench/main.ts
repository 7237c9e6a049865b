// `pnpm bench NAME`: what is measured, apart from the tests. Numbers are of this machine; compare them as ratios.
import { benchCrowd } from './crowd/bench-crowd.ts';
import { benchFuzz } from './fuzz/command.ts';
import { benchMemory } from './memory/command.ts';
import { benchMirror } from './mirror.ts';
import { benchRollout } from './rollout/command.ts';
import { benchSim } from './sim/command.ts';
import { benchStart } from './start/command.ts';
import { benchStream } from './stream/command.ts';
import { benchTracker } from './tracker.ts';

const [name, ...flags] = process.argv.slice(2);
const benches: Record<string, (flags: readonly string[]) => Promise<void>> = {
  rollout: benchRollout,
  crowd: benchCrowd,
  sim: benchSim,
  tracker: benchTracker,
  memory: benchMemory,
  start: benchStart,
  stream: benchStream,
  mirror: benchMirror,
  fuzz: benchFuzz,
};
const USAGE = `usage: bench NAME [FLAGS]

  sim       a flash crowd of up to some 10,000 nodes in virtual time
  rollout   one image onto real containerds, in several ways (root on Linux)
  crowd     a flash crowd of real agents behind shaped links (root on Linux)
  tracker   what one tracker serves
  stream    one agent's pieces to another, beside TCP and TLS
  mirror    a layer through the mirror, beside docker-registry
  memory    what an agent takes that passes large blobs on
  start     how soon an agent is ready, and what it takes while it idles
  fuzz      spoilt texts by the million against everything that reads what strangers wrote

bench NAME --help lists the flags of one.`;
const bench = benches[name ?? ''];
if (bench !== undefined) {
  try {
    await bench(flags);
  } catch (error) {
    if (!(error instanceof RangeError || (error instanceof TypeError && 'code' in error))) throw error;
    console.error(`bench ${name}: ${error.message}\nbench ${name} --help lists the flags`);
    process.exitCode = 2;
  }
} else if (name === '--help') {
  console.log(USAGE);
} else {
  console.error(USAGE);
  process.exitCode = 2;
}
