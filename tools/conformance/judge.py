"""Compares the outcomes of a test suite against redis-server and against Pinion; see client-suites."""

import collections
import re
import sys
import xml.etree.ElementTree

# What the server answers to a command of a later version: tests that need one are left out.
LATER = re.compile(r"is not served yet")


def of_pytest(path):
    """Outcomes of a JUnit file: by test, "ok", "skip" or "err", and the text of a failure."""
    outcomes = {}
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        name, outcome, text = f"{case.get('classname')}::{case.get('name')}", "ok", ""
        for child in case:
            if child.tag in ("failure", "error"):
                outcome, text = "err", (child.get("message") or "") + (child.text or "")
            elif child.tag == "skipped":
                outcome = "skip"
        outcomes[name] = (outcome, text)
    return outcomes


def of_cargo(path):
    """The same of the output of cargo test, in which the text of a failure follows `---- name stdout ----`."""
    text = open(path, encoding="utf-8", errors="replace").read()
    failures = dict(re.findall(r"^---- (\S+) stdout ----\n(.*?)(?=^---- |^failures:)", text, re.M | re.S))
    outcomes = {}
    for name, outcome in re.findall(r"^test (\S+).*? \.\.\. (ok|FAILED|ignored)", text, re.M):
        kind = {"ok": "ok", "FAILED": "err", "ignored": "skip"}[outcome]
        outcomes[name] = (kind, failures.get(name, ""))
    return outcomes


def expected_of(path, suite):
    """Tests of the list, with their reasons: `## reason` above lines of suite, tab, test."""
    expected, reason = {}, None
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        line = line.rstrip("\n")
        if line.startswith("## "):
            reason = line[3:]
        elif line and not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 2 or reason is None:
                sys.exit(f"{path}: line {number}: not <suite> tab <test> under a reason")
            if fields[0] == suite:
                expected[fields[1]] = reason
    return expected


def main():
    arguments = sys.argv[1:]
    listing = arguments[0] == "--list"
    suite, oracle, pinion, expected = arguments[1:] if listing else arguments
    read = of_pytest if oracle.endswith(".xml") else of_cargo
    oracle, pinion, expected = read(oracle), read(pinion), expected_of(expected, suite)
    counts, reasons, bad = collections.Counter(), collections.Counter(), 0
    for name, (outcome, _) in sorted(oracle.items()):
        if outcome != "ok":
            counts["does not pass against redis-server"] += 1
            continue
        here, text = pinion.get(name, ("err", "it did not run"))
        if here == "ok":
            counts["passed"] += 1
            if name in expected:
                bad += 1
                print(f"PASSES, take it off the list\t{suite}\t{name}")
        elif here == "err" and LATER.search(text):
            counts["left out"] += 1
            reasons["needs a command of a later version"] += 1
        elif name in expected:
            counts["left out"] += 1
            reasons[expected[name]] += 1
        else:
            bad += 1
            last = [line for line in text.strip().splitlines() if line.strip()] or ["skipped here, not there"]
            print(f"{suite}\t{name}" if listing else f"FAILED\t{suite}\t{name}\t{last[0][:160]}")
    for reason, count in reasons.most_common():
        print(f"{count:5}  {reason}")
    share = 100 * counts["left out"] / max(1, counts["left out"] + counts["passed"])
    print(f"{suite}: {counts['passed']} passed, {counts['left out']} left out ({share:.0f} %), {bad} wrong; "
          f"{counts['does not pass against redis-server']} do not pass against redis-server either")
    sys.exit(bad > 0 and not listing or counts["passed"] == 0)


main()
