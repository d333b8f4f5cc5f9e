"""What a change of an alert says to a person, in one sentence.

Belongs here: wording. Pure: a transition and a unit in, text out. Who makes an observation may
give the words itself (`Observation.reason`); these are taken where it does not.
"""

from dataclasses import dataclass

from resmon_resources.alert_records import Transition
from resmon_resources.words import duration_words


@dataclass(frozen=True, slots=True)
class _Fact:
    """Sentences of a rule whose value is no quantity: at its begin, while it lasts, at its end."""

    begin: str
    lasting: str
    end: str


_NOUNS = {
    "cpu_high": "CPU of {name}",
    "memory_high": "memory of {name}",
    "disk_high": "disk of {name}",
    "file_system_high": "file system {name}",
    "quota": "use of {name}",
    "disk_full_soon": "time until {name} is full",
    "anomaly": "anomaly of {name}",
    "collector_behind": "age of the newest sample of {name}",
    "group_unreachable": "share of servers of {name} that can not be read",
    "retention_blocked": "what retention can not drop of {name}",
    "archive_failed": "what is not archived of {name}",
}
"""What the value of a rule measures; of any other rule its name is told."""

_FACTS = {
    "unreachable": _Fact(
        "{name} can not be read", "{name} has not been read for {time}", "{name} can be read again"
    ),
    "host_key_changed": _Fact(
        "{name} shows another host key than the one that is known and is not connected to",
        "{name} has shown another host key than the one that is known for {time}",
        "{name} shows the known host key again",
    ),
    "reboot": _Fact(
        "{name} was started anew",
        "{name} was started anew {time} ago",
        "{name} goes on running since it was started anew",
    ),
    "run_failed": _Fact(
        "runs of {name} fail",
        "runs of {name} have failed for {time}",
        "runs of {name} succeed again",
    ),
    "delivery_failed": _Fact(
        "messages to {name} were given up",
        "messages to {name} have been given up for {time}",
        "messages to {name} arrive again",
    ),
}


def words_of(transition: Transition, unit: str, *, direction: str = "above") -> str:
    """Why an alert changed: "CPU of web-1 has been at or above 90 % for 5 minutes (now 97.3 %)".

    Args:
        transition: the change.
        unit: unit of the rule's values.
        direction: of the rule, `above` or `below`.

    A rule that is met or not (a server that cannot be read) adds `details["detail"]`, if given.
    """
    fact = _FACTS.get(transition.rule)
    return _of_fact(fact, transition) if fact else _of_value(transition, unit, direction)


def value_words(value: float, unit: str) -> str:
    """A value with its unit: "97.3 %", "2 days", "5 minutes"."""
    if unit == "seconds":
        return duration_words(value)
    number = f"{value:.1f}".removesuffix(".0")
    return f"{number} {'%' if unit == 'percent' else unit}".rstrip()


def _of_fact(fact: _Fact, transition: Transition) -> str:
    """The sentence of a rule that is met or not."""
    lasted = (transition.at - transition.began_at).total_seconds()
    name = transition.subject.name
    if transition.kind == "resolved":
        return f"{fact.end.format(name=name)}, after {duration_words(lasted)}"
    text = (fact.lasting if lasted else fact.begin).format(name=name, time=duration_words(lasted))
    detail = transition.details.get("detail")
    return f"{text}: {detail}" if detail else text


def _of_value(transition: Transition, unit: str, direction: str) -> str:
    """The sentence of a rule that measures something."""
    noun = _NOUNS.get(transition.rule, f"{transition.rule} of {{name}}")
    noun = noun.format(name=transition.subject.name)
    lasted = (transition.at - transition.began_at).total_seconds()
    now = "" if transition.value is None else value_words(transition.value, unit)
    limit = f"at or {direction} {value_words(transition.trigger, unit)}"
    if transition.kind == "resolved":
        back = f" is back to {now}" if now else " is back to what is allowed"
        worst = transition.peak_value
        most = f" (at worst {value_words(worst, unit)})" if worst is not None else ""
        return f"{noun}{back}, after {duration_words(lasted)}{most}"
    if transition.kind == "eased":
        return f"{noun} has eased to {now or 'less'}, after {duration_words(lasted)}"
    shown = f" (now {now})" if now else ""
    if transition.kind == "escalated":
        return f"{noun} is {limit} by now{shown}, {duration_words(lasted)} after it began"
    if not lasted:
        return f"{noun} is {limit}{shown}"
    return f"{noun} has been {limit} for {duration_words(lasted)}{shown}"
