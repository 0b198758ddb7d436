"""Command line: phantoms, train, evaluate, compare, package, ship, predict, explain, regions, check."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from inference import commands as helpers
from inference.explain import command as explain
from inference.package.errors import PackageError
from inference.preprocess.errors import ImageError
from inference.training.config import AUGMENTATIONS

NUMBERS: dict[str, type] = {
    "seed": int, "count": int, "epochs": int, "stop": int, "batch": int, "width": int, "growth": int, "depth": int,
    "r0": float, "learning_rate": float, "weight_decay": float, "roi_weight": float, "minutes": float,
    "threads": int, "workers": int, "patience": int, "memory_mb": int, "segments_of": int,
}  # fmt: skip
SWITCHES = ("patient_inputs", "deterministic", "tensorboard")
WORDS = ("root", "start", "keep", "network", "pooling", "plan", "precision", "devices", "cache")
LIMITS = ("stop", "minutes", "patience", "threads", "workers", "devices")


def parser() -> argparse.ArgumentParser:
    """The argument parser of `python -m inference`."""
    top = argparse.ArgumentParser(prog="python -m inference", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    phantoms = commands.add_parser("phantoms", help="write phantoms as DICOM with truth.json")
    phantoms.add_argument("kind", choices=("breast", "chest"))
    phantoms.add_argument("--count", type=int, default=1)
    phantoms.add_argument("--seed", type=int, default=1, help="seed of the first; the next ones count up")
    phantoms.add_argument("--out", type=Path, required=True)
    phantoms.add_argument("--rows", type=int, default=2048)
    phantoms.add_argument("--prior", action="store_true", help="breasts: with an earlier examination")

    train = commands.add_parser("train", help="train a network")
    train.add_argument("family", choices=("heatmap", "malignancy"))
    train.add_argument("--data", choices=("phantoms", "folder", "nih", "nih64", "table"), default="phantoms")
    train.add_argument("--root", help="the folder of the set")
    train.add_argument("--out", required=True, help="folder of the run")
    train.add_argument("--resume", action="store_true", help="go on with the run in --out; only limits may change")
    train.add_argument("--start", help="weights.safetensors of the same network to go on from with this set")
    train.add_argument("--network", choices=("multiresolution", "resnet18"))
    train.add_argument("--pooling", choices=("lse_lba", "lse", "nor", "gm", "mean", "max", "low_pass"))
    train.add_argument("--keep", choices=("best", "last"), help="epoch whose weights are kept")
    train.add_argument("--plan", choices=("one-cycle", "constant", "plateau"))
    train.add_argument("--precision", choices=("32-true", "16-mixed", "bf16-mixed"))
    train.add_argument("--devices", help="auto, cpu, or a number of GPUs (one process each)")
    train.add_argument("--cache", help="folder for drawn phantoms, and for prepared images that do not fit --memory-mb")
    train.add_argument("--shares", type=float, nargs=2, help="parts of the patients for training and validation")
    train.add_argument("--augment", choices=sorted(AUGMENTATIONS))
    train.add_argument("--size", type=int, help="heat maps: side of the input, 64 times a power of two")
    for name, kind in NUMBERS.items():
        train.add_argument(f"--{name.replace('_', '-')}", type=kind)
    for name in SWITCHES:
        train.add_argument(f"--{name.replace('_', '-')}", action="store_true", default=None)

    evaluate = commands.add_parser("evaluate", help="a report folder of a run: tables and figures")
    evaluate.add_argument("run", type=Path)
    evaluate.add_argument("--out", type=Path, help="default: RUN/report")

    compare = commands.add_parser("compare", help="runs side by side, as Markdown")
    compare.add_argument("runs", type=Path, nargs="+")
    compare.add_argument("--out", type=Path, help="default: standard output")
    compare.add_argument("--figure", type=Path, help="picture (PNG, SVG) of the runs' maps beside each other")
    compare.add_argument("--show", nargs="+", default=["Nodule", "Cardiomegaly"], help="classes of the picture")

    package = commands.add_parser("package", help="make a function package of a run")
    package.add_argument("run", type=Path)
    package.add_argument("--out", type=Path, required=True)
    package.add_argument("--version", default="0.1.0")
    package.add_argument("--command", dest="made_by", default="", help="for the card: what made it")
    package.add_argument("--baseline", type=Path, help="run of another network on the same parts, for the card")
    package.add_argument("--trial", default="", help="why it is not to be put into service by itself")

    ship = commands.add_parser("ship", help="train and package what is in inference/shipped/")
    ship.add_argument("name", choices=("heatmap", "malignancy", "nih64", *helpers.HELPERS))
    ship.add_argument("--seed", type=int, default=1)
    ship.add_argument("--runs", type=Path, default=Path("runs"))
    ship.add_argument("--out", type=Path, help="default: the folder in inference/shipped/")
    ship.add_argument("--root", default="", help="nih64: the folder of the set")
    ship.add_argument("--cache", default="", help="folder for drawn phantoms")
    ship.add_argument("--baseline", action="store_true", help="also train ResNet-18 the same way, for the card")

    predict = commands.add_parser("predict", help="findings of DICOM files as JSON")
    predict.add_argument("package", type=Path)
    predict.add_argument("files", type=Path, nargs="+")
    predict.add_argument("--device", default="auto")
    predict.add_argument("--out", type=Path, help="JSON file with the matrices; else a summary is printed")
    explain.add_arguments(commands)
    predict.add_argument("--segments", action="store_true", help="heat maps on segments of lungs and heart, merged")
    helpers.add(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status. Bad packages, images and values are one line on stderr."""
    args = parser().parse_args(arguments)
    try:
        return {
            "phantoms": _phantoms,
            "train": _train,
            "evaluate": _evaluate,
            "compare": _compare,
            "package": _package,
            "ship": _ship,
            "predict": _predict,
            "explain": explain.run,
            "regions": helpers.regions,
            "check": helpers.check,
        }[args.command](args)
    except (PackageError, ImageError, ValueError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


def _phantoms(args: argparse.Namespace) -> int:
    from inference.phantoms import breast_case, chest

    for seed in range(args.seed, args.seed + args.count):
        folder = args.out / f"{args.kind}-{seed:06d}"
        if args.kind == "breast":
            size = (args.rows, round(args.rows * 1664 / 2048))
            paths = breast_case(seed, size=size, prior=args.prior).write(folder)
        else:
            paths = chest(seed, size=(args.rows, args.rows)).write(folder)
        print(f"{folder}: {len(paths)} files")
    return 0


def _train(args: argparse.Namespace) -> int:
    from inference.ship import ship_config
    from inference.training.run import prepared, resume, train

    if args.resume:
        print(resume(Path(args.out), _say, **{name: getattr(args, name) for name in LIMITS}))
        return 0
    given = {name: getattr(args, name) for name in (*NUMBERS, *SWITCHES, *WORDS)}
    config = replace(ship_config(args.family, 1, args.out), data=args.data, stop=0, minutes=10.0)
    config = prepared(config, **given)
    if args.shares:
        config = replace(config, shares=(args.shares[0], args.shares[1]))
    if args.augment:
        config = replace(config, augmentation=AUGMENTATIONS[args.augment])
    if args.size:
        config = replace(config, input_size=(args.size, args.size))
    print(train(config, _say))
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from inference.evaluation.folder import write_folder
    from inference.evaluation.report import evaluate

    print(write_folder(evaluate(args.run), args.out or args.run / "report"))
    return 0


def _compare(args: argparse.Namespace) -> int:
    from inference.evaluation.compare import compare

    comparison = compare(args.runs)
    text = comparison.markdown()
    if args.figure:
        comparison.figure(args.show).savefig(args.figure, dpi=110)
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


def _package(args: argparse.Namespace) -> int:
    from inference.package.build import build_package

    print(
        build_package(
            args.run, args.out, version=args.version, command=args.made_by, baseline=args.baseline, trial=args.trial
        )
    )
    return 0


def _ship(args: argparse.Namespace) -> int:
    if args.name in helpers.HELPERS:
        print(helpers.ship(args.name, args.seed, args.out))
        return 0
    from inference.ship import ship

    print(ship(args.name, args.seed, args.runs, args.out, args.root, args.cache, args.baseline, _say))
    return 0


def _predict(args: argparse.Namespace) -> int:
    from inference.package import load

    package = load(args.package, args.device)
    if args.segments:
        from inference.segments.detect import SegmentPackage

        package = SegmentPackage.of(package)
    found = package.run(args.files)
    if args.out:
        args.out.write_text(json.dumps(found.to_dict()))
    print(json.dumps(found.to_dict(matrices=False), indent=1))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)
