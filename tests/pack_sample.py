"""Renew the sample of the default study: python tests/pack_sample.py outputs/mini"""

import sys
import zipfile
from pathlib import Path

from midway.run.outputs import SAMPLE
from midway.study.files import root

KEPT = (
    *("params.yaml", "0[12]_*/**/record.json", "02_*/**/scores/*.json", "0[34]_*/record.json"),
    *("0[34]_*/tables/*.csv", "03_*/figures/[ps]*.svg"),
)


def pack(folder: Path, archive: Path) -> Path:
    """Put a finished study's records and tables into a file: the same study, the same bytes."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as kept:
        for path in sorted({p for pattern in KEPT for p in folder.glob(pattern)}):
            name = zipfile.ZipInfo(path.relative_to(folder).as_posix(), (1980, 1, 1, 0, 0, 0))
            name.compress_type, name.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            kept.writestr(name, path.read_bytes())
    return archive


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]), root() / SAMPLE))
