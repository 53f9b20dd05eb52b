"""Everything that the tests of checkpoints sample, in full, with counts.

All of it, or the sections that are named::

    python tests/persistence/harness/full.py [kills] [power] [broken] [errors] [disks] [races] [damage] [forged]
                                             [unfinished] [fuzz] [guided] [fits] [resumed] [results]

A section is a function in `SECTIONS` that prints what it did and says whether all was well. To add one, add it there.
Sections take from seconds to minutes; the exit status is 0 where all were well.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import damage
import failures
import golden
import kills
import power
import races
from lives import told, wrong


def _of_kills() -> bool:
    return all([_said(kind, kills.kills(full=True, only=kind)) for kind in kills.KINDS])


def _of_power_losses() -> bool:
    return _said("power losses", power.power_loss(full=True))


def _of_broken_protocols() -> bool:
    """What is wrong has to be found."""
    found = []
    for variant in power.BROKEN:
        counts = power.losses_of(variant, full=True)
        print(f"  {variant}: {told(counts)}")
        found.append(wrong(counts) > 0)
    for variant in failures.BROKEN:
        kind, counts = failures.errors_of(variant, full=True)
        print(f"  {variant}: {counts['states']:,} states, {counts[kind]:,} {kind}")
        found.append(counts[kind] > 0)
    return all(found)


def _of_errors() -> bool:
    return all([_said(kind, failures.failures(full=True, only=kind)) for kind in failures.KINDS])


def _of_real_disks() -> bool:
    results = [
        ("a file that may not grow", failures.in_a_child(failures.limited_in_size) == 0),
        ("a folder without permission", failures.in_a_child(failures.without_permission) == 0),
    ]
    outcomes = [*((name, "passed" if passed else "FAILED") for name, passed in results), *failures.mounted()]
    for name, what in outcomes:
        print(f"  {name}: {what}")
    return not any(what.startswith("FAILED") for _, what in outcomes)


def _of_races() -> bool:
    counts = races.races(full=True)
    print(f"  {', '.join(f'{number} {kind}' for kind, number in counts.items())}")
    return not any(number for kind, number in counts.items() if kind != "races")


def _of_damage() -> bool:
    print(f"  a file of {len(damage.small()):,} bytes")
    well = []
    with damage.overheard() as events:
        for of in (damage.of_a_file, damage.of_a_generation):
            well += [_refused(kind, counts) for kind, counts in of(full=True).items()]
        well.append(_refused("malformed files", Counter(damage.outcome(make()) for make in damage.MALFORMED.values())))
    for name, make in {**damage.MALFORMED, **damage.BOMBS}.items():
        seconds, growth, what = damage.cost(make())
        if name in damage.BOMBS:
            print(f"  {name}: {what} after {seconds:.2f} s, {growth / 2**20:+.1f} MiB beside the file")
        well.append(what == "refused" and growth <= 64 * 2**20 and seconds < 5)
    return _heard(events) and all(well)


def _of_forgeries() -> bool:
    manifests: Counter[str] = Counter()
    arrays: Counter[str] = Counter()
    nonsense = []
    with damage.overheard() as events:
        models = (damage.small(), *(path.read_bytes() for path in sorted(golden.FOLDER.glob("*.safetensors"))))
        kinds = [*((one, damage.read_back) for one in models), (golden.SELECTION.read_bytes(), damage.read_selection)]
        for content, read_as in kinds:
            counts, read = damage.nonsense(content, max(1, len(content) // 4000), read_as)
            manifests.update(counts)
            nonsense += read
            arrays.update(damage.outcome(bad, read_as) for *_, bad in damage.forged_arrays(content))
    print(f"  parts of manifests: {dict(manifests)}, of which {len(nonsense)} of another type were read")
    print(f"  arrays: {dict(arrays)}")
    return _heard(events) and not nonsense and set(manifests | arrays) <= {"refused", "read"}


def _of_mutations() -> bool:
    with damage.overheard() as events:
        counts = damage.fuzzed(100_000)
    print(f"  mutations: {dict(counts)}")
    return _heard(events) and set(counts) <= {"refused", "read"}


def _of_guided_mutations() -> bool:
    if importlib.util.find_spec("atheris") is None:
        print("  skipped: atheris is not installed")
        return True
    command = [sys.executable, str(Path(__file__).with_name("guided.py")), "-runs=100000"]
    done = subprocess.run(command, capture_output=True, text=True)
    print("\n".join(f"  {line}" for line in done.stderr.splitlines()[-(1 if not done.returncode else 30) :]))
    return done.returncode == 0


def _of_fits() -> bool:
    killed_fits = Path(__file__).with_name("killed_fits.py")
    done = subprocess.run([sys.executable, str(killed_fits), "1000"], capture_output=True, text=True)
    print("\n".join(f"  {line.strip()}" for line in (done.stdout + done.stderr).splitlines()))
    return done.returncode == 0


def _of_resumed() -> bool:
    return _tests("test_resuming.py", "-k", "same_bits or exactly_once", STREAMGMM_RESUMED="300", STREAMGMM_FED="100")


def _of_results() -> bool:
    return _tests("../results", RESULT_KILLS="200")


def _tests(path: str, *options: str, **environment: str) -> bool:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-s",
        "-n0",
        "-m",
        "",
        str(Path(__file__).parent.parent / path),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    print("\n".join(f"  {line}" for line in done.stdout.splitlines() if line.strip(".FsxE ")))
    return done.returncode == 0


def _of_unfinished_fits() -> bool:
    manifests: Counter[str] = Counter()
    arrays: Counter[str] = Counter()
    nonsense = []
    contents = list(damage.unfinished())
    with damage.overheard() as events:
        for content, read in contents:
            counts, taken = damage.nonsense(content, max(1, len(content) // 2000), read)
            manifests.update(counts)
            nonsense += taken
            arrays.update(damage.outcome(bad, read) for *_, bad in damage.forged_arrays(content))
    print(f"  parts of manifests: {dict(manifests)}, of which {len(nonsense)} of another type were read {nonsense[:3]}")
    print(f"  arrays: {dict(arrays)}")
    return _heard(events) and not nonsense and set(manifests | arrays) <= {"refused", "read"}


SECTIONS: dict[str, Callable[[], bool]] = {
    "kills": _of_kills,
    "power": _of_power_losses,
    "broken": _of_broken_protocols,
    "errors": _of_errors,
    "disks": _of_real_disks,
    "races": _of_races,
    "damage": _of_damage,
    "forged": _of_forgeries,
    "unfinished": _of_unfinished_fits,
    "fuzz": _of_mutations,
    "guided": _of_guided_mutations,
    "fits": _of_fits,
    "resumed": _of_resumed,
    "results": _of_results,
}


def _said(kind: str, counts: Counter[str]) -> bool:
    print(f"  {kind}: {told(counts)}")
    return counts["states"] > 0 and not wrong(counts)


def _refused(kind: str, counts: Counter[str]) -> bool:
    print(f"  {kind}: {dict(counts)}")
    return set(counts) == {"refused"}


def _heard(events: list[str]) -> bool:
    print(f"  executed, imported or started meanwhile: {len(events)} {sorted(set(events)) or ''}")
    return not events


def main(names: list[str]) -> int:
    """Run sections; 0 where all were well."""
    well = True
    for name in names or SECTIONS:
        begin = time.perf_counter()
        print(f"{name}:", flush=True)
        passed = SECTIONS[name]()
        well &= passed
        print(f"  {'passed' if passed else 'FAILED'} in {time.perf_counter() - begin:.0f} s", flush=True)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
