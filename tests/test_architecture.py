"""Who may import whom, and what every module carries. Reads the source, imports nothing of it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("resmon_resources", "resmon_assets", "resmon_cli")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SOURCES = [
    *MODULES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
]

MAY_NOT_IMPORT = {
    "resmon_resources": ("resmon_assets", "resmon_cli"),
    "resmon_assets": ("resmon_cli",),
    "resmon_cli": (),
}
PURE = (
    "resmon_assets/alert_values.py",
    "resmon_assets/alert/replay.py",
    "resmon_assets/alert/replay_picture.py",
    "resmon_assets/alerting.py",
    "resmon_assets/alert/groups.py",
    "resmon_assets/alert/links.py",
    "resmon_assets/alert/messages.py",
    "resmon_assets/alert/planning.py",
    "resmon_assets/alert/situation.py",
    "resmon_assets/matters.py",
    "resmon_resources/alert_content.py",
    "resmon_resources/delivery_policy.py",
    "resmon_cli/outages.py",
    "resmon_assets/forecast/headroom.py",
    "resmon_assets/demo/judgement.py",
    "resmon_assets/demo/plan.py",
    "resmon_assets/demo/samples.py",
    "resmon_assets/demo/signals.py",
    "resmon_assets/forecast/capacity.py",
    "resmon_assets/forecast/limits.py",
    "resmon_assets/anomaly/daily.py",
    "resmon_assets/anomaly/drift.py",
    "resmon_assets/anomaly/drift_rows.py",
    "resmon_assets/anomaly/trends.py",
    "resmon_assets/anomaly/combined.py",
    "resmon_assets/anomaly/detector.py",
    "resmon_assets/anomaly/ratio.py",
    "resmon_assets/anomaly/state.py",
    "resmon_assets/anomaly/episodes.py",
    "resmon_assets/anomaly/judging.py",
    "resmon_assets/anomaly/maintenance.py",
    "resmon_assets/anomaly/words.py",
    "resmon_assets/forecast/grid.py",
    "resmon_assets/forecast/hourly.py",
    "resmon_assets/forecast/linear.py",
    "resmon_assets/forecast/models.py",
    "resmon_assets/forecast/selection.py",
    "resmon_assets/forecast/smoothing.py",
    "resmon_assets/raw/difference.py",
    "resmon_assets/raw/schedule.py",
    "resmon_assets/tier/filesystem_statistics.py",
    "resmon_assets/tier/statistics.py",
    "resmon_assets/tier/expectation.py",
    "resmon_assets/rollup/quotas.py",
    "resmon_assets/rollup/usage.py",
    "resmon_assets/tier/storage.py",
    "resmon_assets/rollup/tree.py",
    "resmon_assets/rollup/percentiles.py",
    "resmon_assets/rollup/metrics.py",
    "resmon_assets/forecast/scores.py",
    "resmon_resources/time_windows.py",
    "resmon_resources/words.py",
    "resmon_resources/alert_words.py",
    "resmon_resources/probe/framing.py",
    "resmon_resources/probe/reading.py",
)
IMPURE_IMPORTS = (
    *("dagster", "psycopg", "adbc_driver_postgresql", "paramiko"),
    *("time", "os", "socket", "subprocess", "threading", "random", "secrets", "logging", "pathlib"),
)
CLOCK_CALLS = {"now", "utcnow", "today", "monotonic", "perf_counter"}
MACHINE_PATHS = ("/" + "work/", "/" + "root/", "/" + "Users/")


def name_of(path: Path) -> str:
    """Path below the project, for messages and test ids."""
    return path.relative_to(ROOT).as_posix()


def imports_of(tree: ast.Module) -> list[str]:
    """Every name imported anywhere in the file, inside functions and behind TYPE_CHECKING too."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def is_below(module: str, package: str) -> bool:
    """Whether `module` is `package` or lies in it."""
    return module == package or module.startswith(f"{package}.")


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name_of(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_package_imports_only_what_lies_below_it(path: Path) -> None:
    """Would let back: an outside world that knows the graph: neither could be tested alone."""
    package = path.relative_to(ROOT).parts[0]
    wrong = [
        module
        for module in imports_of(parse(path))
        for forbidden in MAY_NOT_IMPORT[package]
        if is_below(module, forbidden)
    ]
    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_definitions_are_imported_by_no_module(path: Path) -> None:
    """Would let back: a cycle through definitions.py, which imports every asset of the platform."""
    wrong = [m for m in imports_of(parse(path)) if is_below(m, "resmon_assets.definitions")]
    assert not wrong


@pytest.mark.parametrize("name", PURE)
def test_pure_module_has_no_outside_world(name: str) -> None:
    """Would let back: arithmetic on a clock or a database, which no table of cases can test."""
    path = ROOT / name
    if not path.exists():
        pytest.fail(f"{name} is named as a pure module here and does not exist")
    tree = parse(path)
    wrong = [m for m in imports_of(tree) for impure in IMPURE_IMPORTS if is_below(m, impure)]
    calls = [
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCK_CALLS
    ]
    assert not wrong
    assert not calls


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_future_annotations(path: Path) -> None:
    """Would let back: annotations as strings, on which Dagster's inspection fails."""
    assert "__future__.annotations" not in imports_of(parse(path))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_public_names_of_dagster(path: Path) -> None:
    """Would let back: a name that Dagster may remove in any release."""
    private = [m for m in imports_of(parse(path)) if m.startswith("dagster") and "._" in m]
    assert not private


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_module_opens_with_its_charter(path: Path) -> None:
    """Would let back: a module of which nobody can say what belongs in it."""
    tree = parse(path)
    if path.name == "__init__.py" and "tests" in path.parts:
        return
    charter = ast.get_docstring(tree)
    assert charter
    assert len(charter.split()) >= 3


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name_of)
def test_package_module_holds_only_its_docstring(path: Path) -> None:
    """Would let back: work at import, and second names for the same thing."""
    assert len(parse(path).body) == 1


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_path_of_one_machine(path: Path) -> None:
    """Would let back: code that runs only where it was written."""
    text = path.read_text(encoding="utf-8")
    assert not [prefix for prefix in MACHINE_PATHS if prefix in text]


def test_sources_are_found() -> None:
    """Would let back: a green suite that looked into an empty folder."""
    assert len(MODULES) > 8
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(PACKAGES)
