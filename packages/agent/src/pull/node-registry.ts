/**
 * `localhost:5000` is another registry on every node. What it has goes by a name that only this node uses, so that no other
 * one is asked for it, and none gets it.
 */
import { hash } from 'node:crypto';
import { isThisMachine } from '@shoal/oci';

const ID_LENGTH = 32;

/** The name under which this agent keeps and trades what a registry has. @param registry a normalised host */
export function sharedNameOf(registry: string, peerId: string): string {
  if (!isThisMachine(registry)) return registry;
  const { hostname, port } = new URL(`http://${registry}`);
  // Only the brackets and colons of [::1] have no place in a name.
  const name = `${hostname.replace(/[[\]:]/g, '')}.${hash('sha256', peerId).slice(0, ID_LENGTH)}.node`;
  return port === '' ? name : `${name}:${port}`;
}
