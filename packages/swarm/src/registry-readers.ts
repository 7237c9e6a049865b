/** Who holds how many origin leases of each registry. */

/** So many of one agent count against the others: whoever takes more takes them from itself. */
const MOST_OF_ONE = 3;

export class RegistryReaders {
  readonly #registries = new Map<string, Map<string, number>>();

  add(registry: string, agent: string): void {
    const agents = this.#registries.get(registry) ?? new Map<string, number>();
    this.#registries.set(registry, agents);
    agents.set(agent, (agents.get(agent) ?? 0) + 1);
  }

  remove(registry: string, agent: string): void {
    const agents = this.#registries.get(registry);
    if (agents === undefined) return;
    const left = (agents.get(agent) ?? 0) - 1;
    if (left > 0) agents.set(agent, left);
    else agents.delete(agent);
    if (agents.size === 0) this.#registries.delete(registry);
  }

  of(registry: string, agent: string): number {
    return this.#registries.get(registry)?.get(agent) ?? 0;
  }

  all(registry: string): number {
    return this.#sum(registry, Number.POSITIVE_INFINITY);
  }

  /** All, but not more than 3 of each agent. */
  weighed(registry: string): number {
    return this.#sum(registry, MOST_OF_ONE);
  }

  #sum(registry: string, most: number): number {
    let sum = 0;
    for (const leases of this.#registries.get(registry)?.values() ?? []) sum += Math.min(leases, most);
    return sum;
  }
}
