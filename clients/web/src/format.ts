const units = ["bytes", "KB", "MB", "GB", "TB"] as const;

/** Formats a size: `1 byte`, `258 KB`, `1.4 GB`. A KB has 1000 bytes, as in file managers. */
export function formatBytes(sizeBytes: number | bigint): string {
  let size = Number(sizeBytes);
  if (size === 1) return "1 byte";
  let unit = 0;
  // A value that would be rounded to 1000 uses the next unit.
  while (size >= (unit === 0 ? 1000 : 999.5) && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && size < 9.95 ? 1 : 0;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** Formats a number of files: `1 file`, `12 files`. */
export function formatFiles(count: number): string {
  return count === 1 ? "1 file" : `${count} files`;
}

/** Formats a percentage, rounded down so that 100 % means complete. */
export function formatPercent(done: number, total: number): string {
  if (total <= 0) return "0 %";
  return `${Math.floor((Math.min(done, total) / total) * 100)} %`;
}
