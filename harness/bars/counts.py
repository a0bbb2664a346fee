# Counts the words of gates whose answer is known: python3 counts.py one|budget|all FILE …; .ci/gate-bars calls it.
import glob
import json
import os
import sys

HOP = "in->forward"


def judged(report):
    return [v for v in report["verdicts"] if not v.get("reported_only")]


def place(verdict):
    return " ".join(dict.fromkeys([verdict["hop"], verdict["of"], verdict["quantile"]]))


def one(path):
    """One gate in a line: its word, how long it took, and what did not pass."""
    report = json.load(open(path))
    verdicts = judged(report)
    others = [
        f"{place(v)} {v['word']}({v['reason'] if v['word'] == 'INCONCLUSIVE' else ''})"
        for v in verdicts
        if v["word"] not in ("PASS", "PASS_CLEAN")
    ]
    name = os.path.basename(path).removesuffix(".json")
    print(f"{name:24} {report['word']:13} {report['took_s']:5.0f} s  {'; '.join(others)}", flush=True)


def budget(path, share):
    """A budget.toml at a share of the truth: service and sojourn of a hop each, and from end to end."""
    run = json.load(open(path))["runs"][0]
    truth = {(s["hop"], s["of"]): s["clean"]["p99"] for s in run["spans"]}
    limit = lambda hop, of: f"{round(truth[hop, of] * float(share))}ns"
    print(f'[slo]\np99 = "{limit("end_to_end", "end_to_end")}"\n')
    print(f'[hop."{HOP}"]\nof = "service"\np99 = "{limit(HOP, "service")}"\n')
    print(f'[hop."forward->out"]\nof = "sojourn"\np99 = "{limit("forward->out", "sojourn")}"')


def together(truth, gate):
    """Whether both had their cores at the same distance: what a cache line took between them differs by no more than 1.75."""
    runs = [run for path in (truth, gate) for run in json.load(open(path))["runs"]]
    took = {}
    for pair in (pair for run in runs for pair in run.get("cores_apart", [])):
        took.setdefault(tuple(pair["cores"]), []).extend([pair["before_ns"], pair["after_ns"]])
    for cores, spans in took.items():
        if max(spans) > 1.75 * min(spans):
            print(f"    the host moved cores {cores}: {min(spans)} to {max(spans)} ns apart")
            sys.exit(1)


def planted(takes, share):
    """A budget.toml for a stage that is known to take so long (in us), at a share of it."""
    limit = round(float(takes.removesuffix("us")) * 1000 * float(share))
    print(f'[hop."{HOP}"]\nof = "service"\np99 = "{limit}ns"')


def all_of(out):
    """The counts."""
    read = lambda pattern: [json.load(open(p)) for p in sorted(glob.glob(f"{out}/{pattern}")) if os.path.getsize(p)]
    for name in ("identical-quiet", "identical-stress"):
        gates = read(f"{name}-*.json")
        words = [g["word"] for g in gates]
        if gates:
            took = sorted(g["took_s"] for g in gates)
            metrics = [v["word"] for g in gates for v in judged(g)]
            print(
                f"{name}: {words.count('PASS')} of {len(words)} PASS, {words.count('FAIL')} FAIL;"
                f" of {len(metrics)} metrics {metrics.count('PASS')} PASS, {metrics.count('FAIL')} FAIL;"
                f" took {took[0]:.0f} to {took[-1]:.0f} s"
            )
    for name in ("slower-quiet", "slower-stress"):
        gates = read(f"{name}-*.json")
        if gates:
            service = lambda g: {(v["hop"], v["quantile"]): v["word"] for v in judged(g) if v["of"] == "service"}
            named = sum("FAIL" in [w for (h, _), w in service(g).items() if h == HOP] for g in gates)
            passed = sum("PASS" in [w for (h, _), w in service(g).items() if h == HOP] for g in gates)
            others = sum("FAIL" in [w for (h, _), w in service(g).items() if h != HOP] for g in gates)
            took = sorted(g["took_s"] for g in gates)
            print(
                f"{name}: FAIL on the service of {HOP} in {named} of {len(gates)}, PASS on it in {passed},"
                f" FAIL on another's service in {others}; took {took[0]:.0f} to {took[-1]:.0f} s"
            )
    for share, right in (("0.8", ("FAIL",)), ("1.2", ("PASS", "PASS_CLEAN"))):
        for kind in ("budget", "planted"):
            gates = read(f"{kind}-*-{share}.json")
            for of in ("service", "sojourn", "end_to_end"):
                words = [v["word"] for g in gates for v in judged(g) if v["of"] == of and v["quantile"] == "p99"]
                if words:
                    unclear = words.count("INCONCLUSIVE")
                    good = sum(w in right for w in words)
                    print(f"{kind} at {share} of the truth, {of}: {good} right, {unclear} undecided, {len(words) - good - unclear} wrong")
    near = [v["word"] for g in read("*-0.96.json") + read("*-1.04.json") for v in judged(g)]
    if near:
        print(f"budget within 5 % of the truth: {near.count('INCONCLUSIVE')} of {len(near)} INCONCLUSIVE; {dict((w, near.count(w)) for w in set(near))}")


command, arguments = sys.argv[1], sys.argv[2:]
{"one": one, "budget": budget, "planted": planted, "together": together, "all": all_of}[command](*arguments)
