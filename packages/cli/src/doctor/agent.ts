/** Whether an agent answers. */
import { duration } from '../duration.ts';
import type { AgentFacts } from './facts.ts';
import { type Finding, named } from './finding.ts';

const START = 'start it: systemctl start shoal-agent, or shoal agent; if it runs elsewhere, name its --admin HOST:PORT';

/**
 * `nobody`: no connection. `stranger`: something else answers, or an agent that is older than this command.
 */
export type AgentAnswer = { is: 'agent'; facts: AgentFacts } | { is: 'nobody' } | { is: 'stranger'; why: string };

export function checkAgent(answer: AgentAnswer, admin: string): Finding {
  const { ok, fail } = named('agent');
  switch (answer.is) {
    case 'nobody':
      return fail(`no agent answers at ${admin}`, START);
    case 'stranger':
      return fail(
        `what answers at ${admin} is no agent of this version (${answer.why})`,
        'see who listens there (ss -ltnp), give the right --admin HOST:PORT, or restart the agent after an update: systemctl restart shoal-agent',
      );
    case 'agent': {
      const { version, upSeconds, zone } = answer.facts;
      return ok(`Shoal ${version}, up ${duration(upSeconds)}, zone ${zone}`);
    }
  }
}
