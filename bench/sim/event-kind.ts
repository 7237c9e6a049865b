/** What the timeline's numbers stand for; 0 is its own. */
export const TICK = 1;
/** The window in which a node gathers new pieces ends. */
export const WINDOW = 2;
/** What a node has gathered reaches its neighbours of its own zone, or of other zones, or all of them. */
export const HAVES_NEAR = 3;
export const HAVES_FAR = 4;
export const HAVES = 5;
export const REQUEST = 6;
export const UPLINK = 7;
export const ARRIVAL = 8;
export const REFUSAL = 9;
export const CANCEL = 10;
export const ORIGIN_LINK = 11;
export const ORIGIN_PIECE = 12;
