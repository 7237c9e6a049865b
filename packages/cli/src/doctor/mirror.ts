/** Whether the mirror answers like a registry, and no registry's address leads back to it. */

import { type Finding, named } from './finding.ts';
import { isLoopbackHost, isWildcardHost } from './hosts.ts';

export interface MirrorQuestion {
  /** `HOST:PORT` */
  readonly mirror: string;
  readonly registries: readonly { readonly registry: string; readonly url?: string | undefined }[];
}

/** What `GET /v2/` gave; undefined when nothing came. */
export type PingMirror = (url: string) => Promise<{ status: number; isRegistry: boolean } | undefined>;

export async function checkMirror({ mirror, registries }: MirrorQuestion, ping: PingMirror): Promise<Finding> {
  const { ok, fail } = named('mirror');
  const looping = registries.find(({ url }) => url !== undefined && leadsTo(url, mirror));
  if (looping !== undefined) {
    return fail(
      `the address of ${looping.registry} is this mirror itself (${looping.url}): requests would go round`,
      `set the registry's own address under registry: ${looping.registry} in /etc/shoal/agent.yaml (or --registry ${looping.registry}=URL)`,
    );
  }
  const url = `http://${reachable(mirror)}/v2/`;
  const answer = await ping(url);
  if (answer === undefined) {
    return fail(
      `GET ${url} gets no answer`,
      'see the log (journalctl -u shoal-agent) and restart: systemctl restart shoal-agent',
    );
  }
  if (answer.status !== 200 || !answer.isRegistry) {
    return fail(
      `GET ${url} answers ${answer.status}${answer.isRegistry ? '' : ', and not like a registry'}`,
      'see which program listens there (ss -ltnp); give the agent another mirror: in /etc/shoal/agent.yaml',
    );
  }
  return ok(`GET ${url} answers 200`);
}

function reachable(mirror: string): string {
  return mirror.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:');
}

function leadsTo(address: string, mirror: string): boolean {
  const url = URL.parse(address);
  const own = URL.parse(`http://${mirror}`);
  if (url === null || own === null || portOf(url) !== portOf(own)) return false;
  const [host, ownHost] = [bare(url), bare(own)];
  return host === ownHost || (isLoopbackHost(host) && (isLoopbackHost(ownHost) || isWildcardHost(ownHost)));
}

function portOf({ port, protocol }: URL): string {
  return port !== '' ? port : protocol === 'https:' ? '443' : '80';
}

function bare({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}
