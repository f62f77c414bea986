import type { Calendar } from './methods.js';

export const DAY_SECONDS = 86_400;
export const WEEK_DAYS = 7;
/** Steps of a day below which its course says nothing. */
const STEPS_MIN = 4;

/**
 * The hours of the day, weekdays and weekend apart, when the shortest season is the day: known after a few days, while the
 * season of a week takes weeks. Days are those of UTC.
 */
export function calendarOf(
  seasons: readonly number[],
  skipped: number,
  { startSeconds, stepSeconds }: { startSeconds?: number; stepSeconds?: number },
): Calendar | null {
  if (startSeconds === undefined || stepSeconds === undefined || !(stepSeconds > 0)) return null;
  const day = DAY_SECONDS / stepSeconds;
  if (!Number.isInteger(day) || day < STEPS_MIN || seasons[0] !== day) return null;
  const first = startSeconds + skipped * stepSeconds;
  const placeOf = (index: number): number => {
    const seconds = first + index * stepSeconds;
    const date = Math.floor(seconds / DAY_SECONDS);
    // 1 January 1970 was a Thursday: days 2 and 3 of each seven from then are Saturday and Sunday.
    const weekday = ((date % WEEK_DAYS) + WEEK_DAYS) % WEEK_DAYS;
    const place = Math.min(day - 1, Math.floor((seconds - date * DAY_SECONDS) / stepSeconds));
    return weekday === 2 || weekday === 3 ? day + place : place;
  };
  return { name: 'weekdays and weekends', cycle: WEEK_DAYS * day, places: 2 * day, placeOf };
}
