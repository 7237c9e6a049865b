/**
 * Who reads which run when there is no tracker to say so: for every run the members that want the blob are ranked by a hash
 * of member, blob and run, so agents that know each other agree without a word.
 */

/** This member's place for the run among `others` and itself; 0 is the one that should read it. */
export function rankFor(run: number, blob: string, self: string, others: Iterable<string>): number {
  const own = weigh(run, blob, self);
  let rank = 0;
  for (const other of others) if (weigh(run, blob, other) > own) rank++;
  return rank;
}

/** FNV-1a over the three, with a final mix so that the last characters reach every bit. */
function weigh(run: number, blob: string, member: string): number {
  let hash = 0x811c9dc5;
  const mix = (code: number): void => {
    hash = Math.imul(hash ^ code, 0x01000193);
  };
  for (let at = 0; at < member.length; at++) mix(member.charCodeAt(at));
  mix(run & 0xff);
  mix((run >> 8) & 0xff);
  mix(run >> 16);
  for (let at = 0; at < blob.length; at++) mix(blob.charCodeAt(at));
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
