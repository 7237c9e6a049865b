/**
 * Whether this agent is connected to others, and others can dial it. The latter is proven by members that were asked to dial it
 * back, address by address; where none could be asked (earlier builds, or asked just now), by a connection that another member
 * began. Nothing else proves it, and where there is neither it is said so.
 */
import type { AgentFacts } from './facts.ts';
import { type Finding, named } from './finding.ts';
import { isLoopbackMultiaddr } from './hosts.ts';
import { strangerText } from './stranger.ts';

/** Acquaintances are asked of the tracker every 10 s. */
const MEETING_TIME_S = 30;
const MAX_STRANGERS_NAMED = 3;

export function checkPeers(facts: AgentFacts | undefined): Finding {
  const finding = checkReach(facts);
  const { strangers = [], versions = [] } = facts?.peers ?? {};
  if (facts === undefined || strangers.length === 0) return finding;
  const others = strangers.slice(0, MAX_STRANGERS_NAMED).map(strangerText);
  const more = strangers.length > others.length ? [`${strangers.length - others.length} more`] : [];
  const detail = `${[...others, ...more].join('; ')}; this agent speaks ${versions.join(', ')}: nothing is traded between them`;
  const { warn, fail } = named('peers');
  const update = 'update the older of the two; until then each pulls from the others, or from the registry';
  if (finding.state === 'fail') return fail(`${finding.detail}; ${detail}`, `${update}; ${finding.todo}`);
  return warn(`${finding.detail}; ${detail}`, finding.todo === undefined ? update : `${update}; ${finding.todo}`);
}

function checkReach(facts: AgentFacts | undefined): Finding {
  const { ok, warn, fail, skip } = named('peers');
  if (facts === undefined) return skip('only an agent that runs has connections');
  const { peers, trackers, members, upSeconds } = facts;
  const { announced, answering, outbound, inbound, inboundSoFar } = peers;
  if (trackers.length === 0) return skip('there is no tracker to name any');
  const connected = outbound + inbound;
  const others = Math.max(members - 1, connected);
  const proof = howToProve(announced);
  if (announced.length === 0) {
    return fail(
      'this agent announces no address, so nobody can dial it',
      'set peer-announce: [/ip4/ADDRESS-OF-THIS-NODE/tcp/7301] in /etc/shoal/agent.yaml, and restart it',
    );
  }
  if (others === 0) return skip('this agent is the only member');
  if (connected === 0) {
    const detail = `connected to none of ${others} other members`;
    if (upSeconds < MEETING_TIME_S)
      return warn(`${detail} yet`, `wait until it is up ${MEETING_TIME_S} s, then: shoal doctor --only peers`);
    return fail(detail, `open the peer port (TCP 7301) between the nodes, both ways; ${proof}`);
  }
  const counted = `connected to ${connected} of ${others} others: ${outbound} dialled by this agent, ${inbound} by them`;
  const shown = dialledBack(peers);
  if (shown !== undefined) {
    const { reached, missed, text } = shown;
    if (missed.length === 0) return ok(`${counted}; both ways work: ${text}`);
    const open = `open TCP ${[...new Set(missed.map(portOf))].join(', ')} to the other nodes`;
    if (reached.length > 0) {
      return warn(
        `${counted}; others reach it, but not at every address that it announces: ${text}`,
        `${open}, or set peer-announce in /etc/shoal/agent.yaml to ${reached.join(', ')} alone`,
      );
    }
    return fail(
      `${counted}; others cannot dial this agent: ${text}`,
      `${open} (firewall, security group), or set peer-announce in /etc/shoal/agent.yaml to where they reach this node; ${proof}`,
    );
  }
  if (inboundSoFar > 0) return ok(`${counted}; both ways work`);
  if (announced.every(isLoopbackMultiaddr)) {
    return warn(
      `${counted}; only loopback addresses are announced (${announced.join(' ')}), which other machines cannot dial`,
      'set peer-listen: [/ip4/0.0.0.0/tcp/7301] or peer-announce in /etc/shoal/agent.yaml, and restart it',
    );
  }
  if (answering.length === 0) {
    return warn(
      `${counted}; not even from here does ${announced.join(' ')} take a connection`,
      `set peer-announce in /etc/shoal/agent.yaml to where others reach this node; ${proof}`,
    );
  }
  return warn(`${counted}; not proven that others can dial this agent, nobody has since it started`, proof);
}

interface DialledBack {
  /** Addresses at which somebody reached this agent, and those at which nobody who tried did. */
  reached: string[];
  missed: string[];
  text: string;
}

/** Undefined when no member dialled any address. */
function dialledBack({ dialledBack: findings }: AgentFacts['peers']): DialledBack | undefined {
  const byAddress = new Map<string, { reachedBy: string[]; missedBy: string[] }>();
  for (const { peerId, tried } of findings) {
    for (const { address, reached } of tried) {
      const seen = byAddress.get(address) ?? { reachedBy: [], missedBy: [] };
      byAddress.set(address, seen);
      (reached ? seen.reachedBy : seen.missedBy).push(peerId);
    }
  }
  if (byAddress.size === 0) return undefined;
  const all = [...byAddress];
  const told = all.map(([address, { reachedBy, missedBy }]) => {
    const answered = reachedBy.length > 0 ? [`answered ${reachedBy.join(', ')}`] : [];
    return `${address} ${[...answered, ...(missedBy.length > 0 ? [`did not answer ${missedBy.join(', ')}`] : [])].join(' and ')}`;
  });
  return {
    reached: all.filter(([, { reachedBy }]) => reachedBy.length > 0).map(([address]) => address),
    missed: all.filter(([, { reachedBy }]) => reachedBy.length === 0).map(([address]) => address),
    text: told.join('; '),
  };
}

function portOf(address: string): string {
  return /\/tcp\/(\d+)/.exec(address)?.[1] ?? '7301';
}

function howToProve(announced: readonly string[]): string {
  const [, host = 'THIS-NODE', port = '7301'] = /^\/[a-z0-9]+\/([^/]+)\/tcp\/(\d+)/.exec(announced[0] ?? '') ?? [];
  return `try it from another node: nc -vz ${host} ${port}`;
}
