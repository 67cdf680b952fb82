#!/usr/bin/env python3
"""Does the net hold? Takes one sync, check, lock or comparison at a time out of the code, and sees whether a test fails.

The list is `list.toml`. Each entry has
  name, what   what is taken out, in a word and in a line
  file         where
  find         the text that is replaced; it occurs exactly once, else the list has fallen behind the code
  replace      by what; nothing, if it is left out
  command      arguments of `cargo test`: the test that should notice
  env          variables for it
  timeout      seconds that the test may take, if it is not 300; a test that hangs has noticed
  survives     why no test can notice, where that is so

It works on HEAD, in a worktree of its own that goes away again. First each command has to pass as the code is. One row for
each entry goes to standard output, as a table for docs/testing.md. Exit code 1: one survived, or the list is wrong.

  tests/mutations/run.py                   all (about an hour on two processors)
  tests/mutations/run.py NAME...           some; a name may be a part of one
  tests/mutations/run.py --shard 1/2       every second one, for two that run side by side
  tests/mutations/run.py --target DIR      where cargo builds, to be kept for the next time and used for nothing else
"""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD_SECONDS_MAX = 1800
TEST_SECONDS_MAX = 300


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(arguments, where, env, seconds_max):
    """Runs a command; its output, and its exit code, which is None if it took too long."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            arguments,
            cwd=where,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = None
        except BaseException:
            # It has a session of its own, so nobody else ends it.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        output.seek(0)
        return output.read().decode(errors="replace"), code


class Net:
    """A worktree, and what cargo makes of it."""

    def __init__(self, tree, target, jobs):
        self.tree = tree
        self.env = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_PROFILE_DEV_DEBUG": "0"}
        self.env |= {"RUST_BACKTRACE": "0"}
        self.jobs = jobs

    def test(self, entry):
        """Builds and runs an entry's tests: what came of it."""
        before, dashes, after = entry["command"].partition(" -- ")
        cargo = ["cargo", "test", "--locked", "-j", str(self.jobs), *shlex.split(before)]
        output, code = run([*cargo, "--no-run"], self.tree, self.env, BUILD_SECONDS_MAX)
        if code != 0:
            return "does not compile", output
        if dashes:
            cargo += ["--", *shlex.split(after)]
        env = {**self.env, **entry.get("env", {})}
        output, code = run(cargo, self.tree, env, entry.get("timeout", TEST_SECONDS_MAX))
        if code == 0:
            return "", output
        failed = re.findall(r"^test (.+?)(?: - should panic)? \.\.\. FAILED$", output, re.MULTILINE)
        # A test that takes the others with it, or hangs, may have said something before.
        failed += re.findall(r"^thread '([a-z]\S+)'(?: \(\d+\))? panicked", output, re.MULTILINE)
        if failed:
            return f"`{failed[0]}`", output
        return ("timed out" if code is None else "the tests died"), output


def text_with(entry, text):
    """The mutated text of a file."""
    count = text.count(entry["find"])
    if count != 1:
        raise SystemExit(f"{entry['name']}: its text occurs {count} times in {entry['file']}, and not once")
    return text.replace(entry["find"], entry.get("replace", ""))


def passes_as_it_is(net, entries):
    """Whether the tests of all entries pass before anything is taken out."""
    known = {(entry["command"], tuple(entry.get("env", {}).items())): entry for entry in entries}
    fine = True
    for entry in known.values():
        verdict, output = net.test(entry)
        say(f"as it is, {entry['command']}: {verdict or 'passes'}")
        if verdict:
            say(output[-4000:])
            fine = False
    return fine


def try_all(net, entries, logs):
    """Tries one entry after the other; whether the net held."""
    caught = survived = 0
    print("| name | taken out | noticed by | s |\n|---|---|---|---|", flush=True)
    for entry in entries:
        path = net.tree / entry["file"]
        original = path.read_text()
        began = time.monotonic()
        path.write_text(text_with(entry, original))
        try:
            verdict, output = net.test(entry)
        finally:
            path.write_text(original)
        if logs:
            (logs / f"{entry['name']}.log").write_text(output)
        seconds = round(time.monotonic() - began)
        is_caught = verdict not in ("", "does not compile")
        expected = "survives" not in entry
        caught += is_caught
        survived += is_caught != expected or verdict == "does not compile"
        if not is_caught:
            excused = not expected and not verdict
            verdict = f"nobody: {entry['survives']}" if excused else f"**{verdict or 'nobody'}**"
        elif not expected:
            verdict += " **though it was said to survive**"
        print(f"| {entry['name']} | {entry['what']} | {verdict} | {seconds} |", flush=True)
        if verdict.startswith("**does not"):
            say(output[-4000:])
    say(f"{len(entries)} tried, {caught} caught, {survived} not as expected")
    return survived == 0


def main():
    # So that what was begun is ended, and the worktree removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--shard", default="1/1")
    parser.add_argument("--target", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--logs", type=Path, help="keep what the tests said in this directory")
    parser.add_argument("--no-baseline", action="store_true", help="the tests are known to pass as the code is")
    arguments = parser.parse_args()
    repository = HERE.parent.parent
    entries = tomllib.loads((HERE / "list.toml").read_text())["mutation"]
    for entry in entries:
        text_with(entry, (repository / entry["file"]).read_text())
    if arguments.names:
        known = {entry["name"] for entry in entries}
        wanted = lambda entry, name: name == entry["name"] or (name not in known and name in entry["name"])
        entries = [entry for entry in entries if any(wanted(entry, name) for name in arguments.names)]
    if not entries:
        parser.error(f"no mutation has such a name: {' '.join(arguments.names)}")
    which, of = map(int, arguments.shard.split("/"))
    entries = entries[which - 1 :: of]
    if arguments.logs:
        arguments.logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="mutations.") as directory:
        tree = Path(directory) / "tree"
        git = ["git", "-C", str(repository), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), "HEAD"], check=True)
        try:
            target = arguments.target.resolve() if arguments.target else Path(directory) / "target"
            net = Net(tree, target, arguments.jobs)
            fine = arguments.no_baseline or passes_as_it_is(net, entries)
            fine = try_all(net, entries, arguments.logs) and fine
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
