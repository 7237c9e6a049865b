/**
 * The origin client marks what it sends with this pseudonym. A request that carries it and reaches a mirror would go
 * round for ever, because some registry's address leads back to an agent.
 */
const PSEUDONYM = 'shoal';

/** Whether `Via` (RFC 9110 §7.6.3) says that an agent has already passed this request on. */
export function hasPassedAgent(via: string | undefined): boolean {
  if (via === undefined) return false;
  return via.split(',').some((hop) => hop.trim().split(/\s+/, 2)[1]?.toLowerCase() === PSEUDONYM);
}
