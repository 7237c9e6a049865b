/**
 * Whether this agent is connected to others, and others can dial it. The latter is proven by a connection that another member began;
 * nothing else proves it, and where none came it is said so.
 */
import type { AgentFacts } from './facts.ts';
import { type Finding, named } from './finding.ts';
import { isLoopbackMultiaddr } from './hosts.ts';

/** Acquaintances are asked of the tracker every 10 s. */
const MEETING_TIME_S = 30;

export function checkPeers(facts: AgentFacts | undefined): Finding {
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

function howToProve(announced: readonly string[]): string {
  const [, host = 'THIS-NODE', port = '7301'] = /^\/[a-z0-9]+\/([^/]+)\/tcp\/(\d+)/.exec(announced[0] ?? '') ?? [];
  return `try it from another node: nc -vz ${host} ${port}`;
}
