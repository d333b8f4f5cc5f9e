"""Settings of the embedded server that follow from the machine."""

import pytest

from resmon_resources.embedded_postgres import memory_megabytes, shared_buffers


@pytest.mark.parametrize(
    ("megabytes", "setting"),
    [(512, "256MB"), (2048, "256MB"), (4096, "512MB"), (8192, "1024MB"), (262_144, "1024MB")],
)
def test_shared_buffers_are_a_share_of_the_memory_within_bounds(megabytes, setting):
    """Would let back: a server that takes the memory of a small machine, or none of a large one."""
    assert shared_buffers(megabytes) == setting


def test_the_memory_of_this_machine_is_known():
    """Would let back: pages taken for megabytes."""
    assert 64 < memory_megabytes() < 64 * 2**20
