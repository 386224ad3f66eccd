"""The build hook of the packages whose code depends on the contracts: no distribution is built on drifted ones.

`hatch_build.py` in each of those packages is a link to this file. An sdist carries a copy of it instead, which
finds no workspace around it and so checks nothing: the contracts were checked when the sdist was made.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ContractsHook(BuildHookInterface[Any]):
    """Runs the pure part of `tools/check_contracts.py` before a wheel or an sdist is built in the workspace."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fail the build on drift, naming what drifted; editable installs are not checked."""
        package = Path(self.root)
        workspace = package.parent.parent
        check = workspace / "tools" / "check_contracts.py"
        if version == "editable" or not check.is_file():
            return
        if self.target_name == "sdist":
            link = package / "hatch_build.py"
            del build_data["force_include"][str(link)]
            build_data["force_include"][str(link.resolve())] = link.name
        command = [sys.executable, str(check), "--check", "--pure", "--root", str(workspace)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(result.stdout + result.stderr)
