/** The shortest time in which a blob can reach everybody, whoever decides. */

/**
 * In seconds: the origin must send every byte once, every node must receive every byte, and while the number of holders of a
 * piece can only double, the last pieces need a logarithm of further steps (which is known to hold exactly when the origin's
 * link is like the nodes').
 */
export function boundSeconds(plan: {
  nodes: number;
  blobBytes: number;
  pieces: number;
  link: number;
  originLink: number;
}): number {
  const { nodes, blobBytes, pieces, link, originLink } = plan;
  const bits = 8 * blobBytes;
  const oneLink = bits / link;
  const doubling = link === originLink ? oneLink * (1 + Math.floor(Math.log2(nodes)) / pieces) : 0;
  return Math.max(bits / originLink, oneLink, doubling);
}
