"""`python -m tests.bench [name …]`: runs the benchmarks and prints their tables."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all."""
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    named = list(itertools.takewhile(lambda name: not name.startswith("-"), names))  # then options of the benchmark
    for name in named or known:
        if name not in known:
            raise SystemExit(f"no benchmark {name}; there are {', '.join(known)}")
        print(f"## {name}")
        importlib.import_module(f"tests.bench.bench_{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
