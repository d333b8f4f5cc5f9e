"""Where to go from an alert: Dagster's UI, the data behind it, and commands.

Belongs here: addresses and statements. Pure; what messages say is in messages.py.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from resmon_resources.alert_content import AlertShown
from resmon_resources.words import one_line

_ASSETS = {
    "quota": "rollup/organization_resource_usage",
    "anomaly": "anomaly/anomaly_reports",
    "disk_full_soon": "forecast/capacity_forecasts",
    "archive_failed": "archive/raw_samples",
    "collector_behind": "raw/server_resource_metrics",
}
_SAMPLES, _ALERTS = "raw/server_resource_metrics", "alert/alerts"
"""What to look at in Dagster when an alert names no run: of servers by samples, of all others."""

_MOUNT_SQL = (
    "select * from resmon.filesystem_usage where server_id = {server} and mount = {mount} "
    "and collected_at >= {start} and collected_at < {until} order by collected_at"
)
_ANOMALY_SQL = (
    "select * from resmon.anomaly_reports where server_id = {server} "
    "and started_at >= {start} and started_at < {until} order by started_at"
)
_SERVER_SQL = "select * from resmon.server_metrics(array[{server}], {start}, {until})"
_QUOTA_SQL = (
    "select * from resmon.organization_resource_usage where organization_id = {organization} "
    "and bucket_start >= {start} and bucket_start < {until} order by bucket_start"
)
_ORGANIZATION_SQL = "select * from resmon.latest(p_organization_id => {organization})"

_MARGIN = timedelta(hours=1)


def links_of(alert: AlertShown, *, at: datetime, ui_url: str) -> dict[str, str]:
    """Where to go from an alert: `ui` (Dagster), `sql`, `show` and `acknowledge` (commands).

    Args:
        alert: the alert.
        at: now; the SQL covers an hour before it began up to the end, at most.
        ui_url: of Dagster's UI.

    Returns:
        Those that make sense for its rule; empty where there is none.
    """
    run_id, asset = alert.details.get("run_id"), alert.details.get("asset")
    if run_id:
        ui = f"{ui_url}/runs/{quote(str(run_id), safe='')}"
    else:
        usual = _SAMPLES if alert.server_id is not None else _ALERTS
        path = str(asset or _ASSETS.get(alert.rule, usual)).replace(".", "/")
        ui = f"{ui_url}/assets/{quote(path)}"
    until = min(alert.resolved_at or at, alert.began_at + timedelta(days=7)) + _MARGIN
    is_open = alert.change != "resolved" and not alert.acknowledged_by
    return {
        "ui": ui,
        "sql": _sql(alert, alert.began_at - _MARGIN, until),
        "show": f"resmon alert show {alert.alert_id}",
        "acknowledge": f"resmon alert ack {alert.alert_id}" if is_open else "",
    }


def _sql(alert: AlertShown, start: datetime, until: datetime) -> str:
    """The query that shows the data behind an alert; empty where there is none."""
    mount = alert.details.get("mount")
    query = ""
    if alert.server_id is not None:
        query = _MOUNT_SQL if mount else _SERVER_SQL
        query = _ANOMALY_SQL if alert.rule == "anomaly" else query
    elif alert.organization_id is not None:
        query = _QUOTA_SQL if alert.rule == "quota" else _ORGANIZATION_SQL
    return query.format(
        server=alert.server_id,
        organization=alert.organization_id,
        mount=_literal(one_line(mount)),
        start=_literal(_stamp(start)),
        until=_literal(_stamp(until)),
    )


def _stamp(moment: datetime) -> str:
    """A moment as SQL takes it, to the minute."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"


def _literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
