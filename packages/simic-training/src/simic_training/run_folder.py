"""The folder of a run: its settings, metrics, checkpoint and picture."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kasmina_hosts import HostConfig
from simic_training.config import PPOConfig, TrainConfig

CONFIG, METRICS, CHECKPOINT, PICTURE, EVALUATION = (
    "config.json",
    "metrics.jsonl",
    "checkpoint.safetensors",
    "growth.png",
    "evaluation.json",
)


class RunFolderError(ValueError):
    """A run folder that cannot be made, or that is not one."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run. Make one with `create`, or find one with `open_run`."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The policy, as `tamiyo_policies.save_policy` writes it."""
        return self.path / CHECKPOINT

    @property
    def picture(self) -> Path:
        """Validation accuracy and slot stages of one episode after training."""
        return self.path / PICTURE

    @property
    def metrics(self) -> Path:
        """One JSON object per update."""
        return self.path / METRICS

    @classmethod
    def create(cls, path: Path, config: TrainConfig) -> "RunFolder":
        """A new folder with its settings written.

        Raises:
            RunFolderError: the path exists already, or cannot be written.
        """
        try:
            path.mkdir(parents=True)
            run = cls(path)
            run._write(CONFIG, config_to_json(config))
        except FileExistsError:
            raise RunFolderError(f"run folder {path} exists; a run never overwrites another") from None
        except OSError as error:
            raise RunFolderError(f"run folder {path} cannot be written: {error.strerror}") from None
        return run

    @classmethod
    def open_run(cls, path: Path) -> "RunFolder":
        """An existing run.

        Raises:
            RunFolderError: there is no such folder, or it holds no run with a checkpoint.
        """
        if not path.is_dir():
            raise RunFolderError(f"run folder {path} does not exist")
        for name in (CONFIG, CHECKPOINT):
            if not (path / name).is_file():
                raise RunFolderError(f"{path} is not the folder of a run: it holds no {name}")
        return cls(path)

    def read_config(self) -> TrainConfig:
        """The settings of the run.

        Raises:
            RunFolderError: the file is damaged or of another version.
        """
        try:
            return config_from_json((self.path / CONFIG).read_text())
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunFolderError(
                f"{self.path / CONFIG} cannot be read as the settings of a run: {error}"
            ) from None

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """Add a line to the metrics."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    def write_evaluation(self, rows: list[dict[str, object]]) -> Path:
        """Write the newest evaluation, in place of an older one."""
        return self._write(EVALUATION, json.dumps(rows, indent=2, allow_nan=False) + "\n")

    def _write(self, name: str, text: str) -> Path:
        target = self.path / name
        draft = target.with_name(name + ".draft")
        draft.write_text(text)
        draft.replace(target)
        return target


def config_to_json(config: TrainConfig) -> str:
    """Settings as a JSON object."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def config_from_json(text: str) -> TrainConfig:
    """Settings from `config_to_json`.

    Raises:
        ValueError, TypeError, KeyError: not such settings; unknown and missing keys are named.
    """
    content: dict[str, Any] = json.loads(text)
    host = HostConfig(**content.pop("host"))
    ppo = PPOConfig(**content.pop("ppo"))
    return TrainConfig(host=host, ppo=ppo, **content)
