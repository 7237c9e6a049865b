/** `bench fuzz`: spoilt texts by the million against everything that reads what strangers wrote. */
import { parseArgs } from 'node:util';
import { seededRandom } from '@shoal/swarm';
import { mutated } from './mutate.ts';
import { type Target, targets } from './targets.ts';

const USAGE = `usage: bench fuzz [FLAGS]
Throws texts that are nearly right at the readers of references, digests, challenges, ranges, links and configuration files.

  --cases N     of each                                [1000000]
  --only NAME   one of them, e.g. challenges
  --seed N      the texts depend on it                 [1]
  --json        a line of JSON for each

A text for which something does not hold ends the run, and is printed.`;

export class FuzzFailure extends Error {}

/** @returns how long it took, in seconds @throws FuzzFailure with the text */
export async function fuzz({ name, corpus, check }: Target, cases: number, seed: number): Promise<number> {
  const random = seededRandom(seed);
  const startedAtMs = performance.now();
  for (let index = 0; index < cases; index++) {
    const text = index < corpus.length ? (corpus[index] as string) : mutated(corpus, random);
    try {
      const checking = check(text);
      if (checking !== undefined) await checking;
    } catch (cause) {
      const what = cause instanceof Error ? cause.message : String(cause);
      throw new FuzzFailure(`${name}: ${JSON.stringify(text)}: ${what}`, { cause });
    }
  }
  return (performance.now() - startedAtMs) / 1000;
}

export async function benchFuzz(flags: readonly string[]): Promise<void> {
  const options = {
    cases: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const { cases, seed, only, json, help } = parseArgs({ args: [...flags], options }).values;
  if (help) {
    console.log(USAGE);
    return;
  }
  const chosen = targets.filter(({ name }) => only === undefined || name === only);
  if (chosen.length === 0)
    throw new RangeError(`nothing is called ${only}; there are ${targets.map(({ name }) => name).join(', ')}`);
  if (!/^\d{1,12}$/.test(cases) || !/^\d{1,9}$/.test(seed))
    throw new RangeError('--cases and --seed are whole numbers');
  if (!json) console.log('                        cases   seconds');
  for (const target of chosen) {
    const seconds = await fuzz(target, Number(cases), Number(seed)).catch((error: unknown) => {
      if (!(error instanceof FuzzFailure)) throw error;
      console.error(error.message);
      process.exitCode = 1;
      return undefined;
    });
    if (seconds === undefined) return;
    if (json) console.log(JSON.stringify({ target: target.name, cases: Number(cases), seconds }));
    else console.log(`${target.name.padEnd(18)} ${cases.padStart(10)} ${seconds.toFixed(1).padStart(9)}`);
  }
}
