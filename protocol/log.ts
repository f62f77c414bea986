/** A piece of the log of an instance or a build, as the coordinator asks an agent for it. */
export interface LogQuestion {
  kind: 'instance' | 'build';
  id: string;
  from: LogFrom;
}

/** The last so many lines and what follows them, or what follows a place. */
export type LogFrom = { tail: number } | LogCursor;

/** A place in a log, which holds across rotations. */
export interface LogCursor {
  /**
   * Which file: its inode and when it was made, since an inode is soon used again. One that is there no more, or never was,
   * stands for the beginning of what is there.
   */
  file: string;
  /** Bytes. */
  position: number;
}

export interface LogPiece {
  /** LIMITS.logPieceBytesMax of them unless the log has no more now. */
  bytes: Uint8Array;
  /** After them; null: there is no log. */
  next: LogCursor | null;
}

export const LOG_BEGINNING: LogCursor = { file: '', position: 0 };
export const LOG_FILE_LENGTH_MAX = 64;
