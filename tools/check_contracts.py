"""Hold the code against the committed contracts: enum values, legality, heads, schema, and all that is built on them.

Exit codes: 0 in order, 1 drift, 2 wrong usage.
"""

import argparse
import sys
from pathlib import Path

import contract_lock

HOW_TO_BUMP = f"""
If the change is meant, raise CONTRACTS_VERSION in leyline_types/contracts.py (not for {contract_lock.PAGE.name} alone),
run `python tools/check_contracts.py --write`, which writes {contract_lock.LOCK},
and note the change in CHANGELOG.md: policies trained before it are refused."""


def main() -> int:
    """Parse the command line, check or write, print what drifted."""
    options = _parse_options()
    sys.path[:0] = [str(source) for source in sorted(options.root.glob("packages/*/src"))]
    if options.write:
        lines = contract_lock.write(options.root)
    else:
        lines = contract_lock.check(options.root)
        if not lines and not options.pure:
            import contract_consumers  # here because it needs torch and all packages

            lines = contract_consumers.check()
    for line in lines:
        print(line)
    if lines:
        print(HOW_TO_BUMP)
    return 1 if lines else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="report drift (the default)")
    action.add_argument("--write", action="store_true", help="write the lock file and OBSERVATION.md")
    parser.add_argument(
        "--pure", action="store_true", help="check only what needs the standard library alone"
    )
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the workspace")
    options = parser.parse_args()
    options.root = options.root.resolve()
    if not (options.root / contract_lock.LEYLINE / "src").is_dir():
        parser.error(f"--root {options.root} holds no {contract_lock.LEYLINE}/src")
    return options


if __name__ == "__main__":
    sys.exit(main())
