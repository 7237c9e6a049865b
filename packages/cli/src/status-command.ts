/** `shoal status`: the agent on this machine at a glance. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { adminFlag, askAdmin } from './admin-client.ts';
import type { CliIo } from './cli-io.ts';
import { CommandFailure, oneLine } from './command-failure.ts';
import { bar } from './demo/progress.ts';
import { megabytes } from './demo/report.ts';
import { type ContainerdFacts, containerdSchema, strangerSchema } from './doctor/facts.ts';
import { strangerText } from './doctor/stranger.ts';
import { duration } from './duration.ts';

const PROGRAM = 'shoal status';
const WATCH_EVERY_MS = 1_000;
const CLEAR_SCREEN = '\u001b[H\u001b[2J';
const DIGEST_CHARACTERS = 19;
const MAX_PULLS_SHOWN = 20;

const MORE = `
Exit code: 0 the agent answers, 1 no agent answers, 2 wrong usage. What it did in the past is in its metrics
(/metrics at the same address).

Examples:
  shoal status
  shoal status --watch
  shoal status --json --admin 127.0.0.1:7303
`;

const text = z.string().transform(oneLine);
const statusSchema = z.object({
  version: text,
  upSeconds: z.number(),
  peerId: text,
  mirror: text,
  /** Not told by an agent of an earlier version. */
  name: text.optional(),
  zone: text,
  trackers: z.array(text),
  trackerReachable: z.boolean(),
  /** Of the cluster, as the tracker says. */
  members: z.number(),
  /** Connected now. */
  peers: z.array(z.object({ peerId: text, zone: text })),
  /** Not told by an agent of an earlier version. */
  strangers: z.array(strangerSchema).default([]),
  cache: z.object({ bytes: z.number(), blobs: z.number(), quotaBytes: z.number() }),
  /** What containerd keeps beside it, where the agent was told of one. */
  containerd: containerdSchema.optional(),
  /** Since the agent started. */
  bytes: z.object({
    fromPeers: z.number(),
    fromOrigin: z.number(),
    fromStore: z.number(),
    toPeers: z.number(),
    toClients: z.number(),
  }),
  pulls: z.array(z.object({ blob: text, sizeBytes: z.number(), heldBytes: z.number(), seconds: z.number() })),
});
export type AgentStatus = z.infer<typeof statusSchema>;

export function registerStatus(program: Command, io: CliIo): void {
  program
    .command('status')
    .usage('[FLAGS]')
    .summary('show how the agent on this machine is')
    .description('Shows the agent on this machine at a glance: tracker, members, cache, traffic, pulls under way.')
    .option(...adminFlag(io))
    .option('--watch', 'again every second, until Ctrl-C', false)
    .option('--json', 'print a line of JSON instead', false)
    .addHelpText('after', MORE)
    .action((options: StatusOptions) => showStatus(options, io));
}

interface StatusOptions {
  readonly admin: string;
  readonly watch: boolean;
  readonly json: boolean;
}

/** @throws CommandFailure when no agent answers; one that is watched may be away for a while */
async function showStatus({ admin, watch, json }: StatusOptions, io: CliIo): Promise<void> {
  const stopped = new AbortController();
  const { signal } = stopped;
  const about = { program: PROGRAM, admin, path: '/v1/status', ability: 'tell its status' };
  const ask = (): Promise<AgentStatus> => askAdmin({ ...about, answer: statusSchema, signal });
  const print = (status: AgentStatus): void =>
    void io.stdout.write(json ? `${JSON.stringify(status)}\n` : statusText(status));
  if (!watch) {
    print(await ask());
    return;
  }
  const stopListening = io.onSignal(() => stopped.abort());
  const clear = !json && io.stdout.isTTY === true ? CLEAR_SCREEN : '';
  try {
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      try {
        const status = await ask();
        io.stdout.write(clear || (isFirst || json ? '' : '\n'));
        print(status);
      } catch (error) {
        if (signal.aborted) return;
        if (isFirst || !(error instanceof CommandFailure)) throw error;
        io.stderr.write(`${clear}${error.message}\n`);
      }
      await sleep(WATCH_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    stopListening();
  }
}

export function statusText(status: AgentStatus): string {
  const { version, upSeconds, mirror, zone, cache, bytes, peers, members, pulls } = status;
  const zones = new Set(peers.map((peer) => peer.zone)).size;
  const lines = [
    ...(status.name === undefined ? [] : [['node', status.name]]),
    ['agent', `Shoal ${version}, up ${duration(upSeconds)}, zone ${zone}`],
    ['mirror', mirror],
    ['tracker', trackerLine(status)],
    [
      'members',
      `${peers.length} connected${zones > 1 ? ` in ${zones} zones` : ''}, of ${Math.max(members - 1, peers.length)} others`,
    ],
    ...status.strangers.map((stranger) => ['version', `${strangerText(stranger)}: nothing is traded with it`]),
    ['cache', `${megabytes(cache.bytes)} of ${megabytes(cache.quotaBytes)}, ${cache.blobs} blobs`],
    ...(status.containerd === undefined ? [] : [['runtime', containerdLine(status.containerd)]]),
    [
      'got',
      `${megabytes(bytes.fromPeers)} from other agents, ${megabytes(bytes.fromOrigin)} from registries, ${megabytes(bytes.fromStore)} from its cache`,
    ],
    ['gave', `${megabytes(bytes.toPeers)} to other agents, ${megabytes(bytes.toClients)} to container runtimes`],
    ['pulls', pulls.length === 0 ? 'none under way' : `${pulls.length} under way`],
  ].map(([name = '', value = '']) => `${name.padEnd(8)} ${value}\n`);
  const shown = pulls.slice(0, MAX_PULLS_SHOWN).map(pullLine);
  const more = pulls.length > shown.length ? [`  and ${pulls.length - shown.length} more\n`] : [];
  return [...lines, ...shown, ...more].join('');
}

function trackerLine({ trackers, trackerReachable }: AgentStatus): string {
  if (trackers.length === 0) return 'none: this agent shares with nobody; name one with --tracker';
  const names = trackers.join(', ');
  return trackerReachable
    ? `${names} answers`
    : `${names} DOES NOT ANSWER: known members and registries are used until it does`;
}

function containerdLine({ state, problem, blobs, bytes, waiting, wrong }: ContainerdFacts): string {
  const shared = `${megabytes(bytes)} shared from containerd's own store, ${blobs} blobs`;
  const toHash = waiting === 0 ? '' : `; ${waiting} more to be hashed first`;
  const bad = wrong === 0 ? '' : `; ${wrong} ARE NOT WHAT THEIR NAMES SAY`;
  const followed = problem === undefined ? '' : `; ${state.toUpperCase()}: ${problem}`;
  return `${shared}${toHash}${bad}${followed}`;
}

function pullLine({ blob, sizeBytes, heldBytes, seconds }: AgentStatus['pulls'][number]): string {
  const [registry, digest = ''] = blob.split(/\/(?=sha)/);
  const share = sizeBytes === 0 ? 1 : heldBytes / sizeBytes;
  const of = `${megabytes(heldBytes)} of ${megabytes(sizeBytes)}`;
  return `  ${registry} ${digest.slice(0, DIGEST_CHARACTERS)}…  ${bar(share)}  ${of}, ${duration(seconds)}\n`;
}
