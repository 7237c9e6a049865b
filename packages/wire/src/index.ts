/** What travels between agents, and between an agent and the tracker. Pure. */
export * from './tracker-api.ts';
