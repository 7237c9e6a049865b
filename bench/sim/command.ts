/** `bench sim`: a flash crowd in virtual time. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { DEFAULT_UPLOAD_SLOTS } from '@shoal/swarm';
import { complaintsAbout, planOfSeed } from './campaign.ts';
import type { PlanInput } from './plan.ts';
import { readingOf, reportLines, traceLines } from './report.ts';
import { parseCount, parseDuration, parseNumber, parseRate, parseSize, parseSpan } from './units.ts';
import { type Progress, World } from './world.ts';

const REPORT_EVERY_MS = 200;
const TRACE_POINTS_PER_BOUND = 20;
const MS_PER_BIT = 1_000;

const HELP = `usage: bench sim [FLAGS]
Nodes pull one blob at once, in virtual time, with the very code that agents and tracker run. See bench/sim/README.md.

  --nodes N               nodes that pull the blob                  [100]
  --size SIZE             of the blob                               [1GiB]
  --zones N               zones, nodes spread evenly                [1]
  --link RATE             of every node, each way                   [1gbit]
  --origin-link RATE                                                [1gbit]
  --latency TIME          one way, within a zone                    [1ms]
  --zone-latency TIME     one way, between zones                    [5ms]
  --spread TIME           the pulls begin within this time          [0ms]
  --seeds N               further nodes that have the blob          [0]
  --slots N               pieces that a node sends at once          [${DEFAULT_UPLOAD_SLOTS}]
  --seed N                chooses everything that is random         [1]
  --no-tracker            nodes know some others from earlier

What goes wrong:
  --churn SHARE           nodes that die, and as many that join     [0]
  --restarts SHARE        nodes that die and come back              [0]
  --stalls SHARE          nodes that do nothing for a second        [0]
  --slow SHARE            nodes with a tenth of the link            [0]
  --liars N               nodes that sign wrong content             [0]
  --corrupt SHARE         nodes that pass on damaged bytes          [0]
  --tracker-outage FROM-TO  the tracker does not answer, e.g. 2s-5s
  --tracker-restart FROM-TO as --tracker-outage, and it has forgotten everything
  --origin-failing SHARE  responses of the origin that break off    [0]
  --no-range              the origin ignores requests for ranges

Output:
  --json                  one line of JSON instead of the table
  --trace                 use of the links over time, too
  --plan FILE             a whole plan as JSON (plan.ts); other flags change it
  --campaign SEED         the plan of this seed of the fault campaign (campaign.ts), judged as the tests judge it

Exit code: 0 every node that should have the blob has it, 1 not so, 2 wrong usage.`;

const OPTIONS = {
  help: { type: 'boolean' },
  nodes: { type: 'string' },
  size: { type: 'string' },
  zones: { type: 'string' },
  link: { type: 'string' },
  'origin-link': { type: 'string' },
  latency: { type: 'string' },
  'zone-latency': { type: 'string' },
  spread: { type: 'string' },
  seeds: { type: 'string' },
  slots: { type: 'string' },
  seed: { type: 'string' },
  'no-tracker': { type: 'boolean' },
  churn: { type: 'string' },
  restarts: { type: 'string' },
  stalls: { type: 'string' },
  slow: { type: 'string' },
  liars: { type: 'string' },
  corrupt: { type: 'string' },
  'tracker-outage': { type: 'string' },
  'tracker-restart': { type: 'string' },
  'origin-failing': { type: 'string' },
  'no-range': { type: 'boolean' },
  json: { type: 'boolean' },
  trace: { type: 'boolean' },
  plan: { type: 'string' },
  campaign: { type: 'string' },
} as const;

interface Given {
  help: boolean;
  json: boolean;
  trace: boolean;
  /** Whether the outcome is judged as one of the campaign. */
  isCampaign: boolean;
  plan: PlanInput;
}

export function benchSim(flags: readonly string[]): Promise<void> {
  let given: ReturnType<typeof readFlags>;
  let world: World;
  try {
    given = readFlags(flags);
    if (given.help) {
      console.log(HELP);
      return Promise.resolve();
    }
    world = new World(given.plan);
  } catch (error) {
    console.error(`bench sim: ${error instanceof Error ? error.message : String(error)}`);
    console.error('bench sim --help lists the flags');
    process.exitCode = 2;
    return Promise.resolve();
  }
  const startedMs = performance.now();
  const { trace, ...outcome } = world.run(progressLine());
  clearLine();
  const wallSeconds = (performance.now() - startedMs) / 1_000;
  const reading = readingOf(outcome, wallSeconds, process.resourceUsage().maxRSS * 1_024);
  if (given.json) {
    console.log(JSON.stringify(given.trace ? { ...reading, trace } : reading));
  } else {
    for (const line of reportLines(reading)) console.log(line);
    if (given.trace) for (const line of traceLines(trace)) console.log(line);
  }
  const complaints = complaintsAbout(given.plan, outcome);
  if (given.isCampaign) for (const complaint of complaints) console.error(`bench sim: ${complaint}`);
  const isFine = outcome.failed === 0 && outcome.wrongBytes === 0 && outcome.violations.length === 0;
  process.exitCode = isFine && !(given.isCampaign && complaints.length > 0) ? 0 : 1;
  return Promise.resolve();
}

