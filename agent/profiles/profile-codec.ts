import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { Packr } from 'msgpackr';
import { LIMITS } from '../../protocol/limits.js';
import { type Profile, readProfile } from '../../protocol/profile.js';

const packr = new Packr({ useRecords: false, moreTypes: false });
/** Names and numbers grow by less than this when they are unpacked. */
const UNPACKED_BYTES_MAX = 4 * LIMITS.profileBytesMax;

export function encodeProfile(profile: Profile): Buffer {
  return deflateRawSync(packr.pack(profile), { level: 1 });
}

/** Throws when it is none. */
export function decodeProfile(bytes: Buffer): Profile {
  return readProfile(packr.unpack(inflateRawSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX })));
}
