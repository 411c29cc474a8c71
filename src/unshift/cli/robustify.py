"""Fit repairs on a trained network's source images, compare them under simulated shifts, save the best as a bundle."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from unshift.cli.console import Bars, emit, estimate, guarded, messages, output, table
from unshift.cli.options import ROBUSTIFY, as_options, speaking_of_options
from unshift.config import parse, read_value
from unshift.errors import ConfigError
from unshift.evaluate.choice import NONE, Interval
from unshift.experiment.deployment import Accelerator
from unshift.experiment.given import Given, ModuleOptions, open_model, source_of_run
from unshift.experiment.portrait import caution, restyled_taps, write_page
from unshift.experiment.repair_plan import Plan, RobustifyConfig, describe_shifts, prepare
from unshift.experiment.robustify import Robustness, execute, record
from unshift.experiment.source import Source, open_source

EXAMPLE = "Example: [bold]unshift robustify runs/demo --output robust[/bold] or, of your own, [bold]unshift robustify \
mynet:build --weights state.pt --classes background,lesion --size 224,224 --images source_images -o robust[/bold]"
MODULE = "A module of your own (package.module:function)"
REPAIRS = "What is tried"
COMPARISON = "How it is compared"
_LIST = re.compile(r"(?=[^,]*,)[\w.+\-, ]*\w[\w.+\-, ]*")
"""Numbers or words with commas between: no brackets, quotes or slashes, so that no path is taken apart."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("robustify", help=__doc__, epilog=EXAMPLE)(robustify)


def _in(panel: str, text: str, *, param_decls: tuple[str, ...] = (), **settings: Any) -> Any:
    """An option of the panel."""
    return typer.Option(*param_decls, help=text, rich_help_panel=panel, **settings)