/** @throws TypeError, RangeError, Error of what is wrong with the flags */
export function readFlags(flags: readonly string[]): Given {
  const { values } = parseArgs({ args: [...flags], options: OPTIONS, allowPositionals: false });
  const plan: PlanInput = values.plan === undefined ? {} : (JSON.parse(readFileSync(values.plan, 'utf8')) as PlanInput);
  const isCampaign = values.campaign !== undefined;
  const take = <T>(flag: keyof typeof OPTIONS, read: (text: string) => T, put: (value: T) => void): void => {
    const text = values[flag];
    if (typeof text !== 'string') return;
    try {
      put(read(text));
    } catch (error) {
      throw new RangeError(`--${flag}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  };
  const share = (text: string): number => parseNumber(text, 0, 1);
  const count = (text: string): number => parseCount(text, 1, 1_000_000);
  const some = (text: string): number => parseCount(text, 0, 1_000_000_000);
  take('campaign', some, (seed) => Object.assign(plan, planOfSeed(seed)));
  take('nodes', count, (nodes) => Object.assign(plan, { nodes }));
  take('size', parseSize, (blobBytes) => Object.assign(plan, { blobBytes }));
  take('zones', count, (zones) => Object.assign(plan, { zones }));
  take('link', parseRate, (link) => Object.assign(plan, { link }));
  take('origin-link', parseRate, (originLink) => Object.assign(plan, { originLink }));
  take('latency', parseDuration, (latencyMs) => Object.assign(plan, { latencyMs }));
  take('zone-latency', parseDuration, (zoneLatencyMs) => Object.assign(plan, { zoneLatencyMs }));
  take('spread', parseDuration, (startSpreadMs) => Object.assign(plan, { startSpreadMs }));
  take('seeds', some, (seeds) => Object.assign(plan, { seeds }));
  take('slots', count, (uploadSlots) => Object.assign(plan, { uploadSlots }));
  take('seed', some, (seed) => Object.assign(plan, { seed }));
  take('churn', share, (churn) => Object.assign(plan, { churn }));
  take('restarts', share, (part) => Object.assign(plan, { restarts: { ...plan.restarts, share: part } }));
  take('stalls', share, (part) => Object.assign(plan, { stalls: { ...plan.stalls, share: part } }));
  take('slow', share, (part) => Object.assign(plan, { slow: { ...plan.slow, share: part } }));
  take('liars', some, (liars) => Object.assign(plan, { liars: { ...plan.liars, count: liars } }));
  take('corrupt', share, (part) => Object.assign(plan, { corrupt: { ...plan.corrupt, share: part } }));
  take('origin-failing', share, (failing) => Object.assign(plan, { origin: { ...plan.origin, failing } }));
  const outage = (losesState: boolean) => (span: { fromMs: number; toMs: number }) => {
    const outages = [...(plan.tracker?.outages ?? []), { ...span, losesState }];
    Object.assign(plan, { tracker: { ...plan.tracker, outages } });
  };
  take('tracker-outage', parseSpan, outage(false));
  take('tracker-restart', parseSpan, outage(true));
  if (values['no-tracker']) Object.assign(plan, { tracker: { ...plan.tracker, exists: false } });
  if (values['no-range']) Object.assign(plan, { origin: { ...plan.origin, ranges: false } });
  const trace = values.trace ?? false;
  if (trace && plan.traceEveryMs === undefined) Object.assign(plan, { traceEveryMs: traceStepMs(plan) });
  return { help: values.help ?? false, json: values.json ?? false, trace, isCampaign, plan };
}

function traceStepMs({ blobBytes = 2 ** 30, link = 1e9, originLink = 1e9 }: PlanInput): number {
  const boundMs = (8 * blobBytes * MS_PER_BIT) / Math.min(link, originLink);
  return Math.max(1, Math.round(boundMs / TRACE_POINTS_PER_BOUND));
}

function progressLine(): ((progress: Progress) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  let nextMs = 0;
  return ({ virtualMs, complete, expected }) => {
    const nowMs = performance.now();
    if (nowMs < nextMs) return;
    nextMs = nowMs + REPORT_EVERY_MS;
    const wall = (nowMs / 1_000).toFixed(0);
    process.stderr.write(
      `\r${(virtualMs / 1_000).toFixed(2)} s virtual, ${complete} of ${expected} nodes done, ${wall} s`,
    );
  };
}

function clearLine(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
}
