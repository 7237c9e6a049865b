/**
 * The programs behind the commands. They are loaded when their command runs: `--help` is quick, and a tracker does not
 * carry an agent's memory.
 */
export interface Programs {
  agent(): Promise<typeof import('@shoal/agent')>;
  tracker(): Promise<typeof import('@shoal/tracker')>;
}

export const realPrograms: Programs = {
  agent: () => import('@shoal/agent'),
  tracker: () => import('@shoal/tracker'),
};
