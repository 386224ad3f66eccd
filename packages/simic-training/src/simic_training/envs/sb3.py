"""The hosts as a vector environment of Stable-Baselines3, for sb3-contrib's MaskablePPO. Needs the extra `sb3`."""

from collections.abc import Iterable
from typing import Any, final

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from simic_training.envs.flatten import FlattenVectorAction
from simic_training.envs.infos import Info, of_host
from simic_training.envs.vector import GrowthVectorEnv


@final
class GrowthVecEnv(VecEnv):
    """All hosts of a vector environment as SB3 sees several environments; they stay one batch.

    MaskablePPO finds the masks by itself. `VecMonitor` around it adds returns and lengths of episodes to the log.

    Args:
        env: with autoreset in the same step. `FlattenVectorAction` has the exact mask; with a bare `GrowthVectorEnv`,
            whose mask knows no pairs of slot and op, some choices turn out to be illegal and change nothing.

    Raises:
        ValueError: another autoreset mode.
    """

    def __init__(self, env: GrowthVectorEnv | FlattenVectorAction) -> None:
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f"`env` must reset in the same step, its autoreset mode is {env.autoreset_mode}")
        self._env = env
        self._actions: npt.NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Fresh hosts; the seed is the first one that `seed` drew up, for all hosts come from one."""
        observation, infos = self._env.reset(seed=self._seeds[0], options=self._options[0])
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = self._rows(infos)
        return observation

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Observations, rewards, ends and infos; at an end the info has "terminal_observation" and tells of that step.

        Raises:
            RuntimeError: without actions.
        """
        if self._actions is None:
            raise RuntimeError("there are no actions yet: call step_async() before step_wait()")
        observation, reward, terminated, truncated, infos = self._env.step(self._actions)
        self._actions = None
        ended = terminated | truncated
        rows = self._rows(infos.get("final_info", infos))
        for host, row in enumerate(rows):
            row["TimeLimit.truncated"] = bool(truncated[host] and not terminated[host])
            if ended[host]:
                row["terminal_observation"] = infos["final_obs"][host]
        if "final_info" in infos:
            self.reset_infos = self._rows(infos)
        return observation, reward.astype(np.float32), ended, rows

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The environment's attribute, once for each host.

        Raises:
            AttributeError: there is none.
        """
        value = getattr(self._env, attr_name)
        return [value for _ in self._chosen(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the hosts share one environment.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{attr_name!r} cannot be set: the hosts share one environment")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the environment that returns a row per host; of these, the chosen ones."""
        rows = getattr(self._env, method_name)(*method_args, **method_kwargs)
        return [rows[host] for host in self._chosen(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Never: wrappers of single environments have no place here."""
        return [False for _ in self._chosen(indices)]

    def _chosen(self, indices: VecEnvIndices) -> Iterable[int]:
        return self._get_indices(indices)

    def _rows(self, infos: Info) -> list[Info]:
        own = {key: value for key, value in infos.items() if key not in ("final_obs", "final_info")}
        return [of_host(own, host) for host in range(self.num_envs)]
