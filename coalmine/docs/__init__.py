"""Reference pages made from declarations: config, metrics, and a page for every kind of store.

Built here, committed under docs/generated, and compared in CI, so that they cannot fall behind.
"""

from pathlib import Path

from coalmine.docs.kinds import backend_pages, backends_md, injector_pages, injectors_md
from coalmine.docs.reference import config_md, metrics_md
from coalmine.modes import modes_md
from core.generated import Generated

ROOT = Path(__file__).parents[2] / "docs"


def files() -> dict[str, str]:
    """Every generated page by file name."""
    return {
        "backends.md": backends_md(),
        **backend_pages(ROOT / "backends"),
        "canary-failure-modes.md": modes_md(),
        "config.md": config_md(),
        "injectors.md": injectors_md(),
        **injector_pages(ROOT / "injectors"),
        "metrics.md": metrics_md(),
    }


GENERATED = Generated(ROOT / "generated", files)
