// What `bench rollout` was asked for on its command line.
import { parsedFlags, rate, size, WrongUsage, wholeNumber } from '../rig/flags.ts';
import { CONTENDERS, type Contender, rival } from './contender.ts';
import { loadScenario, MAX_LAYERS, MAX_NODES, type Scenario, scenarioNames } from './scenario.ts';

const MAX_REPEATS = 20;

const OPTIONS = {
  scenario: { type: 'string', default: 'rollout' },
  nodes: { type: 'string' },
  image: { type: 'string' },
  layers: { type: 'string' },
  link: { type: 'string' },
  'origin-link': { type: 'string' },
  'warm-up': { type: 'string' },
  only: { type: 'string' },
  against: { type: 'string', multiple: true },
  repeat: { type: 'string', default: '1' },
  isolate: { type: 'string' },
  json: { type: 'string' },
  html: { type: 'string' },
  svg: { type: 'string' },
} as const;

export interface RolloutSettings {
  readonly scenario: Scenario;
  readonly contenders: readonly Contender[];
  readonly repeats: number;
  /** A node whose agent cannot reach the others, counted from 1: to see that this is noticed. */
  readonly isolated: number | undefined;
  readonly jsonFile: string | undefined;
  readonly htmlFile: string | undefined;
  readonly svgFolder: string | undefined;
}

export async function rolloutUsage(): Promise<string> {
  return `usage: bench rollout [FLAGS]
Rolls one image out to N nodes, each a network namespace with a shaped link and a containerd of its own, in several ways one
after the other: ${CONTENDERS.map(({ name }) => name).join(', ')}. Needs root on Linux, containerd, docker-registry, ip and tc.

  --scenario NAME|FILE    ${(await scenarioNames()).join(', ')}   [rollout]
  --nodes N               nodes that pull the image
  --image SIZE            all layers together
  --layers N
  --link RATE             of every node, each way
  --origin-link RATE      of the registry                           [as --link]
  --warm-up SIZE|none     another image that all nodes pull before, unmeasured
  --only NAME,…           these ways alone
  --against NAME=COMMAND  another system too: COMMAND starts it on a node, see bench/README.md
  --repeat N              the median of so many runs of each        [1]
  --isolate N             node N's agent cannot reach the others: the run must be told broken

Output:
  --json FILE             everything measured, with the raw counters
  --html FILE             a page with charts
  --svg FOLDER            the charts alone

What a scenario says is used unless a flag says otherwise.
Exit code: 0 all pulls went well, 1 not so, 2 wrong usage or cannot run here.`;
}

/** @throws WrongUsage with one line that says what to write instead */
export async function rolloutSettings(flags: readonly string[]): Promise<RolloutSettings> {
  const values = parsedFlags(flags, OPTIONS);
  const said = await loadScenario(values.scenario);
  const nodes = values.nodes === undefined ? said.nodes : wholeNumber('nodes', values.nodes, MAX_NODES);
  const scenario: Scenario = {
    ...said,
    nodes,
    image: values.image === undefined ? said.image : size('image', values.image),
    layers: values.layers === undefined ? said.layers : wholeNumber('layers', values.layers, MAX_LAYERS),
    link: values.link === undefined ? said.link : rate('link', values.link),
    warmUp: values['warm-up'] === undefined ? said.warmUp : warmUpSize(values['warm-up']),
    originLink: values['origin-link'] === undefined ? said.originLink : rate('origin-link', values['origin-link']),
  };
  if (scenario.sharedLayers >= scenario.layers) {
    throw new WrongUsage(`of ${scenario.layers} layers ${scenario.sharedLayers} are shared: none is new`);
  }
  return {
    scenario,
    contenders: chosen(values.only, values.against ?? []),
    repeats: wholeNumber('repeat', values.repeat, MAX_REPEATS),
    isolated: values.isolate === undefined ? undefined : wholeNumber('isolate', values.isolate, nodes),
    jsonFile: values.json,
    htmlFile: values.html,
    svgFolder: values.svg,
  };
}

function warmUpSize(text: string): number {
  return text === 'none' ? 0 : size('warm-up', text);
}

function chosen(only: string | undefined, against: readonly string[]): Contender[] {
  const rivals = against.map((text) => {
    const equals = text.indexOf('=');
    if (equals < 1) throw new WrongUsage('--against takes NAME=COMMAND');
    return rival(text.slice(0, equals), text.slice(equals + 1));
  });
  if (only === undefined) return [...CONTENDERS, ...rivals];
  const known = new Map([...CONTENDERS, ...rivals].map((contender) => [contender.name, contender]));
  return only.split(',').map((name) => {
    const contender = known.get(name);
    if (contender === undefined) throw new WrongUsage(`--only: no ${name}; there are ${[...known.keys()].join(', ')}`);
    return contender;
  });
}
