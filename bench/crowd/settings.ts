// What the bench was asked for on its command line.
import { parsedFlags, rate, size, wholeNumber } from '../rig/flags.ts';

/** The whole default run takes about five minutes. */
const DEFAULT_SIZE = '512MiB';
/** The fastest at which eight agents and their clients leave two cores some rest. */
const DEFAULT_LINK = '20mbit';
/** What Linux does unless told otherwise: the machine that the bench runs on may have been told. */
const DEFAULT_CONGESTION_CONTROL = 'cubic';
const MAX_NODES = 200;
const MAX_LAYERS = 100;

const OPTIONS = {
  nodes: { type: 'string', default: '8' },
  size: { type: 'string', default: DEFAULT_SIZE },
  layers: { type: 'string', default: '4' },
  link: { type: 'string', default: DEFAULT_LINK },
  'origin-link': { type: 'string' },
  zones: { type: 'string', default: '1' },
  congestion: { type: 'string', default: DEFAULT_CONGESTION_CONTROL },
  json: { type: 'boolean', default: false },
  trace: { type: 'boolean', default: false },
  'cpu-prof': { type: 'string' },
} as const;

export const CROWD_USAGE = `usage: bench crowd [FLAGS]
Real agents and a real tracker, each node in a network namespace of its own behind a shaped link, pull one image at the same
moment from one origin. Needs root on Linux, and ip and tc.

  --nodes N               nodes that pull the image                 [8]
  --size SIZE             all layers together                       [${DEFAULT_SIZE}]
  --layers N                                                        [4]
  --link RATE             of every node, each way                   [${DEFAULT_LINK}]
  --origin-link RATE                                                [as --link]
  --zones N               zones, nodes spread evenly                [1]
  --congestion NAME       TCP's congestion control on every host    [${DEFAULT_CONGESTION_CONTROL}]

Output:
  --json                  one line of JSON instead of the table
  --trace                 what went over the links second by second, too
  --cpu-prof FOLDER       the CPU profile of the first agent goes there

Exit code: 0 every node pulled the image, 1 not so, 2 wrong usage or cannot run here.`;

export interface CrowdSettings {
  readonly nodes: number;
  /** All layers together. */
  readonly layerBytes: number;
  readonly layers: number;
  /** Of every node, each way. */
  readonly linkBitsPerSecond: number;
  readonly originLinkBitsPerSecond: number;
  readonly zones: number;
  /** By its name in the kernel. */
  readonly congestionControl: string;
  readonly json: boolean;
  /** Whether to tell what went over the links second by second. */
  readonly trace: boolean;
  /** Where the first agent's CPU profile goes. */
  readonly cpuProfileFolder: string | undefined;
}

/** @throws WrongUsage with one line that says what to write instead */
export function crowdSettings(flags: readonly string[]): CrowdSettings {
  const values = parsedFlags(flags, OPTIONS);
  const nodes = wholeNumber('nodes', values.nodes, MAX_NODES);
  return {
    nodes,
    layerBytes: size('size', values.size),
    layers: wholeNumber('layers', values.layers, MAX_LAYERS),
    linkBitsPerSecond: rate('link', values.link),
    originLinkBitsPerSecond: rate('origin-link', values['origin-link'] ?? values.link),
    zones: wholeNumber('zones', values.zones, nodes),
    congestionControl: values.congestion,
    json: values.json,
    trace: values.trace,
    cpuProfileFolder: values['cpu-prof'],
  };
}
