/** What a host says of its RDMA: its reason is for people. */
export interface RdmaAbility {
  /** The IP address whose port can be used; null when there is none. */
  address: string | null;
  /** Which device, or why there is none. */
  reason: string;
}

export interface CarrierChoice {
  carrier: 'tcp' | 'verbs';
  reason: string;
}

/**
 * The carrier of a pair of hosts: verbs where both can and may, over addresses of one family, unless it has just failed.
 * `failed` says how, as long as it is not to be tried again.
 */
export function chooseCarrier(ours: RdmaAbility, theirs: RdmaAbility, failed: string | null): CarrierChoice {
  const tcp = (reason: string): CarrierChoice => ({ carrier: 'tcp', reason });
  if (ours.address === null) return tcp(`this host: ${ours.reason}`);
  if (theirs.address === null) return tcp(`the other host: ${theirs.reason}`);
  if (isV6(ours.address) !== isV6(theirs.address)) return tcp('the RDMA addresses are of different families');
  if (failed !== null) return tcp(`RDMA failed and is tried again later: ${failed}`);
  return { carrier: 'verbs', reason: `both hosts have RDMA: ${ours.reason}, ${theirs.reason}` };
}

function isV6(address: string): boolean {
  return address.includes(':');
}
