/** Whether other agents would take this one for a member, and how many there are. */
import { duration } from '../duration.ts';
import type { AgentFacts } from './facts.ts';
import { type Finding, named } from './finding.ts';

/** A certificate lives for a day and is renewed when three quarters are over. */
const RENEWED_BEFORE_MS: number = 5 * 3_600_000;

export function checkMembership(facts: AgentFacts | undefined, nowMs: number): Finding {
  const { ok, warn, fail, skip } = named('membership');
  if (facts === undefined) return skip('only an agent that runs has one');
  if (facts.trackers.length === 0) return skip('there is no tracker');
  const { membershipExpiresAtMs: endMs, trackerReachable, peers } = facts;
  // The tracker's number is as old as the last announcement.
  const members = Math.max(facts.members, 1 + peers.outbound + peers.inbound);
  const todo = 'mend what tracker and clock say above; the agent joins by itself within seconds then';
  if (endMs === undefined) return fail('the agent is no member: no other agent talks to it', todo);
  const left = duration(Math.max(0, endMs - nowMs) / 1_000);
  if (!trackerReachable) {
    return warn(`the agent cannot reach the tracker now; its certificate holds for another ${left}`, todo);
  }
  if (endMs - nowMs < RENEWED_BEFORE_MS) {
    return warn(
      `the certificate ends in ${left} and should have been renewed`,
      'see the log for why (journalctl -u shoal-agent), and set the clock if clock says so',
    );
  }
  return ok(`current for ${left}; ${members} ${members === 1 ? 'member' : 'members'}, this one included`);
}
