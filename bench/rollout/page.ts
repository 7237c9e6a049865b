import type { RolloutReading } from './rollout.ts';
export function rolloutPage(_reading: RolloutReading): string {
  return '';
}
