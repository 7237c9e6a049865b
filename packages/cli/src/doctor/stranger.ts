import type { Stranger } from './facts.ts';

/** Who speaks another language, and which. */
export function strangerText({ peerId, host, versions }: Stranger): string {
  const who = peerId === undefined ? `an agent at ${host}` : `member ${peerId} at ${host}`;
  return `${who} speaks ${versions === undefined ? 'a version that it does not tell' : versions.join(', ')}`;
}
