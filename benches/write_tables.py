"""Replaces a benchmark's tables in a document.

    python3 benches/write_tables.py DOCUMENT NAME OUTPUT

The tables are between `<!-- measured: NAME -->` and `<!-- end -->`. In front of them are the machine, the commit and the
date of the measurement.
"""

import datetime
import os
import platform
import re
import subprocess
import sys


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_gib() -> int:
    return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)


def circumstances() -> str:
    changes = output("git", "status", "--porcelain", "--", ":!docs/benchmarks.md")
    commit = output("git", "rev-parse", "--short=10", "HEAD") + (" with changes" if changes else "")
    machine = f"{os.cpu_count()} cores of {processor()}, {memory_gib()} GiB, Linux {platform.release()}"
    rust = output("rustc", "--version").split()[1]
    # A profile that differs from that of releases.
    lto = os.environ.get("CARGO_PROFILE_BENCH_LTO")
    profile = f", `CARGO_PROFILE_BENCH_LTO={lto}`" if lto else ""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"Measured {today} at commit {commit}, Rust {rust}{profile}: {machine}."


def main() -> None:
    document, name, tables = sys.argv[1:]
    with open(tables, encoding="utf-8") as file:
        measured = file.read().strip()
    if "|" not in measured:
        sys.exit(f"{tables} has no table")
    with open(document, encoding="utf-8") as file:
        text = file.read()
    place = re.compile(f"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    new = f"{circumstances()}\n\n{measured}\n"
    text, count = place.subn(lambda match: match[1] + new + match[2], text)
    if count != 1:
        sys.exit(f"{document} has {count} places for {name} instead of one")
    with open(document, "w", encoding="utf-8") as file:
        file.write(text)


main()
