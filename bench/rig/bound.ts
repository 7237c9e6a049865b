/**
 * The least time in which N nodes can have an image of F bytes in M pieces, when one origin and every node send and
 * receive u bytes per second: the origin needs F/u to read it out once, and the last piece of those still has to double
 * its holders ⌊log₂ N⌋ times, F/(u·M) each.
 */
export interface BoundInput {
  readonly imageBytes: number;
  readonly pieces: number;
  readonly nodes: number;
  /** u, as payload. */
  readonly bytesPerSecond: number;
}

export function boundSeconds({ imageBytes, pieces, nodes, bytesPerSecond }: BoundInput): number {
  return (imageBytes / bytesPerSecond) * (1 + Math.floor(Math.log2(nodes)) / pieces);
}
