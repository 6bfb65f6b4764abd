"""Pages that are made from declarations are what the declarations say."""

from mesh.model.config import BROKER_SETTINGS, TOPIC_SETTINGS
from tools.docs import CONFIG_PAGE, config_page


def test_the_page_of_configurations_is_current() -> None:
    """docs/config.md was written after the last change of a declaration."""
    assert CONFIG_PAGE.read_text() == config_page(), "renew it: python -m tools.docs"


def test_every_setting_is_on_the_page_once() -> None:
    """Each setting of topics and nodes has one line, with its meaning, and no line breaks apart."""
    lines = [line for line in config_page().splitlines() if line.startswith("| `")]
    first = [line.split("`")[1] for line in lines if not line.startswith("| `--")]
    assert sorted(first) == sorted([*TOPIC_SETTINGS, *BROKER_SETTINGS])
    bars = {line.replace("\\|", "").count("|") for line in lines}
    assert bars <= {4, 6, 7}
