/** Whether the trackers answer, are the ones that the join token pins, and take this agent. */
import type { TrackerFact } from './facts.ts';
import { type Finding, named } from './finding.ts';

const TOKEN =
  "copy the tracker's file join-token (in its data folder, /var/lib/shoal-tracker) to /etc/shoal/join-token, and restart the agent";

export function checkTracker(trackers: readonly TrackerFact[]): Finding {
  const { ok, warn, fail } = named('tracker');
  if (trackers.length === 0) {
    return warn(
      'none is configured: this agent shares with nobody',
      'name it in /etc/shoal/agent.yaml: tracker: https://TRACKER:7302, and join-token: "@/etc/shoal/join-token"',
    );
  }
  const bad = trackers.filter(({ outcome }) => outcome !== 'ok');
  const [first] = bad;
  if (first === undefined) {
    return ok(`${trackers.map(({ url }) => url).join(', ')} answers and takes the join token`);
  }
  const { detail, todo } = problemOf(first);
  // One replica is enough to join.
  const rest = trackers.find(({ outcome }) => outcome === 'ok');
  return rest === undefined ? fail(detail, todo) : warn(`${detail}; ${rest.url} answers`, todo);
}

function problemOf({ url, outcome, message }: TrackerFact): { detail: string; todo: string } {
  switch (outcome) {
    case 'UNREACHABLE':
    case 'TIMEOUT':
      return {
        detail: outcome === 'TIMEOUT' ? `${url} takes connections but does not answer` : `${url} cannot be reached`,
        todo: `see that it runs there (systemctl status shoal-tracker) and that this node may reach its port: curl -k ${url}/healthz`,
      };
    case 'WRONG_PIN':
      return {
        detail: `${url} is not the tracker that made this join token (its TLS key is another one)`,
        todo: `check tracker: in /etc/shoal/agent.yaml; ${TOKEN}`,
      };
    case 'WRONG_JOIN_TOKEN':
      return { detail: `${url} does not accept this join token`, todo: TOKEN };
    case 'BARRED':
      return {
        detail: `${url} has barred this agent: it was found passing on wrong bytes`,
        todo: 'check the disk and the memory of this machine; then stop the agent, empty its data folder, and start it as a new one',
      };
    case 'CLOCK_SKEW':
      return { detail: `${url} refuses this agent: ${message}`, todo: 'set the clock: timedatectl set-ntp true' };
    case 'TOO_MANY_REQUESTS':
      return {
        detail: `${url} is asked too much by this address`,
        todo: 'wait a minute, then: shoal doctor --only tracker',
      };
    case 'INTERNAL':
      return {
        detail: `${url} answers, but cannot serve anybody: ${message}`,
        todo: 'see its log (journalctl -u shoal-tracker); of several trackers on one store, whether that answers them',
      };
    default:
      return {
        detail: `${url} answers, but not as a tracker of this version (${outcome}: ${message})`,
        todo: `see what listens there, its log (journalctl -u shoal-tracker), and that agents and tracker are of one version`,
      };
  }
}