Kind = Literal["auto", "ultrasound", "photo"]
Model = Annotated[str, typer.Argument(help="A bundle, run folder, nnU-Net results folder, or package.module:function.")]
Images = Annotated[Path | None, typer.Option(help="Source images, with masks if you have them. A run knows its own.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where bundle and report are written.")]
Weights = Annotated[Path | None, _in(MODULE, "State of the module: .safetensors, or a checkpoint of tensors.")]
AsBuilt = Annotated[bool, _in(MODULE, "The function returns the module trained.", param_decls=("--as-built",))]
Arguments = Annotated[
    list[str],
    _in(MODULE, "key=value of the function; channels=8,16 is a list, path=/a,b a text.", param_decls=("--argument",)),
]
Classes = Annotated[str, _in(MODULE, "In label order: background,lesion.")]
Channels = Annotated[int, _in(MODULE, "Of the images that it takes.", min=1)]
Size = Annotated[str, _in(MODULE, "Of its input: height,width.")]
Volumes = Annotated[bool, _in(MODULE, "It sees slices of volumes.", param_decls=("--volumes",))]
Mode = Annotated[Literal["resize", "window"], _in(MODULE, "Whole images resized, or windows at full resolution.")]
Mean = Annotated[str, _in(MODULE, "Subtracted from the image, per channel: 0.485,0.456,0.406. Default: 0.")]
Deviation = Annotated[str, _in(MODULE, "Divided by, per channel. Default: 1.")]
OutputKind = Annotated[
    Literal["softmax", "sigmoid", "probabilities"],
    _in(MODULE, "softmax: a logit a class; sigmoid: one logit of the only foreground class; or probabilities."),
]
Taps = Annotated[str, _in(MODULE, "Taps by hand: names of modules, with commas between. Default: they are found.")]
Settings = Annotated[
    list[str], _in(MODULE, "Also select, prefix, size_divisor, probe: key=value.", param_decls=("--set",))
]
Trust = Annotated[
    list[str], typer.Option("--trust", help="package.module:function that a bundle names and that may be run.")
]
Plugins = Annotated[str, _in(REPAIRS, "Kinds of style units.")]
Levels = Annotated[str, _in(REPAIRS, "Where units are: single, multi, or taps joined by +.")]
Gates = Annotated[str, _in(REPAIRS, "distance: images that look like the source are left alone.")]
Objectives = Annotated[str, _in(REPAIRS, "Of units that are trained.")]
Normalizations = Annotated[str, _in(REPAIRS, "Of the image, before the network.")]
Steps = Annotated[int, _in(REPAIRS, "Of units that are trained, at most.", min=1)]
Content = Annotated[Path | None, _in(REPAIRS, "Photographs for training units; default: made-up textures.")]
Simulator = Annotated[Kind, _in(COMPARISON, "auto: photo for colour, ultrasound for grey.")]
Strengths = Annotated[str, _in(COMPARISON, "Of every preset of the simulator.")]
Cases = Annotated[int, _in(COMPARISON, "Held-out images, at most.", min=2)]
Patient = Annotated[str, _in(COMPARISON, "Pattern that names the patient in a file's stem: ^([A-Z]{4})_.")]
Tolerance = Annotated[float, _in(COMPARISON, "Points that may be lost in-domain.", min=0)]
Choose = Annotated[str, _in(COMPARISON, "Take this candidate whatever the rule says.")]
Seed = Annotated[int, typer.Option(help="Of all randomness.")]
Where = Annotated[Accelerator, typer.Option(help="Where to compute.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show taps and plan, fit nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


@guarded
@speaking_of_options(ROBUSTIFY)
def robustify(
    model: Model,
    images: Images = None,
    output_folder: Output = Path("robust"),
    trust: Trust = [],  # noqa: B006 - read only
    weights: Weights = None,
    as_built: AsBuilt = False,
    arguments: Arguments = [],  # noqa: B006 - read only
    classes: Classes = "",
    channels: Channels = 3,
    size: Size = "",
    volumes: Volumes = False,
    mode: Mode = "resize",
    mean: Mean = "",
    deviation: Deviation = "",
    output_kind: OutputKind = "softmax",
    taps: Taps = "",
    settings: Settings = [],  # noqa: B006 - read only
    plugins: Plugins = "adain,din",
    levels: Levels = "single,multi",
    gates: Gates = "none,distance",
    objectives: Objectives = "statistics,task",
    normalizations: Normalizations = "",
    steps: Steps = 200,
    content: Content = None,
    simulator: Simulator = "auto",
    strengths: Strengths = "0.5,1",
    cases: Cases = 24,
    patient: Patient = "",
    tolerance: Tolerance = 0.5,
    choose: Choose = "",
    seed: Seed = 0,
    accelerator: Where = "auto",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Fit repairs, compare them, save the best."""
    module = _read(classes=classes, size=size) | {"arguments": _settings(arguments, "--argument")}
    module |= {"weights": weights, "as_built": as_built, "channels": channels, "volumes": volumes, "mode": mode}
    network = _settings(settings, "--set") | _described(output_kind, mean=mean, deviation=deviation, taps=taps)
    options = ModuleOptions(**module, settings=network)
    lists = _read(plugins=plugins, levels=levels, gates=gates, objectives=objectives, normalizations=normalizations)
    lists |= _read(strengths=strengths) | {"content": str(content) if content else None, "accelerator": accelerator}
    others = {"steps": steps, "simulator": simulator, "tolerance": tolerance, "choose": choose, "seed": seed}
    config = parse(RobustifyConfig, lists | others, where="robustify")
    sys.path.insert(0, str(Path.cwd()))  # a module of one's own lies where one works
    given = open_model(model, options, trust=trust)
    check_place(output_folder, given)
    source = _source(given, images, patient=patient, cases=cases, seed=seed)
    messages.print(f"Checking {len(source.cases)} source images and what belongs to them.", highlight=False)
    plan = prepare(given.bundle, source, config)
    run(plan, given, output_folder, dry_run=dry_run, as_json=as_json)


def run(plan: Plan, given: Given, folder: Path, *, dry_run: bool, as_json: bool) -> None:
    """Show what is there, do the work, show what came out."""
    show_doubts(plan.doubts.values())
    if not as_json:
        show_taps(plan, given)
    if dry_run:
        show_plan(plan, as_json=as_json)
        return
    with Bars(plan.jobs) as bars:
        result = execute(plan, folder, listener=bars)
    command = " ".join(["unshift", *sys.argv[1:]])
    page = write_page(result, subject=given.subject, command=command, wording=wording)
    show_result(result, page, as_json=as_json)


def _source(given: Given, images: Path | None, *, patient: str, cases: int, seed: int) -> Source:
    if images is not None:
        return open_source(images, given.bundle.task, patient=patient, most=cases, seed=seed)
    if given.run is None or given.place is None:
        raise ConfigError("--images: missing; a folder of source images is required, those it was trained on will do.")
    return source_of_run(given.run, given.place.parents[1].name, most=cases)


def check_place(folder: Path, given: Given) -> None:
    """Raise :class:`ConfigError` where writing would touch the model that was given."""
    bundle = (folder / "bundle").resolve()
    if given.place is not None and (given.place.resolve() in (bundle, folder.resolve())):
        raise ConfigError(f"{folder}: holds the model that was given, which is never changed. Give another --output.")


def show_taps(plan: Plan, given: Given) -> None:
    """Where units can be put in."""
    messages.print(f"{given.subject}.", highlight=False, soft_wrap=True)
    rows = [(tap.name, str(tap.stride), str(tap.channels)) for tap in plan.bundle.network.taps]
    table("taps", ("tap", "stride", "channels"), rows)


def wording(text: str) -> str:
    """A message of the library in the words of this command."""
    return as_options(text, ROBUSTIFY)


def show_doubts(doubts: Iterable[str]) -> None:
    """What is odd about the model on its own images."""
    for doubt in doubts:
        messages.print("[bold yellow]Warning[/bold yellow]", end=" ")
        messages.print(wording(doubt), markup=False, highlight=False, soft_wrap=True)


def show_plan(plan: Plan, *, as_json: bool) -> None:
    """What would be done."""
    images = len(plan.source.held_out)
    facts = {
        "source": plan.source.description,
        "scored with": "labels" if plan.source.is_labeled else "the network's own predictions on unshifted images",
        "fitted on": f"{len(plan.source.fit)} images",
        "compared on": f"{images} held-out images, each as it is and under {len(plan.shifts)} simulated shifts",
        "shifts": ", ".join(shift.name for shift in plan.shifts) + f" ({plan.kind})",
        "candidates": ", ".join(candidate.name for candidate in plan.candidates),
        "predictions": str(plan.predictions),
    }
    if as_json:
        emit({**facts, "taps": [vars(tap) for tap in plan.bundle.network.taps]})
        return
    table("plan", ("", ""), list(facts.items()))
    output.print("Dry run: nothing was fitted or written.")


def show_result(result: Robustness, page: Path, *, as_json: bool) -> None:
    """Doubts that were not said before, the table of candidates, what was chosen and why, and where all lies."""
    if as_json:
        emit({"bundle": str(result.bundle), "report": str(page), **record(result)})
        return
    show_doubts(doubt for doubt in result.doubts if doubt not in result.plan.doubts.values())
    if not result.plan.source.is_labeled:
        output.print("No labels: agreement shows stability, not accuracy.", highlight=False)
    show_candidates(result)
    few = caution(result)
    if few:
        output.print(few, style="dim", highlight=False, soft_wrap=True)
    output.print(result.choice.reason, highlight=False, soft_wrap=True)
    output.print(describe_shifts(result.plan).replace("`", ""), style="dim", highlight=False, soft_wrap=True)
    units = [tap.name for tap, used in restyled_taps(result) if used]
    if units:
        output.print(f"Units at: {', '.join(units)}.", highlight=False, soft_wrap=True)
    failed = [check for check in result.checks if not check.holds]
    for check in failed:
        messages.print("[red]does not hold[/red]", end=" ")
        messages.print(f"{check.name}: {check.detail}", markup=False, highlight=False, soft_wrap=True)
    if not failed:
        output.print(
            f"All {len(result.checks)} checks hold: the saved bundle predicts as in memory; at strength 0 units change "
            "no bit.",
            highlight=False,
            soft_wrap=True,
        )
    output.print(f"\nBundle: {result.bundle}\nReport: {page}", soft_wrap=True, highlight=False)


def show_candidates(result: Robustness) -> None:
    """A row a candidate."""
    name = "Dice" if result.plan.source.is_labeled else "agreement"
    rows = []
    for s in result.choice.standings:
        rows.append(
            (
                f"{s.name} *" if s.name == result.choice.name else s.name,
                f"{100 * s.shifted.mean:.1f}",
                "" if s.name == NONE else _difference(s.gain),
                f"{100 * s.in_domain.mean:.1f}",
                "" if s.name == NONE else _difference(s.change),
                f"{100 * s.worst[1]:.1f} {s.worst[0]}",
                f"{result.milliseconds[s.name]:.0f}",
                s.verdict,
            )
        )
    header = ("candidate", "over shifts", "gain", "in-domain", "change", "worst shift", "ms", "by the rule")
    title = f"{name} in points on {len(result.plan.source.held_out)} held-out source images; * is saved"
    table(title, header, rows)


def _difference(part: Interval) -> str:
    return estimate(100 * part.mean, 100 * part.low, 100 * part.high, "+.1f")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _read(**texts: str) -> dict[str, Any]:
    """Lists of words or numbers from what options say."""
    found: dict[str, Any] = {}
    for name, text in texts.items():
        if name in ("size", "mean", "deviation", "strengths"):
            found[name] = _numbers(text, f"--{name}", int if name == "size" else float)
        else:
            found[name] = _words(text)
    return found


def _numbers(text: str, option: str, kind: type[int] | type[float]) -> list[Any]:
    try:
        return [kind(word) for word in _words(text)]
    except ValueError:
        raise ConfigError(f"{option}: {text!r}; numbers with commas between are required, such as 224,224.") from None


def _settings(arguments: Sequence[str], option: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or not key:
            raise ConfigError(f"{option} {argument!r}: no '='; write key=value, for example base_channels=32.")
        found[key] = _value(text, f"{option} {argument!r}")
    return found


def _value(text: str, where: str) -> Any:
    """Numbers or words with commas between as a list; everything else as a recipe would read it.

    Raises:
        ConfigError: not YAML, with the text as it was typed; or a tuple of Python, which YAML takes for a word.
    """
    if text.lstrip().startswith("("):
        raise ConfigError(f"{where}: a tuple; a list is required. Write [INSTANCE, {{affine: true}}] or 8,16.")
    if _LIST.fullmatch(text):
        return [read_value(word) for word in _words(text)]
    try:
        return read_value(text)
    except ConfigError as error:
        reason = str(error).partition(": must be YAML. ")[2]
        raise ConfigError(
            f"{where}: a number, a word, a list such as 8,16 or YAML is required ({reason}). Quote a text that is none."
        ) from None


def _described(output_kind: str, **texts: str) -> dict[str, Any]:
    """Settings of the network ``own`` that were given."""
    found = {name: values for name, values in _read(**texts).items() if values}
    return found | ({"output": output_kind} if output_kind != "softmax" else {})
