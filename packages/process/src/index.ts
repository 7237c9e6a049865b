/** What every process of ours tells of itself: agent and tracker alike, which import nothing of each other. */
export { observeProcess } from './observe-process.ts';
