// How a link is narrowed to a rate: a token bucket (`tc tbf`), one at each of its two ends, so one for each direction.

/**
 * One packet as the kernel hands it down may be 64 KiB, to be cut later by the card; a smaller bucket would make the
 * kernel cut it here, at much more CPU per byte.
 */
const BURST_BYTES = 70_000;
/**
 * What waits for its turn, like the buffer of a switch: longer, and requests would stand behind data for too long;
 * shorter, and two flows that meet would drive each other into timeouts.
 */
const LONGEST_WAIT_MS = 50;

/** Arguments after `tc qdisc replace dev DEVICE root`. */
export function shapeArguments(bitsPerSecond: number): string[] {
  return ['tbf', 'rate', `${bitsPerSecond}bit`, 'burst', `${BURST_BYTES}`, 'latency', `${LONGEST_WAIT_MS}ms`];
}
