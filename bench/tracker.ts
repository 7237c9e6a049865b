/**
 * What one tracker can serve: a crowd of agents joins, announces one image of 12 blobs, and goes on announcing it. The
 * tracker runs as users run it, in a process of its own; the crowd shares a bounded number of connections.
 *
 *   pnpm --silent bench tracker [--help]
 */
import { parseArgs } from 'node:util';
import { parseJoinToken } from '@shoal/wire';
import { parseCount } from './sim/units.ts';
import { Crowd } from './tracker/crowd.ts';
import { closedLoop, type Load, openLoop } from './tracker/load.ts';
import { PinnedConnection } from './tracker/pinned-connection.ts';
import { TrackerProcess } from './tracker/tracker-process.ts';

const BLOBS = 12;
const WARM_UP_SECONDS = 3;

interface TrackerReading {
  agents: number;
  connections: number;
  joinsPerSecond: number;
  /** From the first to the last of the first announcements of all agents. */
  firstAnnouncementsSeconds: number;
  announcesPerSecond: number;
  /** Of the tracker, while it answered as many as it could. */
  cpuSecondsPerSecond: number;
  cpuMicrosecondsPerAnnounce: number;
  halfLoadPerSecond: number;
  halfLoadP50Ms: number;
  halfLoadP99Ms: number;
  halfLoadCpuSecondsPerSecond: number;
  answerBytes: number;
  /** Resident, after a collection, beyond what the tracker took before anybody joined. */
  bytesPerAgent: number;
}

const USAGE = `usage: bench tracker [FLAGS]
A crowd of agents joins a tracker, announces one image of ${BLOBS} blobs and goes on announcing it.

  --agents N                                                        [10000]
  --connections N         that the crowd shares                     [256]
  --seconds N             for each of the two measurements          [15]
  --json                  one line of JSON instead of the table`;

export async function benchTracker(flags: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...flags],
    options: {
      help: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      agents: { type: 'string', default: '10000' },
      connections: { type: 'string', default: '256' },
      seconds: { type: 'string', default: '15' },
    },
  });
  if (values.help) return console.log(USAGE);
  const agents = parseCount(values.agents, 1, 1_000_000);
  const connections = parseCount(values.connections, 1, 4_096);
  const reading = await measure(agents, connections, parseCount(values.seconds, 1, 3_600));
  if (values.json) return console.log(JSON.stringify(reading));
  const round = (value: number): string => value.toFixed(value < 10 ? 2 : 0);
  console.log(`${agents} agents, one image of ${BLOBS} blobs, ${connections} connections`);
  console.log(`joins                 ${round(reading.joinsPerSecond)} per second`);
  console.log(`first announcements   ${round(reading.firstAnnouncementsSeconds)} s until all agents were introduced`);
  console.log(`announces             ${round(reading.announcesPerSecond)} per second at most`);
  console.log(
    `  tracker CPU         ${round(reading.cpuSecondsPerSecond)} cores, ${round(reading.cpuMicrosecondsPerAnnounce)} µs each`,
  );
  console.log(`  answer              ${round(reading.answerBytes / 1024)} KiB`);
  console.log(
    `at ${round(reading.halfLoadPerSecond)} per second    p50 ${round(reading.halfLoadP50Ms)} ms, p99 ${round(reading.halfLoadP99Ms)} ms`,
  );
  console.log(`  tracker CPU         ${round(reading.halfLoadCpuSecondsPerSecond)} cores`);
  console.log(`memory                ${round(reading.bytesPerAgent / 1024)} KiB per agent`);
}

async function measure(agents: number, connectionCount: number, seconds: number): Promise<TrackerReading> {
  const tracker = await TrackerProcess.start();
  try {
    const { hostname, port, host } = tracker.url;
    const { pin } = parseJoinToken(tracker.joinToken)!;
    const crowd = new Crowd({ agents, blobs: BLOBS, host, joinToken: tracker.joinToken });
    const open = () => PinnedConnection.open(hostname, Number(port), pin);
    const connections = await Promise.all(Array.from({ length: connectionCount }, open));
    const emptyRssBytes = await tracker.collectedRssBytes();

    const joins: Load = {
      connections,
      request: (index) => crowd.joinRequest(index),
      onAnswer: (index, answer) => crowd.joined(index, answer),
    };
    const joining = await timed(tracker, () => closedLoop(joins, (sent) => sent >= agents));

    let answerBytes = 0;
    const announces: Load = {
      connections,
      request: (index) => crowd.announcement(index % agents),
      onAnswer: (_index, { status, body }) => {
        if (status !== 200) throw new Error(`announce: ${status} ${body}`);
        answerBytes = body.length;
      },
    };
    const first = await timed(tracker, () => closedLoop(announces, (sent) => sent >= agents));
    const bytesPerAgent = ((await tracker.collectedRssBytes()) - emptyRssBytes) / agents;

    const forSeconds = (limit: number) => {
      const endMs = performance.now() + limit * 1_000;
      return closedLoop(announces, () => performance.now() >= endMs);
    };
    await forSeconds(WARM_UP_SECONDS);
    const most = await timed(tracker, () => forSeconds(seconds));
    const announcesPerSecond = most.result / most.wallSeconds;
    const halfLoadPerSecond = announcesPerSecond / 2;
    const half = await timed(tracker, () => openLoop(announces, halfLoadPerSecond, seconds));
    const at = (share: number): number => half.result[Math.floor(half.result.length * share)]!;
    for (const connection of connections) connection.close();
    return {
      agents,
      connections: connectionCount,
      joinsPerSecond: joining.result / joining.wallSeconds,
      firstAnnouncementsSeconds: first.wallSeconds,
      announcesPerSecond,
      cpuSecondsPerSecond: most.cpuSeconds / most.wallSeconds,
      cpuMicrosecondsPerAnnounce: (most.cpuSeconds / most.result) * 1e6,
      halfLoadPerSecond,
      halfLoadP50Ms: at(0.5),
      halfLoadP99Ms: at(0.99),
      halfLoadCpuSecondsPerSecond: half.cpuSeconds / half.wallSeconds,
      answerBytes,
      bytesPerAgent,
    };
  } finally {
    await tracker.stop();
  }
}

async function timed<T>(tracker: TrackerProcess, work: () => Promise<T>) {
  const cpuBefore = await tracker.cpuSeconds();
  const startMs = performance.now();
  const result = await work();
  const wallSeconds = (performance.now() - startMs) / 1_000;
  return { result, wallSeconds, cpuSeconds: (await tracker.cpuSeconds()) - cpuBefore };
}
