/** Which registries may be asked, when not any public one: `HOST`, or `*.DOMAIN` for every host below a domain. */
import { normaliseRegistryHost } from '@shoal/oci';

const ANY_BELOW = '*.';

export function isRegistryPattern(text: string): boolean {
  return normaliseRegistryHost(text.startsWith(ANY_BELOW) ? text.slice(ANY_BELOW.length) : text) !== undefined;
}

export class AllowList {
  readonly #hosts = new Set<string>();
  /** `.DOMAIN` */
  readonly #suffixes: string[] = [];

  /** @param patterns none: everything is allowed @throws TypeError for what is no pattern */
  constructor(patterns: readonly string[]) {
    for (const pattern of patterns) {
      const isWide = pattern.startsWith(ANY_BELOW);
      const host = normaliseRegistryHost(isWide ? pattern.slice(ANY_BELOW.length) : pattern);
      if (host === undefined) throw new TypeError(`not a registry host: ${pattern}`);
      if (isWide) this.#suffixes.push(`.${host}`);
      else this.#hosts.add(host);
    }
  }

  /** @param host normalised */
  allows(host: string): boolean {
    if (this.#hosts.size + this.#suffixes.length === 0 || this.#hosts.has(host)) return true;
    return this.#suffixes.some((suffix) => host.endsWith(suffix));
  }
}
