/** What travels between agents, and between an agent and the tracker. Pure. */

export * from './attestation.ts';
export * from './control-frame.ts';
export * from './dial-back-frame.ts';
export { FrameAssembler, FrameError, type FrameErrorCode } from './frame.ts';
export { formatJoinToken, type JoinToken, parseJoinToken } from './join-token.ts';
export * from './node-report.ts';
export { ed25519KeyOfPeerId, peerIdOfEd25519Key } from './peer-id-key.ts';
export * from './piece-frame.ts';
export * from './prefetch-api.ts';
export * from './tracker-api.ts';
