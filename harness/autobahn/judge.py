"""Judges a report of the Autobahn test suite: red unless every case that was to be run is there and none failed.

Usage: judge.py REPORT [--planted]

REPORT is the index.json that wstest writes. A case that is NON-STRICT breaks no rule that has to be kept and is only told, one that
is INFORMATIONAL says what was seen. The way a connection ends is judged as well: with the right code, and by a close.

With --planted the report, which has to be green, is spoilt in every way that is to be found, and each has to be.
"""

import collections
import copy
import json
import sys

# How many cases each group has in the suite: one that was not run is no pass.
GROUPS = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}

FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}
FINE_CLOSE = {"OK", "INFORMATIONAL"}


def group(case):
    return case.split(".")[0]


def order(case):
    return [int(part) for part in case.split(".")]


def judge(report):
    """What is wrong with it, in words."""
    if len(report) != 1:
        return ["one server is to be in the report, not %d" % len(report)]
    (cases,) = report.values()
    found = []
    counts = collections.Counter(group(case) for case in cases)
    for name, count in GROUPS.items():
        if counts[name] != count:
            found.append("group %s has %d cases, not %d" % (name, counts[name], count))
    for name in sorted(set(counts) - set(GROUPS), key=int):
        found.append("group %s was not asked for" % name)
    for case in sorted(cases, key=order):
        result = cases[case]
        if result.get("behavior") not in FINE:
            found.append("%s: %s" % (case, result.get("behavior")))
        if result.get("behaviorClose") not in FINE_CLOSE:
            found.append("%s ends %s, with code %s" % (case, result.get("behaviorClose"), result.get("remoteCloseCode")))
    return found


def told(report):
    """How many of each group are what, for people."""
    (cases,) = report.values()
    for name in GROUPS:
        results = collections.Counter(result["behavior"] for case, result in cases.items() if group(case) == name)
        yield "group %s: %s" % (name, ", ".join("%d %s" % (count, word) for word, count in sorted(results.items())))
    loose = sorted((case for case, result in cases.items() if result["behavior"] == "NON-STRICT"), key=order)
    if loose:
        yield "not strict: %s" % ", ".join(loose)


def spoilt(report):
    """The report with one fault each, and what it is."""
    (name,) = report
    for case in ("1.1.1", "6.4.1", "7.5.1", "9.3.1", "10.1.1"):
        for word in ("FAILED", "UNIMPLEMENTED"):
            other = copy.deepcopy(report)
            other[name][case]["behavior"] = word
            yield "%s %s" % (case, word), other
        for word in ("FAILED", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT"):
            other = copy.deepcopy(report)
            other[name][case]["behaviorClose"] = word
            yield "%s ends %s" % (case, word), other
        other = copy.deepcopy(report)
        del other[name][case]
        yield "%s was not run" % case, other
        other = copy.deepcopy(report)
        other[name][case] = {}
        yield "%s has no result" % case, other
    yield "no server", {}
    yield "two servers", {name: report[name], "other": report[name]}
    other = copy.deepcopy(report)
    other[name]["12.1.1"] = other[name]["1.1.1"]
    yield "a group that was not asked for", other


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--planted"]):
        sys.exit("usage: judge.py REPORT [--planted]")
    with open(sys.argv[1]) as file:
        report = json.load(file)
    found = judge(report)
    if found:
        sys.exit("\n".join(["the suite found:"] + found))
    if sys.argv[2:]:
        planted = list(spoilt(report))
        missed = [what for what, other in planted if not judge(other)]
        if missed:
            sys.exit("\n".join(["NOT found:"] + missed))
        print("all %d planted faults are found" % len(planted))
    else:
        print("\n".join(told(report)))
        print("none of %d cases failed" % sum(GROUPS.values()))


if __name__ == "__main__":
    main()
