import { createHash } from 'node:crypto';
import { MANIFEST_ACCEPT } from '@shoal/oci';

/**
 * A name for everybody who accepts the same: what a registry answers depends on the header, but not on the order or the
 * spelling of what stands in it. Weights count, because a registry may heed them. No header stands for what is then sent.
 */
export function acceptClass(accept: string): string {
  const given = rangesOf(accept);
  const ranges = given.size > 0 ? given : rangesOf(MANIFEST_ACCEPT);
  return createHash('sha256')
    .update([...ranges].sort().join())
    .digest('base64url');
}

function rangesOf(accept: string): Set<string> {
  const ranges = accept.toLowerCase().replaceAll(/\s+/g, '').split(',');
  return new Set(ranges.filter((range) => range !== ''));
}
