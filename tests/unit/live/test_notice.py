"""What is said on the channel of live consumers."""

import json

from hypothesis import given
from hypothesis import strategies as st

from resmon_resources.live_notice import payload_of


def test_a_notice_tells_the_number_and_the_organizations_in_order():
    """Lets back: a payload that a consumer in another language cannot rely on."""
    assert payload_of(123, [2, 1, 2]) == '{"sequence": 123, "organizations": [1, 2]}'


@given(st.integers(1, 2**63 - 1), st.sets(st.integers(1, 2**31 - 1), max_size=2000))
def test_a_notice_fits_and_leaves_out_nobody(sequence, organization_ids):
    """Lets back: a payload that PostgreSQL refuses, or a cut list of organizations."""
    payload = payload_of(sequence, organization_ids)
    assert len(payload.encode()) < 8000
    notice = json.loads(payload)
    assert notice["sequence"] == sequence
    if notice["organizations"] is None:
        assert len(json.dumps(sorted(organization_ids))) > 7900
    else:
        assert notice["organizations"] == sorted(organization_ids)
