import { isNodeName } from '@shoal/wire';

/** The host's name as it can name a node. */
export function nameOfHost(host: string): string {
  const name = host
    .slice(0, 64)
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replaceAll(/^[._-]+|[._-]+$/g, '');
  return isNodeName(name) ? name : 'node';
}
