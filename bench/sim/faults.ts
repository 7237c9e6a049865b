/** Who plays which part, and what goes wrong when: all of it chosen before the run begins, from the seed. */
import type { Random } from '@shoal/swarm';
import type { Links } from './links.ts';
import type { NodeRole, SimNode } from './node.ts';
import type { Plan } from './plan.ts';
import type { Setting } from './setting.ts';

const HONEST: NodeRole = { liar: false, corrupt: false, fate: 'stays', seed: false };

export interface Lives {
  die(node: SimNode): void;
  start(node: SimNode): void;
  freeze(node: SimNode, forMs: number): void;
}

/** The parts of the nodes that are there from the start on; nobody plays two of them. */
export function chooseRoles(plan: Plan, random: Random): NodeRole[] {
  const roles: NodeRole[] = Array.from({ length: plan.nodes }, () => HONEST);
  const order = shuffled(plan.nodes, random);
  const cast = (count: number, role: Partial<NodeRole>): void => {
    for (const index of order.splice(0, count)) roles[index] = { ...HONEST, ...role };
  };
  cast(plan.liars.count, { liar: true });
  cast(Math.round(plan.corrupt.share * plan.nodes), { corrupt: true });
  cast(Math.round(plan.churn * plan.nodes), { fate: 'dies' });
  cast(Math.round(plan.restarts.share * plan.nodes), { fate: 'restarts' });
  cast(Math.round(plan.stalls.share * plan.nodes), { fate: 'stalls' });
  return roles;
}

/** When each of those that join in place of the dead begins. */
export function chooseJoins(plan: Plan, withinMs: number, random: Random): number[] {
  return Array.from({ length: Math.round(plan.churn * plan.nodes) }, () => random() * withinMs);
}

export function scheduleFaults(setting: Setting, links: Links, lives: Lives, withinMs: number): void {
  const { plan, timeline, nodes } = setting;
  const random = setting.randomFor(6);
  const alive = nodes.slice(0, plan.nodes);
  for (const node of alive) {
    const { fate } = node.role;
    if (fate === 'stays') continue;
    const atMs = random() * withinMs;
    timeline.later(atMs, () => (fate === 'stalls' ? lives.freeze(node, plan.stalls.forMs) : lives.die(node)));
    if (fate === 'restarts') timeline.later(atMs + plan.restarts.downMs, () => lives.start(node));
  }
  for (let flap = 0; flap < Math.round(plan.flaps.perNode * alive.length); flap++) {
    timeline.later(random() * withinMs, () => {
      const node = alive[Math.floor(random() * alive.length)] as SimNode;
      const other = node.neighbours[Math.floor(random() * node.neighbours.length)];
      if (other !== undefined) links.flap(node, other, plan.flaps.downMs);
    });
  }
}

function shuffled(count: number, random: Random): number[] {
  const order = Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] as number, order[last] as number];
  }
  return order;
}
