"""What the benches in Python share: samples, rows, the table, the JSON file of README.md."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def quartiles(samples):
    """Median and quartiles of some numbers, as README.md wants them."""
    samples = sorted(samples)
    if len(samples) == 1:
        low = high = samples[0]
    else:
        low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return {
        "median": round(statistics.median(samples), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "n": len(samples),
    }


def met(row):
    """Whether a row's bar is met; None where it has none, or cannot be known."""
    bar = row.get("bar")
    if not bar:
        return None
    value = ratio(row) if bar["of"] == "ratio" else row["ours"]["median"]
    if value is None:
        return None
    return value <= bar["at_most"] if "at_most" in bar else value >= bar["at_least"]


def ratio(row):
    """Ours by theirs."""
    theirs = row.get("theirs")
    return row["ours"]["median"] / theirs["median"] if theirs and theirs["median"] else None


def number(value):
    """Short, and never in scientific notation."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 10 else 3
    return f"{value:.{digits}f}"


def spread(cell, unit):
    """`4.10 ms (3.90 to 4.60)`."""
    if not cell:
        return ""
    text = f"{number(cell['median'])} {unit}".strip()
    if cell.get("n", 1) > 1:
        text += f" ({number(cell['low'])} to {number(cell['high'])})"
    return text


def bar_text(bar):
    if not bar:
        return ""
    sign, value = ("≤", bar["at_most"]) if "at_most" in bar else ("≥", bar["at_least"])
    return f"{sign} {number(value)}" + ("×" if bar["of"] == "ratio" else "")


HEAD = ["what", "ours", "peer", "theirs", "ratio", "bar", "met"]


def cells(row):
    """A row as the text of its cells."""
    result = met(row)
    by = ratio(row)
    return [
        row["what"],
        spread(row["ours"], row["unit"]),
        row.get("peer", ""),
        spread(row.get("theirs"), row["unit"]),
        f"{number(by)}×" if by is not None else "",
        bar_text(row.get("bar")),
        {True: "yes", False: "NO", None: ""}[result],
    ]


def table(rows, head=None):
    """Aligned text."""
    lines = [head or HEAD] + rows
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


class Bench:
    """One bench: its arguments, its temporary world, its rows."""

    def __init__(self, tool, doc="", arguments=None):
        parser = argparse.ArgumentParser(description=doc)
        parser.add_argument("--json", metavar="FILE", help="write the results there")
        parser.add_argument("--quick", action="store_true", help="fewer samples, for trying the bench itself")
        if arguments:
            arguments(parser)
        self.args = parser.parse_args()
        self.tool = tool
        self.rows = []
        self.growth = []
        self.peers = {}
        self.bin = os.path.abspath(os.environ.get("AGOR_BIN") or os.path.join(top(), "target/agor/bin"))
        self.dir = tempfile.mkdtemp(prefix="agor-bench.")
        os.mkdir(os.path.join(self.dir, "data"), 0o700)
        os.mkdir(os.path.join(self.dir, "home"), 0o700)
        keep = ("LANG", "TERM", "USER", "LOGNAME")
        self.env = {key: os.environ[key] for key in keep if key in os.environ}
        self.env.update(
            PATH=self.bin + ":" + os.environ.get("PATH", "/usr/bin:/bin"),
            HOME=os.path.join(self.dir, "home"),
            AGOR_DATA_DIR=os.path.join(self.dir, "data"),
        )

    def path(self, *below):
        return os.path.join(self.dir, *below)

    def run(self, *command, **options):
        """Runs a command of the bench; one that fails ends it."""
        options.setdefault("env", self.env)
        options.setdefault("stdout", subprocess.DEVNULL)
        return subprocess.run([str(word) for word in command], check=True, **options)

    def peer(self, program, version=None):
        """Whether a peer is there, and which version of it."""
        if not shutil.which(program, path=self.env["PATH"]):
            self.skip(f"{program} is not installed")
            return False
        self.peers[program] = version or debian_version(program)
        return True

    def skip(self, why):
        print(f"{self.tool}: skipped: {why}", file=sys.stderr)

    def sample(self, candidates, n, warm=2):
        """Milliseconds of each of {name: callable}, n times, in turn, so that noise meets all alike."""
        n = max(3, n // 10) if self.args.quick else n
        samples = {name: [] for name in candidates}
        names = list(candidates)
        for turn in range(n + warm):
            # Another one first each time: what runs after a peer's fsync must not always be the same.
            start = turn % len(names)
            for name in names[start:] + names[:start]:
                call = candidates[name]
                began = time.perf_counter_ns()
                call()
                taken = (time.perf_counter_ns() - began) / 1e6
                if turn >= warm:
                    samples[name].append(taken)
        return samples

    def row(self, what, ours, unit="ms", theirs=None, peer=None, bar=None, better="lower", note=""):
        """Adds a row; ours and theirs are lists of samples."""
        row = {"what": what, "unit": unit, "better": better, "ours": quartiles(ours)}
        if theirs:
            row.update(peer=peer, theirs=quartiles(theirs))
        if bar:
            row["bar"] = bar
        if note:
            row["note"] = note
        self.rows.append(row)
        print(table([cells(row)]), file=sys.stderr)

    def grow(self, what, over, points, unit="ms", note=""):
        """Adds how a cost grows: [(size, value), …]."""
        entry = {"what": what, "over": over, "unit": unit, "points": [[n, round(v, 4)] for n, v in points]}
        if note:
            entry["note"] = note
        self.growth.append(entry)

    def finish(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        result = {"schema": 1, "tool": self.tool, "peers": self.peers, "rows": self.rows, "growth": self.growth}
        if self.args.json:
            with open(self.args.json, "w", encoding="utf-8") as file:
                json.dump(result, file, indent=1)
        if self.rows:
            print(table([cells(row) for row in self.rows]))
        for entry in self.growth:
            print(f"{entry['what']} [{entry['unit']}] by {entry['over']}: " +
                  ", ".join(f"{number(n)}: {number(v)}" for n, v in entry["points"]))


def top():
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def debian_version(program):
    """The version of the Debian package that a program is from, else `?`."""
    path = os.path.realpath(shutil.which(program) or program)
    for candidate in (path, path.removeprefix("/usr")):
        owner = subprocess.run(["dpkg", "-S", candidate], capture_output=True, text=True, check=False).stdout
        if owner:
            package = owner.split(":")[0]
            query = ["dpkg-query", "-W", "-f", "${Version}", package]
            return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "?"
    return "?"
